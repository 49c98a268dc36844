"""The part of JSON Schema that tool arguments need: does a value fit a schema, and where does it not.

What each keyword asks for is in the table of ``keywords.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exaone4_gguf.format.nesting import SCHEMA_LEVELS
from exaone4_gguf.runtime.schema.json_types import Schema
from exaone4_gguf.runtime.schema.keywords import KEYWORDS, at

# A schema that refers to itself in two branches would be walked for ever.
_MAX_VISITS = 100_000


def resolve(root: Schema, schema: Any) -> Any:
    """What a schema's ``$ref`` refers to within ``root``; the schema itself if it has none.

    Raises:
        LookupError: there is nothing there, or it is elsewhere than in ``root``.
    """
    for _ in range(SCHEMA_LEVELS):
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
        if depth > SCHEMA_LEVELS or self.visits > _MAX_VISITS:
            yield at(path, "too deeply nested, or too large, to be checked")
            return
        try:
            schema = resolve(self.root, schema)
        except LookupError as e:
            yield at(path, str(e))
            return
        if schema is False:
            yield at(path, "not allowed")
        for keyword in schema if isinstance(schema, dict) else ():
            check = KEYWORDS[keyword].check if keyword in KEYWORDS else None
            if check is not None:
                yield from check(self, schema, value, path, depth + 1)

    def fits(self, schema: Any, value: Any, depth: int = 0) -> bool:
        """Whether there are none."""
        return next(self.problems(schema, value, "", depth), None) is None
