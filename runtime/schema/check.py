"""The part of JSON Schema that tool arguments need: does a value fit a schema, and where does it not.

Keywords that are not in the table below are ignored, as JSON Schema wants it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]

MAX_NESTING = 64
# A schema that refers to itself in two branches would be walked for ever.
_MAX_VISITS = 100_000
# Longer texts are not searched: a pattern may be slow on purpose or by accident.
_MAX_PATTERN_TEXT = 4096


def is_number(value: Any) -> bool:
    """Whether it is a number that JSON can hold; Python's booleans are none."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: is_number(v) and v == int(v),
    "number": is_number,
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
}


def types_of(schema: Schema) -> list[str]:
    """The types a schema names, in order; none if it leaves them open."""
    named = schema.get("type", [])
    return [named] if isinstance(named, str) else list(named)


def fits_type(types: Sequence[str], value: Any) -> bool:
    """Whether a value has one of the types."""
    return any(TYPES[name](value) for name in types)


def resolve(root: Schema, schema: Any) -> Any:
    """What a schema's ``$ref`` refers to within ``root``; the schema itself if it has none.

    Raises:
        LookupError: there is nothing there, or it is elsewhere than in ``root``.
    """
    for _ in range(MAX_NESTING):
        if not isinstance(schema, dict) or "$ref" not in schema:
            return schema
        schema = _pointed_at(root, schema["$ref"])
    raise LookupError("$ref goes round in circles")


def _pointed_at(root: Schema, ref: Any) -> Any:
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        raise LookupError(f"$ref is {ref!r}; only references within the schema (#/...) are known")
    found: Any = root
    for part in ref.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(key)] if isinstance(found, list) else found[key]
        except (KeyError, ValueError, IndexError, TypeError):
            raise LookupError(f"$ref is {ref!r}, and there is nothing there") from None
    return found


def problems_of(schema: Schema, value: Any) -> list[str]:
    """What is wrong with a value: one line for each problem, none if it fits."""
    return list(Checker(schema).problems(schema, value, "", 0))


class Checker:
    """Checks values against a schema and its parts; ``root`` is where references start."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self.visits = 0

    def problems(self, schema: Any, value: Any, path: str, depth: int) -> Iterator[str]:
        """The problems of the value at ``path``, a dotted name ("" for the whole)."""
        self.visits += 1
        if depth > MAX_NESTING or self.visits > _MAX_VISITS:
            yield _at(path, "too deeply nested, or too large, to be checked")
            return
        try:
            schema = resolve(self.root, schema)
        except LookupError as e:
            yield _at(path, str(e))
            return
        if schema is False:
            yield _at(path, "not allowed")
        for keyword in schema if isinstance(schema, dict) else ():
            if check := _CHECKS.get(keyword):
                yield from check(self, schema, value, path, depth + 1)

    def fits(self, schema: Any, value: Any, depth: int = 0) -> bool:
        """Whether there are none."""
        return next(self.problems(schema, value, "", depth), None) is None


_Check: TypeAlias = Callable[[Checker, Schema, Any, str, int], Iterator[str]]


def _at(path: str, problem: str) -> str:
    return f"{path}: {problem}" if path else problem


def shortened(value: Any) -> str:
    """A value for a message."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."


def _type(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    types = types_of(schema)
    if not fits_type(types, value):
        yield _at(path, f"{shortened(value)!r} is not {' or '.join(types)}")


def _same(a: Any, b: Any) -> bool:
    """JSON's equality: 1 is 1.0 and is not true."""
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def _enum(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    if not any(_same(value, choice) for choice in schema["enum"]):
        yield _at(path, f"{shortened(value)!r} is none of {shortened(schema['enum'])}")


def _const(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    if not _same(value, schema["const"]):
        yield _at(path, f"{shortened(value)!r} is not {shortened(schema['const'])}")


def _properties(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    if isinstance(value, dict):
        for key, rule in schema["properties"].items():
            if key in value:
                yield from checker.problems(rule, value[key], _below(path, key), depth)


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _required(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (_at(_below(path, key), "missing") for key in schema["required"] if key not in value)


def _additional(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    known = schema.get("properties", {})
    rule = schema["additionalProperties"]
    for key in value.keys() - known.keys() if isinstance(value, dict) else ():
        if rule is False:
            yield _at(_below(path, key), "unknown argument")
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
        yield _at(path, f"{shortened(value)!r} fits none of the alternatives")


def _one_of(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
    fitting = sum(checker.fits(branch, value, depth) for branch in schema["oneOf"])
    if fitting != 1:
        yield _at(path, f"{shortened(value)!r} fits {fitting} of the alternatives instead of one")


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
        yield _at(path, f"{shortened(value)!r} does not match {schema['pattern']!r}")


def _limit(keyword: str, measure: Callable[[Any], Any], holds: Callable[[Any, Any], bool], words: str) -> _Check:
    """A check of a value's size; ``measure`` gives None for a value that has none."""

    def check(checker: Checker, schema: Schema, value: Any, path: str, depth: int) -> Iterator[str]:
        size = measure(value)
        if size is not None and not holds(size, schema[keyword]):
            yield _at(path, f"{shortened(value)!r} is {words} {schema[keyword]}")

    return check


def _magnitude(value: Any) -> Any:
    return value if is_number(value) else None


def _length(value: Any) -> int | None:
    return len(value) if isinstance(value, str) else None


def _count(value: Any) -> int | None:
    return len(value) if isinstance(value, list) else None


_CHECKS: dict[str, _Check] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional,
    "items": _items,
    "prefixItems": _prefix_items,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "allOf": _all_of,
    "pattern": _pattern,
    "minimum": _limit("minimum", _magnitude, lambda v, limit: v >= limit, "less than"),
    "maximum": _limit("maximum", _magnitude, lambda v, limit: v <= limit, "more than"),
    "exclusiveMinimum": _limit("exclusiveMinimum", _magnitude, lambda v, limit: v > limit, "not more than"),
    "exclusiveMaximum": _limit("exclusiveMaximum", _magnitude, lambda v, limit: v < limit, "not less than"),
    "minLength": _limit("minLength", _length, lambda v, limit: v >= limit, "shorter than"),
    "maxLength": _limit("maxLength", _length, lambda v, limit: v <= limit, "longer than"),
    "minItems": _limit("minItems", _count, lambda v, limit: v >= limit, "shorter than"),
    "maxItems": _limit("maxItems", _count, lambda v, limit: v <= limit, "longer than"),
}
