"""The keywords of JSON Schema that are known here: a row for each, with all that is known of it.

Those that are in no row are ignored, as JSON Schema wants it. A new keyword is a new row: ``form.py`` takes from it
what its value must be, ``check.py`` how a value is checked, ``intersect.py`` how two are made one, and ``gbnf.py`` what
it is in a grammar.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from exaone4_gguf.runtime.schema.json_types import (
    TYPES,
    Schema,
    fits_type,
    is_number,
    is_types,
    shortened,
    types_of,
)

# Longer texts are not searched: a pattern may be slow on purpose or by accident.
_MAX_PATTERN_TEXT = 4096


class Checker(Protocol):
    """What checks the values within a value, against the schemas within its schema."""

    def problems(self, schema: Any, value: Any, path: str, depth: int) -> Iterator[str]:
        """The problems of the value at ``path``."""

    def fits(self, schema: Any, value: Any, depth: int) -> bool:
        """Whether there are none."""


Check: TypeAlias = Callable[[Checker, Schema, Any, str, int], Iterator[str]]


class Form(NamedTuple):
    """What the value of a keyword must be; ``words`` says it in a message."""

    holds: Callable[[Any], bool]
    words: str


@dataclass(frozen=True)
class Keyword:
    """One keyword.

    ``schemas``: where its value has schemas. ``check``: None where nothing of a value depends on it alone. ``grammar``:
    the type of value that it shapes, which a schema without a type has by it; or that it limits any "value", offers a
    "choice", or is "resolved" before anything is written; None where a grammar cannot hold to it, or need not.
    ``merge``: the value for what fits two; None where it takes more than the two values, see ``intersect.py``.
    """

    name: str
    form: Form
    check: Check | None = None
    merge: Callable[[Any, Any], Any] | None = None
    grammar: Literal["object", "array", "string", "integer", "value", "choice", "resolved"] | None = None
    schemas: Literal["one", "listed", "named"] | None = None


# ---- forms


def _is_names(rule: object) -> bool:
    return isinstance(rule, list) and all(isinstance(name, str) for name in rule)


def _is_filled_list(rule: object) -> bool:
    return isinstance(rule, list) and bool(rule)


def _is_mapping(rule: object) -> bool:
    return isinstance(rule, dict) and all(isinstance(key, str) for key in rule)


def _is_schema(rule: object) -> bool:
    return isinstance(rule, dict | bool)


def _is_size(rule: Any) -> bool:
    return TYPES["integer"](rule) and rule >= 0


_ANYTHING = Form(lambda rule: True, "any value")
_TYPES = Form(is_types, f"one of {', '.join(TYPES)} (or a list of them)")
_TEXT = Form(TYPES["string"], "a string")
_NUMBER = Form(is_number, "a number")
_SIZE = Form(_is_size, "a whole number from 0 up")
_VALUES = Form(_is_filled_list, "a list of values")
_NAMES = Form(_is_names, "a list of names")
_OBJECT = Form(_is_mapping, "an object")
_SCHEMA = Form(_is_schema, "a schema")
_SCHEMA_OR_NOT = Form(_is_schema, "a schema, true or false")
_SCHEMAS = Form(_is_filled_list, "a list of schemas")


# ---- checks


def at(path: str, problem: str) -> str:
    """A problem with the path of its value before it."""
    if path:
        return f"{path}: {problem}"
    return problem


def same(a: Any, b: Any) -> bool:
    """JSON's equality: 1 is 1.0 and is not true."""
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _type(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    types = types_of(schema)
    if not fits_type(types, value):
        yield at(path, f"{shortened(value)!r} is not {' or '.join(types)}")


def _enum(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    if not any(same(value, choice) for choice in schema["enum"]):
        yield at(path, f"{shortened(value)!r} is none of {shortened(schema['enum'])}")


def _const(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    if not same(value, schema["const"]):
        yield at(path, f"{shortened(value)!r} is not {shortened(schema['const'])}")


def _properties(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    if isinstance(value, dict):
        for key, rule in schema["properties"].items():
            if key in value:
                yield from checker.problems(rule, value[key], _below(path, key), depth)


def _below(path: str, key: str) -> str:
    if path:
        return f"{path}.{key}"
    return key


def _required(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (at(_below(path, key), "missing") for key in schema["required"] if key not in value)


def _additional(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    known = schema.get("properties", {})
    rule = schema["additionalProperties"]
    for key in value.keys() - known.keys() if isinstance(value, dict) else ():
        if rule is False:
            yield at(_below(path, key), "unknown argument")
        else:
            yield from checker.problems(rule, value[key], _below(path, key), depth)


def _items(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    start = len(schema.get("prefixItems", ()))
    for i, item in enumerate(value[start:] if isinstance(value, list) else (), start):
        yield from checker.problems(schema["items"], item, f"{path}[{i}]", depth)


def _prefix_items(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    items = value if isinstance(value, list) else []
    for i, (rule, item) in enumerate(zip(schema["prefixItems"], items, strict=False)):
        yield from checker.problems(rule, item, f"{path}[{i}]", depth)


def _any_of(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    if not any(checker.fits(branch, value, depth) for branch in schema["anyOf"]):
        yield at(path, f"{shortened(value)!r} fits none of the alternatives")


def _one_of(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    fitting = sum(checker.fits(branch, value, depth) for branch in schema["oneOf"])
    if fitting != 1:
        yield at(path, f"{shortened(value)!r} fits {fitting} of the alternatives instead of one")


def _all_of(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    for branch in schema["allOf"]:
        yield from checker.problems(branch, value, path, depth)


def _pattern(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    """Leniently: a pattern that is not Python's, or a long text, passes."""
    if not isinstance(value, str) or len(value) > _MAX_PATTERN_TEXT:
        return
    try:
        found = re.search(schema["pattern"], value)
    except re.error:
        return
    if not found:
        yield at(path, f"{shortened(value)!r} does not match {schema['pattern']!r}")


# ---- merging


def common_types(a: Any, b: Any) -> list[str]:
    """The types of both: a number may be an integer, so that "number" is read as both, where they are compared."""
    left, right = types_of({"type": a}), types_of({"type": b})
    named = {*left, *right}
    common = [name for name in _with_integer(left) if name in _with_integer(right)]
    return [name for name in common if name in named]


def _with_integer(types: list[str]) -> list[str]:
    if "number" in types and "integer" not in types:
        return [*types, "integer"]
    return types


def _common_values(a: list[Any], b: list[Any]) -> list[Any]:
    return [value for value in a if any(same(value, other) for other in b)]


def _joined_names(a: list[str], b: list[str]) -> list[str]:
    return [*a, *b]


def both(a: Any, b: Any) -> Any:
    """A schema for what fits two."""
    if a is True:
        return b
    if b is True:
        return a
    return {"allOf": [a, b]}


# ---- the table


def _size_of(kind: str, value: Any) -> Any:
    """What the bounds of a type are about: a number itself, how long a text or a list is; None for other values."""
    if kind == "integer":
        if is_number(value):
            return value
        return None
    if TYPES[kind](value):
        return len(value)
    return None


def _bound(
    name: str,
    kind: Literal["integer", "string", "array"],
    holds: Callable[[Any, Any], bool],
    wrong: str,
    merge: Callable[[Any, Any], Any],
) -> Keyword:
    """The row of a bound; ``wrong`` says what a value is that is beyond it."""

    def check(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
        size = _size_of(kind, value)
        if size is not None and not holds(size, schema[name]):
            yield at(path, f"{shortened(value)!r} is {wrong} {schema[name]}")

    return Keyword(name, _NUMBER if kind == "integer" else _SIZE, check, merge, kind)


_ROWS = (
    Keyword("type", _TYPES, _type, common_types, "value"),
    Keyword("enum", _VALUES, _enum, _common_values, "value"),
    Keyword("const", _ANYTHING, _const, None, "value"),
    Keyword("properties", _OBJECT, _properties, None, "object", "named"),
    Keyword("required", _NAMES, _required, _joined_names, "object"),
    Keyword("additionalProperties", _SCHEMA_OR_NOT, _additional, both, "object", "one"),
    Keyword("items", _SCHEMA, _items, both, "array", "one"),
    Keyword("prefixItems", _SCHEMAS, _prefix_items, None, "array", "listed"),
    Keyword("anyOf", _SCHEMAS, _any_of, None, "choice", "listed"),
    Keyword("oneOf", _SCHEMAS, _one_of, None, "choice", "listed"),
    Keyword("allOf", _SCHEMAS, _all_of, None, "resolved", "listed"),
    Keyword("$ref", _TEXT, grammar="resolved"),
    Keyword("$defs", _OBJECT, schemas="named"),
    Keyword("definitions", _OBJECT, schemas="named"),
    Keyword("description", _TEXT),
    Keyword("pattern", _TEXT, _pattern),
    _bound("minimum", "integer", operator.ge, "less than", max),
    _bound("maximum", "integer", operator.le, "more than", min),
    _bound("exclusiveMinimum", "integer", operator.gt, "not more than", max),
    _bound("exclusiveMaximum", "integer", operator.lt, "not less than", min),
    _bound("minLength", "string", operator.ge, "shorter than", max),
    _bound("maxLength", "string", operator.le, "longer than", min),
    _bound("minItems", "array", operator.ge, "shorter than", max),
    _bound("maxItems", "array", operator.le, "longer than", min),
)
KEYWORDS = {row.name: row for row in _ROWS}
