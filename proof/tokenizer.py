"""The part ``tokenizer``: its keys against the folder, and the ids that llama.cpp gives against the folder's own."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.gguf_file import GGUFFile
from exaone4_gguf.converter.gguf_values import Metadata
from exaone4_gguf.converter.tokenizer import TokenType
from exaone4_gguf.errors import GGUFError, RuntimeFailure, TokenizerError
from exaone4_gguf.proof.corpus import tokenizer_texts
from exaone4_gguf.proof.report import Finding, Part, Verdict, judged, not_evaluated
from exaone4_gguf.runtime.model import Model

NAME = "tokenizer"
_MOST = 5
"""Findings of one kind that are told."""

_PREFIX = "tokenizer.ggml."
_LISTS = ("tokens", "token_type", "merges")
_END_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")
_ROLE_KEYS = ("bos_token_id", "unknown_token_id", "padding_token_id")
_NAMES = {"model": None, "pre": "default", "add_bos_token": False, "add_eos_token": False}
"""Keys with what llama.cpp takes where they are missing."""

Tokenize = Callable[[str], list[int]]


def own_tokenizer(folder: Path) -> Any:
    """The folder's tokenizer in transformers; None without transformers.

    Raises:
        TokenizerError: transformers cannot read it.
    """
    if importlib.util.find_spec("transformers") is None:
        return None
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as e:  # transformers, tokenizers and Jinja raise their own
        reason = str(e).strip().splitlines() or [type(e).__name__]
        raise TokenizerError(f"{folder}: transformers cannot read the tokenizer: {reason[0]}") from e


def ids_of(own: Any, text: str) -> list[int]:
    """The ids that a tokenizer of transformers gives to a text, with the markers in it as what they are."""
    return list(own.encode(text, add_special_tokens=False, verbose=False))


def check_tokenizer(expected: Metadata, gguf: GGUFFile, own: Any, data: str) -> Part:
    """Compare the keys, then the ids of the built-in texts, of all added tokens, and of ``data``.

    Args:
        expected: the metadata that the checkpoint's file would have.
        own: the folder's tokenizer in transformers, or None.
    """
    wrong = list(_wrong_keys({key: value.data for key, value in expected.items()}, gguf))
    if own is None:
        missing = "transformers is not installed: pip install 'exaone4-gguf[reference]'"
        return judged(NAME, "its keys are not the folder's", wrong) if wrong else not_evaluated(NAME, missing)
    texts = tokenizer_texts(own.get_added_vocab(), data)
    try:
        with closing(Model(gguf.parts[0], vocab_only=True)) as model:
            wrong += _wrong_ids(texts, functools.partial(ids_of, own), model.tokenize)
    except RuntimeFailure as e:
        return Part(NAME, Verdict.FAILED if wrong else Verdict.NOT_EVALUATED, str(e), tuple(wrong))
    except GGUFError as e:
        wrong.append(Finding("vocabulary", str(e)))
    counts = {"texts": len(texts), "characters": sum(map(len, texts))}
    return judged(NAME, f"{len(texts):,} texts, {counts['characters']:,} characters", wrong, figures=counts)


def _wrong_keys(expected: Mapping[str, Any], gguf: GGUFFile) -> Iterator[Finding]:
    for key, absent in _NAMES.items():
        found = gguf.get(_PREFIX + key, absent)
        if found != expected[_PREFIX + key]:
            yield Finding(_PREFIX + key, f"is {found!r}; the folder's is {expected[_PREFIX + key]!r}")
    for key in _LISTS:
        yield from _wrong_items(_PREFIX + key, gguf.get(_PREFIX + key), expected.get(_PREFIX + key, []))
    for key in _ROLE_KEYS:
        found, wanted = gguf.get(_PREFIX + key), expected.get(_PREFIX + key)
        if found not in (None, wanted):
            yield Finding(_PREFIX + key, f"is {found}; the folder's is {wanted}")
    yield from _wrong_ends(expected, gguf)


def _wrong_ends(expected: Mapping[str, Any], gguf: GGUFFile) -> Iterator[Finding]:
    """A generation ends at each of these ids: the same set, whatever key holds which; eos as it is."""
    ends = [expected[_PREFIX + key] for key in _END_KEYS if _PREFIX + key in expected]
    for key in _END_KEYS:
        found = gguf.get(_PREFIX + key)
        if found is not None and found not in ends:
            yield Finding(_PREFIX + key, f"is {found}, which ends no answer; the folder's ends are {ends}")
    found = [gguf.get(_PREFIX + key) for key in _END_KEYS]
    for missing in (end for end in ends if end not in found):
        yield Finding(_PREFIX + _END_KEYS[0], f"no key says that an answer ends at {missing}")
    if ends and found[0] is not None and found[0] != ends[0] and found[0] in ends:
        yield Finding(_PREFIX + _END_KEYS[0], f"is {found[0]}; the folder's end of turn is {ends[0]}")


def _wrong_items(key: str, found: Any, expected: Sequence[Any]) -> Iterator[Finding]:
    if not isinstance(found, list):
        if expected:
            yield Finding(key, "missing")
        return
    if len(found) != len(expected):
        yield Finding(key, f"has {len(found):,} items; the folder's has {len(expected):,}{_first(found, expected)}")
        return
    wrong = [i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b]
    for i in wrong[:_MOST]:
        yield Finding(key, f"item {i} is {_shown(key, found[i])}; the folder's is {_shown(key, expected[i])}")
    if len(wrong) > _MOST:
        yield Finding(key, f"{len(wrong) - _MOST:,} more items differ")


def _first(found: Sequence[Any], expected: Sequence[Any]) -> str:
    pairs = zip(found, expected, strict=False)
    at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(found), len(expected)))
    return f"; they part at item {at}"


def _shown(key: str, item: Any) -> str:
    if key.endswith("token_type") and item in list(TokenType):
        return TokenType(item).name
    return repr(item)


def _wrong_ids(texts: Sequence[str], own: Tokenize, llama: Tokenize) -> Iterator[Finding]:
    wrong = 0
    for text in texts:
        expected, found = own(text), llama(text)
        if expected != found:
            wrong += 1
            if wrong <= _MOST:
                at = next((i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), "the end")
                yield Finding(f"text {text[:40]!r}", f"llama.cpp's ids part from the tokenizer's own at {at}")
    if wrong > _MOST:
        yield Finding("texts", f"{wrong - _MOST:,} more have other ids")
