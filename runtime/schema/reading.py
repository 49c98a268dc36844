"""JSON Schema as people write it, read as JSON Schema: what a tool's author meant, in the standard's own words.

The prompt shows a tool as it was given; whatever checks, converts, or holds the model to a schema looks at what
``standard`` makes of it. What is the standard's already stays as it is, and what has no meaning stays wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exaone4_gguf.format.nesting import SCHEMA_LEVELS
from exaone4_gguf.runtime.schema.coerce import to_types
from exaone4_gguf.runtime.schema.json_types import TYPES, Schema, fits_type, is_types, types_of
from exaone4_gguf.runtime.schema.keywords import KEYWORDS
from exaone4_gguf.runtime.schema.words import meaning


def standard(schema: Any, unknown: Callable[[str], None] = lambda word: None) -> Any:
    """The schema that is meant; parts that mean nothing stay as they are.

    Read are the types of programming languages (see ``schema_words``), also alone in place of a schema; keywords that
    are null, which are none; OpenAPI's ``nullable`` and the older drafts' lists of ``items``, boolean ``required`` and
    boolean bounds; listed values of another type than the one beside them. ``unknown`` is told each type that is no
    known word, and that is taken for anything.
    """
    return _Reading(unknown).schema(schema, 0)


class _Reading:
    """Reads the parts of one schema, each object once: also one that is shared, or holds itself."""

    def __init__(self, unknown: Callable[[str], None]) -> None:
        self._unknown = unknown
        self._read: dict[int, dict[str, Any]] = {}

    def schema(self, given: Any, depth: int) -> Any:
        """What a schema means."""
        if isinstance(given, str):
            return self._type({"type": given})
        if not isinstance(given, dict) or depth > SCHEMA_LEVELS:
            return given
        if id(given) not in self._read:
            found: dict[str, Any] = {}
            self._read[id(given)] = found
            self._fill(found, given, depth)
        return self._read[id(given)]

    def _fill(self, found: dict[str, Any], given: Schema, depth: int) -> None:
        for keyword, rule in given.items():
            if rule is not None or keyword not in KEYWORDS or KEYWORDS[keyword].form.holds(None):
                found[keyword] = self._below(keyword, rule, depth + 1)
        self._type(found)
        for read in _READINGS:
            read(found)

    def _below(self, keyword: str, rule: Any, depth: int) -> Any:
        """The rule with the schemas in it read. Keywords that are not known may hold some that are referred to."""
        schemas = KEYWORDS[keyword].schemas if keyword in KEYWORDS else None
        if schemas == "named" and isinstance(rule, dict):
            return {name: self.schema(inner, depth) for name, inner in rule.items()}
        if (schemas == "listed" or keyword == "items") and isinstance(rule, list):
            return [self.schema(inner, depth) for inner in rule]
        is_schema = schemas == "one" or (isinstance(rule, dict) and keyword not in _DATA)
        if is_schema:
            return self.schema(rule, depth)
        return rule

    def _type(self, found: dict[str, Any]) -> dict[str, Any]:
        """Put the type in JSON's words, with what it says of items and values where nothing else says it."""
        types = found.get("type")
        words = [types] if isinstance(types, str) else types
        if isinstance(words, list) and words and all(isinstance(word, str) for word in words) and not is_types(words):
            meant = meaning(words, self._unknown)
            found["type"] = meant.get("type")
            if not meant:
                del found["type"]
            found |= {keyword: rule for keyword, rule in meant.items() if keyword not in found}
        return found


_DATA = ("enum", "const", "default", "example", "examples")


# ---- what is not of this draft, or not of the type; each changes the schema that it is given


def _nullable(found: dict[str, Any]) -> None:
    """OpenAPI's: null, or the type beside it."""
    if found.get("nullable") is True and is_types(found.get("type")) and "null" not in types_of(found):
        found["type"] = [*types_of(found), "null"]
        if isinstance(found.get("enum"), list):
            found["enum"] = [*found["enum"], None]


def _list_of_items(found: dict[str, Any]) -> None:
    """A schema for each item, as drafts before 2020 had it; one alone is meant for all."""
    items = found.get("items")
    if not isinstance(items, list):
        return
    del found["items"]
    if len(items) == 1:
        found["items"] = items[0]
    elif items:
        found["prefixItems"] = items
        if "additionalItems" in found:
            found["items"] = found["additionalItems"]


def _boolean_bounds(found: dict[str, Any]) -> None:
    """Draft 4's: whether the bound beside it is one that is not reached."""
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(found.get(exclusive), bool) and found.pop(exclusive) and bound in found:
            found[exclusive] = found.pop(bound)


def _boolean_required(found: dict[str, Any]) -> None:
    """Draft 3's: of a property, which the object it is in lists today."""
    properties, listed = found.get("properties"), found.get("required", [])
    if not isinstance(properties, dict) or not isinstance(listed, list):
        return
    flags = {n: p["required"] for n, p in properties.items() if isinstance(p, dict) and "required" in p}
    flags = {name: flag for name, flag in flags.items() if isinstance(flag, bool)}
    if flags:
        bare = {name: {k: v for k, v in properties[name].items() if k != "required"} for name in flags}
        found["properties"] = properties | bare
        found["required"] = [*listed, *(name for name, flag in flags.items() if flag and name not in listed)]


def _listed_values(found: dict[str, Any]) -> None:
    """Values of an array are those of its items. "1" for an integer is 1; where there is one like "any" for a
    boolean, which no boolean says, all of them are meant as they stand, too.
    """
    values = [found["const"]] if "const" in found else found.get("enum")
    if not isinstance(values, list) or not values or not is_types(found.get("type")):
        return
    types = types_of(found)
    if all(fits_type(types, value) for value in values):
        return
    if types == ["array"] and "enum" in found and not any(isinstance(value, list) for value in values):
        _move_to_items(found)
        return
    converted = [to_types(types, value) for value in values]
    if not all(fits_type(types, value) for value in converted):
        found["type"] = list(dict.fromkeys([*types, *(name for value in values for name in _types_of_value(value))]))
        converted = [*values, *(value for value in converted if value not in values)]
    found |= {"const": converted[0]} if "const" in found else {"enum": converted}


def _move_to_items(found: dict[str, Any]) -> None:
    values, items = found.pop("enum"), found.get("items", {})
    if isinstance(items, dict) and "enum" not in items:
        found["items"] = items | {"enum": values}
        _listed_values(found["items"])


def _types_of_value(value: Any) -> list[str]:
    """Its type; an integer is a number as well, which need not be said."""
    return [name for name, is_type in TYPES.items() if is_type(value)][:1]


_READINGS = (_nullable, _list_of_items, _boolean_bounds, _boolean_required, _listed_values)
