"""Every row of the table of keywords is whole: what is missing from one is named here, with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from exaone4_gguf.runtime.schema.check import problems_of
from exaone4_gguf.runtime.schema.form import schema_problem
from exaone4_gguf.runtime.schema.keywords import KEYWORDS, Keyword

SAY_NOTHING_OF_VALUES = {"$defs", "definitions", "description"}
NOT_IN_A_GRAMMAR = {"pattern"} | SAY_NOTHING_OF_VALUES
NOT_CHECKED_BY_THEMSELVES = {"$ref"} | SAY_NOTHING_OF_VALUES
"""What a reference is to is checked in its place."""
MERGED_WITH_MORE_THAN_THEIR_VALUES = {"const", "properties", "prefixItems", "anyOf", "oneOf"}
"""By the intersection itself, or refused by the grammar."""

EXAMPLES: dict[str, tuple[Any, Any, Any, Any]] = {
    "type": ("string", "a", 1, "text"),
    "enum": ([1, "a"], 1, 2, []),
    "const": (None, None, 0, ...),
    "properties": ({"a": {"type": "null"}}, {"a": None}, {"a": 1}, []),
    "required": (["a"], {"a": 1}, {}, "a"),
    "additionalProperties": (False, {}, {"a": 1}, "no"),
    "items": ({"type": "null"}, [None], [1], 1),
    "prefixItems": ([{"type": "null"}], [None, 1], [1], []),
    "anyOf": ([{"type": "null"}, {"type": "string"}], "a", 1, {}),
    "oneOf": ([{"type": "integer"}, {"type": "number"}], 1.5, 1, {}),
    "allOf": ([{"minimum": 1}, {"maximum": 2}], 1, 3, {}),
    "pattern": ("^a", "ab", "ba", 1),
    "minimum": (1, 1, 0, "1"),
    "maximum": (1, 1, 2, "1"),
    "exclusiveMinimum": (1, 2, 1, True),
    "exclusiveMaximum": (1, 0, 1, True),
    "minLength": (1, "a", "", -1),
    "maxLength": (1, "a", "ab", 1.5),
    "minItems": (1, [1], [], -1),
    "maxItems": (1, [1], [1, 2], 1.5),
}
"""For each keyword that is checked: a value of it, what fits that, what does not, and what is no value of it."""


@pytest.mark.parametrize("row", KEYWORDS.values(), ids=lambda row: row.name)
def test_rows_are_whole(row: Keyword) -> None:
    assert row.form.words
    assert (row.check is None) == (row.name in NOT_CHECKED_BY_THEMSELVES)
    assert (row.grammar is None) == (row.name in NOT_IN_A_GRAMMAR)
    shapes_a_value = row.grammar not in (None, "resolved")
    assert (row.merge is not None) == (shapes_a_value and row.name not in MERGED_WITH_MORE_THAN_THEIR_VALUES)


def test_every_check_has_its_example() -> None:
    assert EXAMPLES.keys() == KEYWORDS.keys() - NOT_CHECKED_BY_THEMSELVES


@pytest.mark.parametrize("name", EXAMPLES)
def test_checks_and_forms(name: str) -> None:
    rule, right, wrong, malformed = EXAMPLES[name]
    assert problems_of({name: rule}, right) == []
    assert problems_of({name: rule}, wrong) != []
    assert schema_problem({name: rule}) is None
    assert malformed is ... or str(schema_problem({name: malformed})).startswith(f"parameters.{name} must be ")
