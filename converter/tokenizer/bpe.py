"""The BPE part of a tokenizer: vocabulary, merges and steps around them, checked to be what llama.cpp does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from exaone4_gguf.errors import TokenizerError

# The pattern of GPT-2's pre-tokenizer, which ByteLevel(use_regex=True) applies.
GPT2_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS = [byte for byte in range(256) if byte not in _PRINTABLE]
_CHARACTERS = {byte: chr(byte) for byte in _PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(_OTHERS)}
"""The character that stands for each byte (GPT-2's bytes_to_unicode)."""
_NOT_IN_UTF8 = {0xC0, 0xC1, *range(0xF5, 0x100)}


def merges_of(merges: list[Any], vocab: dict[str, int]) -> list[str]:
    """Each merge as "left right"; of one that is there twice tokenizers heeds the last, llama.cpp the first."""
    ranks = {merge: rank for rank, merge in enumerate(_checked_merges(merges, vocab))}
    return sorted(ranks, key=lambda merge: ranks[merge])


def _checked_merges(merges: list[Any], vocab: dict[str, int]) -> Iterator[str]:
    """From either published form: "left right", or a pair."""
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


def check_model(model: dict[str, Any]) -> None:
    """BPE options that change the ids, and that llama.cpp does not have."""
    for option in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges"):
        if model.get(option):
            raise TokenizerError(f"its BPE model has {option} = {model[option]!r}, which llama.cpp does not do")


def check_bytes(vocab: dict[str, int]) -> None:
    """A byte without a token vanishes in tokenizers, so that what stands beside it can merge; not in llama.cpp."""
    missing = [byte for byte, c in _CHARACTERS.items() if c not in vocab and byte not in _NOT_IN_UTF8]
    if missing:
        raise TokenizerError(f"its vocabulary has no token for the byte 0x{missing[0]:02x} ({len(missing)} in all)")


def check_normalizer(normalizer: Any) -> None:
    """llama.cpp has none."""
    parts = normalizer.get("normalizers", [normalizer]) if isinstance(normalizer, dict) else []
    if parts:
        kinds = ", ".join(str(p.get("type")) for p in parts)
        raise TokenizerError(f"it has a normalizer ({kinds}); llama.cpp's exaone4 has none")


def check_pre_tokenizer(pre: Any) -> None:
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


def added_around(post: Any, named: dict[str, str]) -> tuple[bool, bool]:
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
    if len(text) <= 120:
        return text
    return text[:117] + "..."
