"""The part ``tokenizer``: its keys, and the ids that llama.cpp gives, against the folder's tokenizer."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

from exaone4_gguf.errors import GGUFError, RuntimeFailure, TokenizerError
from exaone4_gguf.format.disguise import disguise
from exaone4_gguf.format.file import GGUFFile
from exaone4_gguf.proof.corpus import tokenizer_texts
from exaone4_gguf.proof.reading.quiet import first_line, quietly
from exaone4_gguf.proof.reading.vocabulary import ALL_ENDS, END_KEYS, ENDS_TOO, PREFIX, ROLES, OwnTokenizer, Vocabulary
from exaone4_gguf.proof.report import Finding, Part, evaluated, first_difference, not_evaluated
from exaone4_gguf.runtime.llama.model import Model

NAME = "tokenizer"
_MOST = 5
"""Findings of one kind that are listed."""

FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
"""What transformers reads as text, whatever is in it."""

_BOS_OTHERWISE = 11
"""The id that llama.cpp takes for BOS where the file names none (llama_vocab::impl::load, for gpt2)."""

Tokenize = Callable[[str], list[int]]


def own_tokenizer(folder: Path) -> OwnTokenizer:
    """The folder's tokenizer in transformers; None without transformers.

    Raises:
        TokenizerError: transformers cannot read it, or one of its files is something else.
    """
    if importlib.util.find_spec("transformers") is None:
        return None
    for name in FILES:
        kind = disguise(folder / name, text=True)
        if kind:
            raise TokenizerError(f"{folder / name}: it is {kind}")
    with quietly():
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as e:  # transformers, tokenizers and Jinja raise their own
            raise TokenizerError(f"{folder}: transformers cannot read the tokenizer: {first_line(e)}") from e


def ids_of(own: OwnTokenizer, text: str) -> list[int]:
    """The ids that a tokenizer of transformers gives to a text, with the markers in it as what they are."""
    return list(own.encode(text, add_special_tokens=False, verbose=False))


def check_tokenizer(expected: Vocabulary, gguf: GGUFFile, own: OwnTokenizer | None, data: str) -> Part:
    """Compare the keys, then the ids of the built-in texts, of all added tokens, and of ``data``.

    Args:
        expected: what the folder's tokenizer means.
        own: the folder's tokenizer; None without transformers.
    """
    wrong = list(_wrong_keys(expected, gguf))
    if own is None and wrong:
        return evaluated(NAME, "its keys are not the folder's", wrong)
    if own is None:
        return not_evaluated(NAME, "transformers is not installed: pip install 'exaone4-gguf[reference]'")
    texts = tokenizer_texts(own.get_added_vocab(), data)
    try:
        with closing(Model(gguf.parts[0], vocab_only=True)) as model:
            wrong += _wrong_ids(texts, functools.partial(ids_of, own), model.tokenize)
    except RuntimeFailure as e:
        if wrong:
            return evaluated(NAME, str(e), wrong)
        return not_evaluated(NAME, str(e))
    except GGUFError as e:
        wrong.append(Finding("vocabulary", str(e)))
    counts = {"texts": len(texts), "characters": sum(map(len, texts))}
    return evaluated(NAME, f"{len(texts):,} texts, {counts['characters']:,} characters", wrong, figures=counts)


def _wrong_keys(expected: Vocabulary, gguf: GGUFFile) -> Iterator[Finding]:
    for key, absent, wanted in (
        ("model", None, expected.model),
        ("pre", "default", expected.pre),
        ("add_bos_token", False, expected.adds_bos),
        ("add_eos_token", False, expected.adds_eos),
    ):
        found = gguf.get(PREFIX + key, absent)
        if wanted is not None and found != wanted:
            yield Finding(PREFIX + key, f"is {found!r}; the folder's is {wanted!r}")
    yield from _wrong_tokens(expected, gguf)
    yield from _wrong_items(PREFIX + "token_type", gguf.get(PREFIX + "token_type"), expected.types)
    yield from _wrong_items(PREFIX + "merges", gguf.get(PREFIX + "merges"), expected.merges)
    yield from _wrong_special(expected, gguf)
    yield from _wrong_ends(expected, gguf)


def _wrong_tokens(expected: Vocabulary, gguf: GGUFFile) -> Iterator[Finding]:
    """An id that no token has may be called anything but like a token."""
    found, taken = gguf.get(PREFIX + "tokens"), set(expected.tokens)
    wanted = list(expected.tokens)
    if isinstance(found, list):
        for i, text in enumerate(found[: len(wanted)]):
            if wanted[i] is None and text not in taken:
                wanted[i] = text
    yield from _wrong_items(PREFIX + "tokens", found, wanted)


def _wrong_special(expected: Vocabulary, gguf: GGUFFile) -> Iterator[Finding]:
    for key in ROLES.values():
        found, wanted = gguf.get(PREFIX + key), expected.special.get(key)
        if found not in (None, wanted):
            yield Finding(PREFIX + key, f"is {found}; the folder's is {wanted}")
        elif found is None and key == ROLES["bos"] and wanted not in (None, _BOS_OTHERWISE):
            what = f"missing, which llama.cpp takes for {_BOS_OTHERWISE}; the folder's is {wanted}"
            yield Finding(PREFIX + key, what)


def _wrong_ends(expected: Vocabulary, gguf: GGUFFile) -> Iterator[Finding]:
    """A generation ends at each of these ids: the same set, whatever key holds which; eos is the tokenizer's own."""
    ends = list(expected.ends)
    found = [gguf.get(PREFIX + key) for key in END_KEYS]
    named = {key: gguf.get(PREFIX + key) for key in (*END_KEYS, *ENDS_TOO)}
    for key, i in named.items():
        if i is not None and i not in ends:
            yield Finding(PREFIX + key, f"is {i}, which ends no answer; the folder's ends are {ends}")
    missing = [i for i in ends if i not in found]
    too_many = max(0, len(ends) - len(END_KEYS))  # ends for which llama.cpp has no key
    for i in missing[: max(0, len(missing) - too_many)]:
        yield Finding(PREFIX + END_KEYS[0], f"no key says that an answer ends at {i}")
    listed = gguf.get(ALL_ENDS)
    if listed is not None and set(listed) != set(ends):
        yield Finding(ALL_ENDS, f"is {listed}; the folder's ends are {ends}")
    if ends and found[0] is not None and found[0] != ends[0] and found[0] in ends:
        yield Finding(PREFIX + END_KEYS[0], f"is {found[0]}; the folder's end of turn is {ends[0]}")


def _wrong_items(key: str, found: object, expected: Sequence[object]) -> Iterator[Finding]:
    if not isinstance(found, list):
        if expected:
            yield Finding(key, "missing")
        return
    if len(found) != len(expected):
        lengths = f"has {len(found):,} items; the folder's has {len(expected):,}"
        yield Finding(key, f"{lengths}; they part at item {first_difference(found, expected)}")
        return
    wrong = [i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b]
    for i in wrong[:_MOST]:
        yield Finding(key, f"item {i} is {_shown(key, found[i])}; the folder's is {_shown(key, expected[i])}")
    if len(wrong) > _MOST:
        yield Finding(key, f"{len(wrong) - _MOST:,} more items differ")


def _shown(key: str, item: object) -> str:
    from gguf import TokenType

    if key.endswith("token_type") and isinstance(item, int) and item in list(TokenType):
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
