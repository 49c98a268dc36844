"""The algebra of schemas: one schema for the values that fit two."""

from __future__ import annotations

from typing import Any, TypeAlias

from exaone4_gguf.runtime.schema.json_types import Schema
from exaone4_gguf.runtime.schema.keywords import KEYWORDS, both, same

Flat: TypeAlias = Schema | bool
"""A schema without $ref and allOf."""


def intersection(a: Flat, b: Flat) -> Flat:
    """A schema for what fits both; False if nothing does."""
    if isinstance(a, bool):
        if a:
            return b
        return False
    if isinstance(b, bool):
        if b:
            return a
        return False
    merged = {**a, **b, **_both_objects(a, b)}
    for keyword in a.keys() & b.keys() & KEYWORDS.keys():
        merge = KEYWORDS[keyword].merge
        if merge is not None:
            merged[keyword] = merge(a[keyword], b[keyword])
    differ = "const" in a and "const" in b and not same(a["const"], b["const"])
    if differ or merged.get("type") == [] or merged.get("enum") == []:
        return False
    return merged


def _both_objects(a: Schema, b: Schema) -> Schema:
    """The properties of both: what one does not name, its additionalProperties are for."""
    names = dict.fromkeys([*a.get("properties", ()), *b.get("properties", ())])
    properties = {name: both(property_schema(a, name), property_schema(b, name)) for name in names}
    if properties:
        return {"properties": properties}
    return {}


def property_schema(schema: Schema, name: str) -> Any:
    """The schema of what an object has under a name."""
    return schema.get("properties", {}).get(name, schema.get("additionalProperties", True))


def listed_values(schema: Schema) -> list[Any] | None:
    """The values that a schema lists, if it does."""
    values: list[Any] | None = [schema["const"]] if "const" in schema else schema.get("enum")
    return values
