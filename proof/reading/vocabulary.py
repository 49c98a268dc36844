"""What a folder's tokenizer means, as transformers reads it: the measure that a file's keys are compared with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import TokenType

from exaone4_gguf.format.values import Metadata
from exaone4_gguf.proof.reading.configuration import Configuration, read_json, token_ids

ROLES = {"bos": "bos_token_id", "unk": "unknown_token_id", "pad": "padding_token_id"}
"""The folder's names for special tokens, and GGUF's keys."""

END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")
"""llama.cpp ends an answer at each of these."""
ENDS_TOO = ("fim_pad_token_id", "fim_rep_token_id", "fim_sep_token_id")
"""And at these of models that fill gaps in code (llama_vocab::impl::load), which EXAONE 4 has no use for."""
ALL_ENDS = "exaone4_gguf.end_token_ids"
"""A key of this project's, for more end tokens than llama.cpp has keys."""

PREFIX = "tokenizer.ggml."

PRE_TOKENIZERS = {
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": "exaone4",
}
"""llama.cpp's name for what splits texts, by its pattern; for others, only the ids are compared."""
_GPT2 = next(iter(PRE_TOKENIZERS))


OwnTokenizer = Any
"""A folder's tokenizer as transformers has read it, which has no types of its own."""


@dataclass(frozen=True)
class Vocabulary:
    """Texts by id (None where there is no token), their types, the merges as "left right".

    ``special`` are ids by GGUF's keys. ``ends`` are all ids that end an answer, the tokenizer's own first. ``pre`` is
    None where llama.cpp's name for it is not known here.
    """

    tokens: Sequence[str | None]
    types: Sequence[int]
    merges: Sequence[str]
    special: Mapping[str, int]
    ends: tuple[int, ...]
    adds_bos: bool
    adds_eos: bool
    pre: str | None
    model: str = "gpt2"


def read_vocabulary(own: OwnTokenizer, config: Configuration, folder: Path) -> Vocabulary:
    """The vocabulary of a folder's tokenizer, filled up to the rows of the embedding."""
    settings = json.loads(own.backend_tokenizer.to_str())
    ids = own.get_vocab()
    tokens: list[str | None] = [None] * max(config.vocab_size, max(ids.values(), default=-1) + 1)
    for text, i in ids.items():
        tokens[i] = text
    types = [TokenType.UNUSED if text is None else TokenType.NORMAL for text in tokens]
    for i, token in own.added_tokens_decoder.items():
        types[i] = TokenType.CONTROL if token.special else TokenType.USER_DEFINED
    adds_bos, adds_eos = _adds(own)
    # the tokenizer's own, then generation_config.json's, which transformers generates with
    ends = token_ids(own.eos_token_id)
    ends += token_ids(read_json(folder / "generation_config.json").get("eos_token_id"))
    ends += config.eos_token_ids
    return Vocabulary(
        tokens,
        list(map(int, types)),
        [merge if isinstance(merge, str) else " ".join(merge) for merge in settings["model"]["merges"]],
        dict(_special(own, folder)),
        tuple(dict.fromkeys(ends)),
        adds_bos,
        adds_eos,
        PRE_TOKENIZERS.get(_pattern(settings["pre_tokenizer"])),
    )


def _special(own: OwnTokenizer, folder: Path) -> Iterator[tuple[str, int]]:
    """What the tokenizer does not name, generation_config.json or config.json may; unk is the tokenizer's alone."""
    files = [read_json(folder / name) for name in ("generation_config.json", "config.json")]
    for role, key in ROLES.items():
        others = [token_ids(file.get(f"{role}_token_id")) for file in files if role != "unk"]
        named = [i for ids in (token_ids(getattr(own, f"{role}_token_id")), *others) for i in ids]
        if named:
            yield key, named[0]


def _adds(own: OwnTokenizer) -> tuple[bool, bool]:
    """Whether the tokenizer puts a token of its own before a text, and after it."""
    plain, whole = (list(own.encode("a", add_special_tokens=adds)) for adds in (False, True))
    before = next((i for i in range(len(whole)) if whole[i : i + len(plain)] == plain), 0)
    return before > 0, len(whole) > before + len(plain)


def _pattern(pre: object) -> str:
    """What splits a text before BPE, as a regular expression; ByteLevel has GPT-2's inside."""
    if not isinstance(pre, dict):
        return ""
    steps = pre.get("pretokenizers", [pre])
    patterns = [step["pattern"].get("Regex", "") for step in steps if step.get("type") == "Split"]
    patterns += [_GPT2 for step in steps if step.get("type") == "ByteLevel" and step.get("use_regex", True)]
    if len(patterns) == 1:
        return patterns[0]
    return ""


def from_metadata(metadata: Metadata) -> Vocabulary:
    """The vocabulary in the keys that the converter would write."""
    values = {key.removeprefix(PREFIX): value.data for key, value in metadata.items() if key.startswith(PREFIX)}
    return Vocabulary(
        values["tokens"],
        values["token_type"],
        values.get("merges", []),
        {key: values[key] for key in ROLES.values() if key in values},
        tuple(values[key] for key in END_KEYS if key in values),
        values["add_bos_token"],
        values["add_eos_token"],
        values["pre"],
        values["model"],
    )
