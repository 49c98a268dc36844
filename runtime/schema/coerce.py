"""Argument types, put right where the schema says what they should have been - and left alone where it does not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from exaone4_gguf.format.nesting import SCHEMA_LEVELS
from exaone4_gguf.runtime.partial_json import lenient as loose_json
from exaone4_gguf.runtime.schema.check import Checker, resolve
from exaone4_gguf.runtime.schema.json_types import Schema, fits_type, is_number, types_of

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}(\.0{1,18})?")
_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?([eE][+-]?[0-9]{1,3})?")
_WORDS: dict[str, dict[str, Any]] = {"boolean": {"true": True, "false": False}, "null": {"null": None, "none": None}}
_MAX_ATTEMPTS = 1000

# What a converter returns where it has no answer: None is one.
_NOTHING: Any = object()


def coerce(schema: Schema, value: Any) -> Any:
    """The value with the types that the schema asks for, where a text or a number says the same in another type.

    "6" becomes 6 for an integer, "true" True for a boolean, 6 "6" for a string, 6.0 becomes 6, one value a list of
    one, JSON text the list or object it holds. Whatever fits already, or cannot be converted, stays as it is.
    """
    return _Coercion(schema).apply(schema, value, 0)


class _Coercion:
    def __init__(self, root: Schema) -> None:
        self.root = root
        self.checker = Checker(root)
        self.attempts = 0

    def apply(self, schema: Any, value: Any, depth: int) -> Any:
        try:
            schema = resolve(self.root, schema)
        except LookupError:
            return value
        if not isinstance(schema, dict) or depth > SCHEMA_LEVELS:
            return value
        for branch in schema.get("allOf", ()):
            value = self.apply(branch, value, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                value = self._alternative(schema[keyword], value, depth + 1)
        return self._inside(schema, to_types(types_of(schema), value), depth + 1)

    def _alternative(self, branches: list[Any], value: Any, depth: int) -> Any:
        """The value as it is if it fits a branch, else as the first branch that it can be made to fit has it."""
        if any(self.checker.fits(branch, value) for branch in branches):
            return value
        for branch in branches:
            self.attempts += 1
            if self.attempts > _MAX_ATTEMPTS:
                break
            attempt = self.apply(branch, value, depth)
            if self.checker.fits(branch, attempt):
                return attempt
        return value

    def _inside(self, schema: Schema, value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            rules, others = schema.get("properties", {}), schema.get("additionalProperties", True)
            return {key: self.apply(rules.get(key, others), item, depth) for key, item in value.items()}
        if isinstance(value, list):
            leading = schema.get("prefixItems", [])[: len(value)]
            rules = leading + [schema.get("items", True)] * (len(value) - len(leading))
            return [self.apply(rule, item, depth) for rule, item in zip(rules, value, strict=True)]
        return value


def to_types(types: list[str], value: Any) -> Any:
    """The value in the first of the types that says the same; as it is, if none does."""
    if fits_type(types, value):
        whole = isinstance(value, float) and "integer" in types and "number" not in types
        if whole:
            return int(value)
        return value
    for name in types:
        converted = _CONVERTERS[name](value)
        if converted is not _NOTHING:
            return converted
    return value


def _to_integer(value: Any) -> Any:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    return _NOTHING


def _to_number(value: Any) -> Any:
    if not isinstance(value, str) or not _NUMBER.fullmatch(value.strip()):
        return _NOTHING
    number = _to_integer(value)
    number = float(value) if number is _NOTHING else number
    if is_number(number):
        return number
    return _NOTHING


def _to_word(name: str) -> Callable[[Any], Any]:
    words = _WORDS[name]

    def convert(value: Any) -> Any:
        if isinstance(value, str):
            return words.get(value.strip().lower(), _NOTHING)
        return _NOTHING

    return convert


def _to_string(value: Any) -> Any:
    if isinstance(value, bool) or is_number(value):
        return json.dumps(value)
    return _NOTHING


def _to_array(value: Any) -> Any:
    parsed = _from_json(value, list)
    if parsed is not _NOTHING:
        return parsed
    if value is None:
        return _NOTHING
    return [value]


def _to_object(value: Any) -> Any:
    return _from_json(value, dict)


def _from_json(value: Any, kind: type) -> Any:
    if not isinstance(value, str):
        return _NOTHING
    try:
        parsed = loose_json.read(value)
    except loose_json.UnreadableError:
        return _NOTHING
    if isinstance(parsed, kind):
        return parsed
    return _NOTHING


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "integer": _to_integer,
    "number": _to_number,
    "boolean": _to_word("boolean"),
    "null": _to_word("null"),
    "string": _to_string,
    "array": _to_array,
    "object": _to_object,
}
