"""The tokenizer of a checkpoint, as GGUF stores it.

A tokenizer is accepted for what it does: byte-level BPE with GPT-2's pattern and no normalizer, which is what
llama.cpp runs for ``tokenizer.ggml.pre = exaone4``. Ids and vocabulary may be any: retrained ones are fine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.checkpoint import load_json, load_text
from exaone4_gguf.errors import TokenizerError

# The pattern of GPT-2's pre-tokenizer, which ByteLevel(use_regex=True) applies.
GPT2_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""
_GPT2_NAMES = ("GPT2Tokenizer", "GPT2TokenizerFast")
GPT2_CLASSES = (*_GPT2_NAMES, None)


class TokenType(IntEnum):
    """Token types of GGUF (llama.h, LLAMA_TOKEN_TYPE_*)."""

    NORMAL = 1
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5


@dataclass(frozen=True)
class AddedToken:
    """A token that is matched in the text before BPE. A special one controls the conversation."""

    id: int
    content: str
    special: bool


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
                f"the tokenizer has {len(self.tokens)} tokens, the embedding only {size} rows (vocab_size)"
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
    settings = _optional(model_dir / "tokenizer_config.json")
    named = _special_tokens(settings, _optional(model_dir / "special_tokens_map.json"))
    if (path := model_dir / "tokenizer.json").is_file():
        read = _read_tokenizer_json
    elif (model_dir / "vocab.json").is_file() and (path := model_dir / "merges.txt").is_file():
        read = _read_vocab_and_merges
    else:
        raise TokenizerError(f"{model_dir}: no tokenizer: neither tokenizer.json, nor vocab.json and merges.txt")
    try:
        return read(path, settings, named, check_pre_tokenizer)
    except TokenizerError as e:
        message = str(e)
        raise TokenizerError(message if message.startswith(str(model_dir)) else f"{path}: {message}") from None
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as e:
        raise TokenizerError(f"{path}: malformed ({type(e).__name__}: {e})") from e


def _optional(path: Path) -> dict[str, Any]:
    return load_json(path, TokenizerError) if path.is_file() else {}


def _special_tokens(settings: dict[str, Any], legacy_map: dict[str, Any]) -> dict[str, str]:
    """The texts of bos, eos, unk and pad, as transformers reads them (PreTrainedTokenizerBase._from_pretrained).

    special_tokens_map.json counts only where the settings have no added_tokens_decoder, and then more than they do.
    What GPT2Tokenizer is not told, it takes for its own.
    """
    said = settings if "added_tokens_decoder" in settings else settings | legacy_map
    if settings.get("tokenizer_class") in _GPT2_NAMES:
        said = _GPT2_ROLES | said
    found = {}
    for role in ("bos", "eos", "unk", "pad"):
        token = said.get(f"{role}_token")
        text = token.get("content") if isinstance(token, dict) else token
        if isinstance(text, str):
            found[role] = text
    return found


_GPT2_ROLES = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")


def _read_tokenizer_json(path: Path, settings: dict[str, Any], named: dict[str, str], check: bool) -> Tokenizer:
    raw = load_json(path, TokenizerError)
    model = raw.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        kind = model.get("type") if isinstance(model, dict) else model
        raise TokenizerError(f"its model is {kind!r}; llama.cpp's exaone4 needs BPE")
    added = [_added_token(entry, entry, check) for entry in raw.get("added_tokens") or ()]
    if check:
        _check_model(model)
        _check_normalizer(raw.get("normalizer"))
        _check_pre_tokenizer(raw.get("pre_tokenizer"))
    adds_bos, adds_eos = _added_around(raw.get("post_processor"), named)
    tokenizer = _assemble(model.get("vocab"), model.get("merges"), added, named)
    return replace(tokenizer, adds_bos=adds_bos, adds_eos=adds_eos)


def _read_vocab_and_merges(path: Path, settings: dict[str, Any], named: dict[str, str], check: bool) -> Tokenizer:
    if check and (kind := settings.get("tokenizer_class")) not in GPT2_CLASSES:
        raise TokenizerError(f"tokenizer_class is {kind!r}; without tokenizer.json only GPT2Tokenizer is known")
    if check and settings.get("add_prefix_space"):
        raise TokenizerError("add_prefix_space is true; llama.cpp's exaone4 adds no blank")
    vocab = load_json(path.with_name("vocab.json"), TokenizerError)
    added = list(_added_beside(path.parent, settings, vocab, named, check))
    lines = load_text(path, TokenizerError).split("\n")
    merges = [line.rstrip("\r") for line in lines if line.strip() and not line.startswith("#version")]
    tokenizer = _assemble(vocab, merges, added, named)
    return replace(tokenizer, adds_bos=settings.get("add_bos_token") is True)


def _added_beside(
    folder: Path, settings: dict[str, Any], vocab: dict[str, Any], named: dict[str, str], check: bool
) -> Iterator[AddedToken]:
    """Added tokens of a folder without tokenizer.json: from its settings, else from added_tokens.json."""
    decoder = settings.get("added_tokens_decoder")
    if isinstance(decoder, dict):
        for number, entry in decoder.items():
            if not number.isdecimal():
                raise TokenizerError(f"added_tokens_decoder has {number!r}, which is no token id")
            yield _added_token({"id": int(number)}, entry, check)
        return
    extra = _optional(folder / "added_tokens.json")
    special = {*named.values(), *_additional(_optional(folder / "special_tokens_map.json") | settings)}
    for text in sorted(extra.keys() | (special & vocab.keys())):
        entry = {"content": text, "special": text in special}
        yield _added_token({"id": extra.get(text, vocab.get(text))}, entry, check)


def _additional(settings: dict[str, Any]) -> Iterator[str]:
    """The texts of the special tokens without a role."""
    for token in settings.get("additional_special_tokens") or ():
        yield token["content"] if isinstance(token, dict) else token


def _added_token(numbered: Any, entry: Any, check: bool) -> AddedToken:
    try:
        token = AddedToken(numbered["id"], entry["content"], bool(entry.get("special")))
    except (TypeError, KeyError, AttributeError):
        raise TokenizerError(f"an added token lacks id or content: {entry!r}") from None
    if not isinstance(token.id, int) or not isinstance(token.content, str) or token.id < 0:
        raise TokenizerError(f"an added token has a wrong id or content: {entry!r}")
    for flag in ("lstrip", "rstrip", "single_word"):
        if check and entry.get(flag):
            raise TokenizerError(f"added token {token.content!r} has {flag}, which llama.cpp does not do")
    return token


def _assemble(vocab: Any, merges: Any, added: list[AddedToken], named: dict[str, str]) -> Tokenizer:
    """Put vocabulary, merges and added tokens together, and check that they fit."""
    if not isinstance(vocab, dict) or not isinstance(merges, list) or not merges:
        raise TokenizerError("it has no vocabulary or no merges, which llama.cpp needs")
    ids: dict[str, int] = dict(vocab)
    for token in added:
        if ids.setdefault(token.content, token.id) != token.id:
            raise TokenizerError(f"token {token.content!r} has two ids: {ids[token.content]} and {token.id}")
    texts = _by_id(ids)
    types = [TokenType.NORMAL if t is not None else TokenType.UNUSED for t in texts]
    for token in added:
        types[token.id] = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
    special_ids = {role: ids[text] for role, text in named.items() if text in ids}
    return Tokenizer(tuple(texts), tuple(types), tuple(_merges(merges, vocab)), special_ids)


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


def _merges(merges: list[Any], vocab: dict[str, int]) -> Iterator[str]:
    """Each merge as "left right", from either published form: such a string, or a pair."""
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(p, str) and p for p in pair):
            raise TokenizerError(f"merge {merge!r} is not two tokens")
        left, right = pair
        if " " in left or " " in right:
            raise TokenizerError(f"merge {merge!r} has a blank in a token, which is not byte-level BPE")
        for token in (left, right, left + right):
            if token not in vocab:
                raise TokenizerError(f"merge {merge!r} needs token {token!r}, which is not in the vocabulary")
        yield f"{left} {right}"


def _check_model(model: dict[str, Any]) -> None:
    """BPE options that change the ids, and that llama.cpp does not have."""
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"):
        if model.get(option):
            raise TokenizerError(f"its BPE model has {option} = {model[option]!r}, which llama.cpp does not do")


def _check_normalizer(normalizer: Any) -> None:
    parts = normalizer.get("normalizers", [normalizer]) if isinstance(normalizer, dict) else []
    if parts:
        kinds = ", ".join(str(p.get("type")) for p in parts)
        raise TokenizerError(f"it has a normalizer ({kinds}); llama.cpp's exaone4 has none")


def _check_pre_tokenizer(pre: Any) -> None:
    """ByteLevel with GPT-2's pattern, or the same in two steps."""
    steps = pre.get("pretokenizers", [pre]) if isinstance(pre, dict) else []
    splits, byte_level = steps[:-1], steps[-1] if steps else {}
    by_split = len(splits) == 1 and _splits_like_gpt2(splits[0])
    plain = byte_level.get("type") == "ByteLevel" and not byte_level.get("add_prefix_space", True)
    if not plain or byte_level.get("use_regex", True) == by_split or (splits and not by_split):
        raise TokenizerError(
            f"its pre-tokenizer is {_shortened(pre)}; llama.cpp's exaone4 does GPT-2's: "
            "ByteLevel, use_regex, no add_prefix_space"
        )


def _splits_like_gpt2(split: dict[str, Any]) -> bool:
    pattern = split.get("pattern")
    return (
        split.get("type") == "Split"
        and isinstance(pattern, dict)
        and pattern.get("Regex") == GPT2_PATTERN
        and split.get("behavior") == "Isolated"
        and not split.get("invert")
    )


def _added_around(post: Any, named: dict[str, str]) -> tuple[bool, bool]:
    """Whether the post-processor adds BOS before, and EOS after a text; anything else is refused."""
    steps = post.get("processors", [post]) if isinstance(post, dict) else []
    around = [name for step in steps if step.get("type") != "ByteLevel" for name in _template(step)]
    before, _, after = "\0".join(around).partition("$A")
    known = before in ("", f"{named.get('bos')}\0") and after in ("", f"\0{named.get('eos')}")
    if not known:
        raise TokenizerError(f"its post-processor is {_shortened(post)}; llama.cpp can only add BOS and EOS")
    return bool(before), bool(after)


def _template(step: dict[str, Any]) -> Iterator[str]:
    if step.get("type") != "TemplateProcessing":
        raise TokenizerError(f"its post-processor is {_shortened(step)}; llama.cpp can only add BOS and EOS")
    for piece in step.get("single") or ():
        yield "$A" if "Sequence" in piece else str(piece["SpecialToken"]["id"])


def _shortened(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."
