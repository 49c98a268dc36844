"""The types of programming languages as JSON Schema has them: one table of words, and what is made of them.

Tools are written for models, not for validators. Their types are those of Python, Java, JavaScript, TypeScript, C or
OpenAPI, and so are those of the Berkeley Function Calling Leaderboard, which LG reports EXAONE 4 by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from exaone4_gguf.runtime.schema.json_types import types_of

Keywords: TypeAlias = dict[str, Any]
"""Of a schema that a type means: ``type``, and what it says of values and of what is inside. None for anything."""

_ANYTHING = "anything"
WORDS = {
    "string": """string, str, char, char*, character, text, varchar, charsequence, unicode, symbol, bytes, date, time,
        datetime, date-time, uuid, guid, uri, url, email, path""",
    "integer": """integer, int, short, long, byte, long long, unsigned, unsigned int, unsigned long, unsigned char,
        uint, ulong, ushort, sbyte, bigint, biginteger, int8, int16, int32, int64, uint8, uint16, uint32, uint64,
        int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, size_t, ssize_t, usize, isize, i8,
        i16, i32, i64, u8, u16, u32, u64""",
    "number": """number, num, float, double, long double, decimal, bigdecimal, real, numeric, float16, float32, float64,
        f32, f64""",
    "boolean": "boolean, bool, _bool",
    "null": "null, none, nonetype, nil, void, undefined",
    "array": """array, list, tuple, set, frozenset, sequence, iterable, collection, arraylist, linkedlist, vector, vec,
        queue, deque, stack, hashset, linkedhashset, treeset, readonlyarray, ndarray""",
    "object": """object, dict, dictionary, map, mapping, hashmap, hashtable, linkedhashmap, treemap, ordereddict,
        defaultdict, record, struct, json, jsonobject""",
    _ANYTHING: "anything, any, unknown, mixed, dynamic, enum",
}
_MEANING: dict[str, Keywords] = {
    word: {} if name == _ANYTHING else {"type": name}
    for name, words in WORDS.items()
    for word in re.split(r",\s+", words)
} | {"": {}}

_MAX_LENGTH = 200  # characters of a type that are looked at
_SIGN = re.compile(r"""\s*('[^']*'|"[^"]*"|[\w.:$]+\*?|\[\s*\d*\s*\]|[\[\]<>(),|?])""")
_SIGNS = frozenset("[]<>(),|?")
_CLOSING = {"[": "]", "<": ">"}
_CLASS = re.compile(r"<class '([\w.]+)'>")  # as Python prints one
_FIRST_WORD = re.compile(r"\s*([\w.:$]+)")


def meaning(types: Sequence[str], unknown: Callable[[str], None]) -> Keywords:
    """What one or more types mean together; ``unknown`` is told each word that is not known, and taken for anything.

    Beside words there are ``List[int]``, ``Map<String, Integer>``, ``string[]``, ``str | None``, ``'a' | 'b'`` and
    ``list of str``, with their packages or without (``java.util.List``).
    """
    return _either([_Reader(text, unknown).read() for text in types])


class _Reader:
    """Reads one type, which may hold others."""

    def __init__(self, text: str, unknown: Callable[[str], None]) -> None:
        self._text, self._unknown = _CLASS.sub(r"\1", text[:_MAX_LENGTH]).strip(), unknown
        self._ahead = _signs(self._text)

    def read(self) -> Keywords:
        """The type, or, where the whole is not understood, that of its first word: ``List<? extends Number>``."""
        known = _of_word(self._text)
        if known is not None:
            return known
        try:
            return self._whole()
        except (ValueError, IndexError):
            first = _FIRST_WORD.match(self._text)
            return self._word(first[1] if first else self._text)

    def _whole(self) -> Keywords:
        found = self._union()
        if self._ahead:
            raise ValueError(self._ahead[0])
        return found

    def _union(self) -> Keywords:
        branches = [self._one()]
        while self._next in ("|", "or"):
            self._take()
            branches.append(self._one())
        return _either(branches)

    def _one(self) -> Keywords:
        word = self._take()
        if word == "(":
            found = self._grouped()
        elif word in _SIGNS:
            raise ValueError(word)
        else:
            inner = self._inner()
            found = self._holding(word, inner) if inner else self._single(word)
        while self._next == "?" or self._next.startswith("["):
            if self._take() == "?":
                found = _either([found, _NULL])
            else:
                found = {"type": "array", "items": found}
        return found

    def _grouped(self) -> Keywords:
        found = self._union()
        self._close(")")
        return found

    def _close(self, bracket: str) -> None:
        sign = self._take()
        if sign != bracket:
            raise ValueError(sign)

    def _inner(self) -> list[Keywords]:
        """What stands in brackets behind a word, or after "of"."""
        if self._next == "of":
            self._take()
            return [self._one()]
        if self._next not in _CLOSING:
            return []
        closing = _CLOSING[self._take()]
        inner = [self._union()]
        while self._next == ",":
            self._take()
            inner.append(self._union())
        self._close(closing)
        return inner

    def _single(self, word: str) -> Keywords:
        if word[0] in "'\"":
            return {"type": "string", "enum": [word[1:-1]]}
        if word.isdecimal():
            return {"type": "integer", "enum": [int(word)]}
        return self._word(word)

    def _holding(self, word: str, inner: list[Keywords]) -> Keywords:
        bare = _unqualified(word)
        if bare in _WRAPPERS:
            return _WRAPPERS[bare](inner)
        found = self._word(word)
        if found == {"type": "array"}:
            return found | ({"prefixItems": inner} if bare == "tuple" and len(inner) > 1 else {"items": inner[0]})
        if found == {"type": "object"}:
            return found | {"additionalProperties": inner[-1]}
        return found

    def _word(self, word: str) -> Keywords:
        known = _of_word(word)
        if known is None:
            self._unknown(word)
        return known or {}

    @property
    def _next(self) -> str:
        if self._ahead:
            return self._ahead[0]
        return ""

    def _take(self) -> str:
        return self._ahead.pop(0)


def _signs(text: str) -> list[str]:
    """The words, texts and brackets of a type; none where it has anything else."""
    found, position = [], 0
    while position < len(text):
        sign = _SIGN.match(text, position)
        if sign is None:
            return []
        found.append(sign[1])
        position = sign.end()
    if "..." in found[1:]:
        return found[: found.index("...") - 1] + found[found.index("...") + 1 :]
    return found


def _of_word(text: str) -> Keywords | None:
    """What a word means, with its package or without, several of it ("list of strings") as one; None: not known."""
    bare = _unqualified(text) or text
    forms = (" ".join(text.lower().split()), bare, bare.removesuffix("s"))
    return next((dict(_MEANING[form]) for form in forms if form in _MEANING), None)


def _unqualified(word: str) -> str:
    return re.split(r"[.:]", word.lower())[-1]


_NULL: Keywords = {"type": "null"}


def _either(branches: Sequence[Keywords]) -> Keywords:
    """What fits one of them, or a little more, as each type has one rule for what is inside."""
    if len(branches) == 1:
        return branches[0]
    if not all(branches):
        return {}
    types = list(dict.fromkeys(name for branch in branches for name in types_of(branch)))
    found: Keywords = {"type": types if len(types) > 1 else types[0]}
    for keyword, holder in (("items", "array"), ("prefixItems", "array"), ("additionalProperties", "object")):
        rules = [branch.get(keyword) for branch in branches if holder in types_of(branch)]
        if rules and rules[0] is not None and rules.count(rules[0]) == len(rules):
            found[keyword] = rules[0]
    listed = [[None] if branch == _NULL else branch.get("enum") for branch in branches]
    if types != ["null"] and None not in listed:
        found["enum"] = [value for values in listed for value in values or ()]
    return found


_WRAPPERS: dict[str, Callable[[list[Keywords]], Keywords]] = {
    "optional": lambda inner: _either([inner[0], _NULL]),
    "option": lambda inner: _either([inner[0], _NULL]),
    "nullable": lambda inner: _either([inner[0], _NULL]),
    "union": _either,
    "literal": _either,
    "annotated": lambda inner: inner[0],
}
