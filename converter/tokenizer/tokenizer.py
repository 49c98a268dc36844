"""The tokenizer of a checkpoint, as GGUF stores it.

A tokenizer is accepted for what it does: byte-level BPE with GPT-2's pattern and no normalizer, which is what
llama.cpp runs for ``tokenizer.ggml.pre = exaone4``. Ids and vocabulary may be any: retrained ones are fine.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.checkpoint.folder import load_json, load_text
from exaone4_gguf.converter.tokenizer.added_tokens import (
    AddedToken,
    AddedVocabulary,
    Settings,
    optional,
    read_added_tokens,
    tokens_of_file,
)
from exaone4_gguf.converter.tokenizer.bpe import (
    added_around,
    check_bytes,
    check_model,
    check_normalizer,
    check_pre_tokenizer,
    merges_of,
)
from exaone4_gguf.converter.tokenizer.overlap import check_found_alike
from exaone4_gguf.errors import TokenizerError

# Classes of transformers that make the tokenizer anew of vocab and merges, and those that take tokenizer.json as it is.
REBUILT = ("GPT2Tokenizer", "GPT2TokenizerFast")
AS_IT_IS = ("PreTrainedTokenizerFast", "PreTrainedTokenizer", "TokenizersBackend", None)

# llama.cpp makes a special token of each of these texts, whatever the file says (llama_vocab::impl::load).
SPECIAL_IN_LLAMA_CPP = """
    <|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s> <|eom_id|>
    <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response> [e~[
    <｜end▁of▁sentence｜>
    <|fim_prefix|> <fim-prefix> <fim_prefix> <｜fim▁begin｜> <PRE> ▁<PRE> <|code_prefix|> <|prefix|>
    <|fim_suffix|> <fim-suffix> <fim_suffix> <｜fim▁hole｜> <SUF> ▁<SUF> <|code_suffix|> <|suffix|>
    <|fim_middle|> <fim-middle> <fim_middle> <｜fim▁end｜> <MID> ▁<MID> <|code_middle|> <|middle|>
    <|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD] <|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame> <|file_sep|>
    <|channel|> <|message|> <|start|> <|constrain|>
"""

SPECIAL_IDS = ("bos", "eos", "unk", "pad")
"""The roles that a GGUF file names."""


class TokenType(IntEnum):
    """Token types of GGUF (llama.h, LLAMA_TOKEN_TYPE_*)."""

    NORMAL = 1
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5


@dataclass(frozen=True)
class Tokenizer:
    """A byte-level BPE tokenizer: texts by id (None where there is no token), their types, its merges.

    ``special_ids`` has the ids of bos, eos, unk and pad, where the folder names them. ``adds_bos`` and
    ``adds_eos`` say what it puts around a text by itself.
    """

    tokens: tuple[str | None, ...]
    types: tuple[TokenType, ...]
    merges: tuple[str, ...]
    special_ids: dict[str, int]
    adds_bos: bool = False
    adds_eos: bool = False

    def padded(self, size: int) -> Tokenizer:
        """The tokenizer with unused tokens up to ``size``, the rows of the embedding.

        Raises:
            TokenizerError: it has more tokens than that.
        """
        if len(self.tokens) > size:
            raise TokenizerError(
                f"the tokenizer has {len(self.tokens)} tokens, the embedding only {size} rows (vocab_size): "
                f"none for {self.tokens[size]!r}"
            )
        more = size - len(self.tokens)
        types = (*self.types, *(TokenType.UNUSED,) * more)
        return replace(self, tokens=(*self.tokens, *(None,) * more), types=types)

    def texts(self) -> list[str]:
        """The text of each token; gaps get names that no token has."""
        taken = set(self.tokens)
        return [t if t is not None else _unused_name(i, taken) for i, t in enumerate(self.tokens)]


def _unused_name(i: int, taken: set[str | None]) -> str:
    name = f"[PAD{i}]"
    while name in taken:
        name = f"[{name}]"
    return name


def read_tokenizer(model_dir: Path, *, check_pre_tokenizer: bool = True) -> Tokenizer:
    """Read ``tokenizer.json``, or ``vocab.json`` and ``merges.txt``, with ``tokenizer_config.json``.

    Raises:
        TokenizerError: there is none, it is malformed, or llama.cpp would tokenize differently (which
            ``check_pre_tokenizer=False`` lets pass).
    """
    settings = optional(model_dir / "tokenizer_config.json")
    if (path := model_dir / "tokenizer.json").is_file():
        read = _read_tokenizer_json
    elif (model_dir / "vocab.json").is_file() and (path := model_dir / "merges.txt").is_file():
        read = _read_vocab_and_merges
    else:
        raise TokenizerError(f"{model_dir}: no tokenizer: neither tokenizer.json, nor vocab.json and merges.txt")
    try:
        if check_pre_tokenizer:
            _check_settings(settings)
        return read(path, settings, check_pre_tokenizer)
    except TokenizerError as e:
        if e.where is not None:
            raise
        raise TokenizerError(str(e), where=str(path)) from None
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as e:
        raise TokenizerError(f"{path}: malformed ({type(e).__name__}: {e})") from e


def _check_settings(settings: Settings) -> None:
    """What changes the ids of texts, and is not in tokenizer.json."""
    if settings.get("add_prefix_space"):
        raise TokenizerError("add_prefix_space is true; llama.cpp's exaone4 adds no blank")
    if settings.get("split_special_tokens"):
        raise TokenizerError("split_special_tokens is true; llama.cpp finds special tokens in every text")


def _read_tokenizer_json(path: Path, settings: Settings, check: bool) -> Tokenizer:
    raw = load_json(path, TokenizerError)
    model = raw.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        kind = model.get("type") if isinstance(model, dict) else model
        raise TokenizerError(f"its model is {kind!r}; llama.cpp's exaone4 needs BPE")
    kind = _class(path.parent, settings)
    if check:
        if kind not in (*REBUILT, *AS_IT_IS):
            raise TokenizerError(f"tokenizer_class is {kind!r}, which may tokenize otherwise than this file says")
        check_model(model)
        check_normalizer(raw.get("normalizer"))
        check_pre_tokenizer(raw.get("pre_tokenizer"))
    vocab, own = _vocabulary(model.get("vocab")), tokens_of_file(raw.get("added_tokens"))
    if check:
        _check_flags(own.values())
    added, roles = read_added_tokens(path.parent, settings, vocab, own, rebuilt=kind in REBUILT)
    adds_bos, adds_eos = added_around(raw.get("post_processor"), roles)
    tokenizer = _assemble(vocab, model.get("merges"), added, roles, check)
    return replace(tokenizer, adds_bos=adds_bos, adds_eos=adds_eos)


def _read_vocab_and_merges(path: Path, settings: Settings, check: bool) -> Tokenizer:
    if check and (kind := _class(path.parent, settings)) not in (*REBUILT, None):
        raise TokenizerError(f"tokenizer_class is {kind!r}; without tokenizer.json only GPT2Tokenizer is known")
    vocab = _vocabulary(load_json(path.with_name("vocab.json"), TokenizerError))
    added, roles = read_added_tokens(path.parent, settings, vocab, {}, rebuilt=True)
    lines = load_text(path, TokenizerError).split("\n")
    merges = [line.rstrip("\r") for line in lines if line.strip() and not line.startswith("#version")]
    tokenizer = _assemble(vocab, merges, added, roles, check)
    adds_bos, adds_eos = (settings.get(f"add_{role}_token") is True for role in ("bos", "eos"))
    return replace(tokenizer, adds_bos=adds_bos, adds_eos=adds_eos)


def _class(folder: Path, settings: Settings) -> str | None:
    """The tokenizer's class; config.json may name it as well."""
    return settings.get("tokenizer_class") or optional(folder / "config.json").get("tokenizer_class")


def _vocabulary(vocab: Any) -> dict[str, int]:
    if not isinstance(vocab, dict):
        raise TokenizerError("it has no vocabulary or no merges, which llama.cpp needs")
    _by_id(vocab)
    return vocab


def _assemble(
    vocab: dict[str, int], merges: Any, added: AddedVocabulary, roles: dict[str, str], check: bool
) -> Tokenizer:
    """Put vocabulary, merges and added tokens together, and check that they fit."""
    if not isinstance(merges, list) or not merges:
        raise TokenizerError("it has no vocabulary or no merges, which llama.cpp needs")
    ids = vocab | added.ids
    texts = _by_id(ids)
    types = [TokenType.NORMAL if t is not None else TokenType.UNUSED for t in texts]
    for token in added.tokens:
        types[ids[token.content]] = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
    if check:
        check_bytes(vocab)
        _check_matched_alike(texts, types, added.tokens)
    special_ids = {role: ids[roles[role]] for role in SPECIAL_IDS if roles.get(role) in ids}
    return Tokenizer(tuple(texts), tuple(types), tuple(merges_of(merges, vocab)), special_ids)


def _check_matched_alike(texts: list[str | None], types: list[TokenType], added: list[AddedToken]) -> None:
    """Refuse what llama.cpp would find in a text where tokenizers does not, or the other way round."""
    _check_flags(added)
    special = set(SPECIAL_IN_LLAMA_CPP.split())
    for text, type in zip(texts, types, strict=True):
        if text in special and type == TokenType.NORMAL:
            raise TokenizerError(f"token {text!r} is no added token, but llama.cpp would make one of it")
    check_found_alike(added)
    check_found_alike([token for token in added if not token.special])


def _check_flags(tokens: Iterable[AddedToken]) -> None:
    for token in tokens:
        for flag in ("lstrip", "rstrip", "single_word"):
            if getattr(token, flag):
                raise TokenizerError(f"added token {token.content!r} has {flag}, which llama.cpp does not do")


_MAX_VOCAB = 1 << 24


def _by_id(ids: dict[str, int]) -> list[str | None]:
    if not all(isinstance(i, int) and not isinstance(i, bool) and 0 <= i < _MAX_VOCAB for i in ids.values()):
        raise TokenizerError("its vocabulary has an id that is no whole number from 0 up")
    texts: list[str | None] = [None] * (max(ids.values(), default=-1) + 1)
    for text, i in ids.items():
        if texts[i] is not None:
            raise TokenizerError(f"tokens {texts[i]!r} and {text!r} have the same id {i}")
        texts[i] = text
    return texts
