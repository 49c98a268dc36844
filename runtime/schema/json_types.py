"""JSON's types: which of them a value has, which of them a schema names."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]


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
    if isinstance(named, str):
        return [named]
    return list(named)


def fits_type(types: Sequence[str], value: Any) -> bool:
    """Whether a value has one of the types."""
    return any(TYPES[name](value) for name in types)


def is_types(rule: object) -> bool:
    """Whether it is one of JSON's types, or a list of them."""
    names = [rule] if isinstance(rule, str) else rule
    if not isinstance(names, list) or not names:
        return False
    return all(isinstance(name, str) and name in TYPES for name in names)


def shortened(value: Any) -> str:
    """A value for a message."""
    if isinstance(value, str):
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False, default=repr)
    if len(text) <= 60:
        return text
    return text[:57] + "..."
