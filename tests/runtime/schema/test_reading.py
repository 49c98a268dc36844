"""Schemas as people write them mean schemas in the standard's own words."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exaone4_gguf.errors import SchemaError
from exaone4_gguf.format.nesting import SCHEMA_LEVELS
from exaone4_gguf.runtime.schema.grammar import calls_grammar
from exaone4_gguf.runtime.schema.json_types import TYPES
from exaone4_gguf.runtime.schema.reading import standard
from exaone4_gguf.runtime.schema.words import WORDS
from exaone4_gguf.runtime.tools.tool import as_tool, check_arguments, coerce

NAMES = st.sampled_from(["a", "type", "items", "enum", "required", "이름"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["1", "true", "x", "[1]", "int", '{"a": 1}']),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=5,
)
OF_VALUES = {  # of a type, as a schema lists them
    "string": st.sampled_from(["int", "b"]),
    "integer": st.integers(0, 9),
    "number": st.sampled_from([1, 2.5]),
    "boolean": st.booleans(),
    "null": st.none(),
    "array": st.just([1]),
    "object": st.just({"type": "int"}),
}


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    named = st.dictionaries(NAMES, inner, max_size=3)
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": named},
            optional={"required": st.lists(NAMES, max_size=2, unique=True), "additionalProperties": inner},
        ),
        st.fixed_dictionaries({"type": st.just("array")}, optional={"items": inner}),
        st.fixed_dictionaries({"type": st.just("array"), "prefixItems": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=1)}, optional={"default": VALUES}),
        st.fixed_dictionaries({"properties": named, "$defs": named}),
    )


def _listed(name: str) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"type": st.just(name)}, optional={"enum": st.lists(OF_VALUES[name], min_size=1)})


SCHEMAS = st.recursive(
    st.just({}) | st.sampled_from(sorted(TYPES)).flatmap(_listed) | st.just({"type": ["string", "null"]}),
    _schemas,
    max_leaves=8,
)
"""In JSON Schema's own words."""

SPELLINGS = {name: re.split(r",\s+", line) for name, line in WORDS.items()}
CASES: tuple[Callable[[str], str], ...] = (str, str.upper, str.title)


def _respelled(draw: st.DrawFn, schema: Any) -> Any:
    """The schema with each type in any word of the table, and types where there are none."""
    inner: dict[str, Any] = {}
    for keyword, rule in schema.items():
        if keyword in ("properties", "$defs"):
            inner[keyword] = {name: _respelled(draw, each) for name, each in rule.items()}
        elif keyword in ("anyOf", "allOf", "prefixItems"):
            inner[keyword] = [_respelled(draw, each) for each in rule]
        elif keyword in ("items", "additionalProperties"):
            inner[keyword] = _respelled(draw, rule)
        elif keyword == "type":
            names = [rule] if isinstance(rule, str) else rule
            words = [draw(st.sampled_from(CASES))(draw(st.sampled_from(SPELLINGS[name]))) for name in names]
            inner[keyword] = words[0] if isinstance(rule, str) else words
        else:
            inner[keyword] = rule
    if "type" not in inner and draw(st.booleans()):
        inner["type"] = draw(st.sampled_from([*SPELLINGS["anything"], None]))
    return inner


@st.composite
def _spelled(draw: st.DrawFn) -> tuple[Any, Any]:
    schema = {"type": "object", "properties": draw(st.dictionaries(NAMES, SCHEMAS, max_size=3))}
    return schema, _respelled(draw, schema)


@given(SCHEMAS)
def test_the_standards_own_words_stay(schema: Any) -> None:
    assert standard(schema) == schema


@given(_spelled())
def test_a_schema_in_any_words_is_the_one_in_the_standards(pair: tuple[Any, Any]) -> None:
    schema, spelled = pair
    before = copy.deepcopy(spelled)
    tool = as_tool({"name": "f", "parameters": spelled})
    assert tool.to_openai()["function"]["parameters"] == spelled == before
    assert tool.schema == standard(schema) == standard(tool.schema)
    assert _grammar(spelled) == _grammar(schema)


def _grammar(schema: Any) -> str:
    try:
        return calls_grammar([("f", schema)], parallel=True)
    except SchemaError as e:
        return str(e)


@given(_spelled(), st.dictionaries(NAMES, VALUES, max_size=3))
def test_values_are_judged_and_converted_alike(pair: tuple[Any, Any], value: Any) -> None:
    schema, spelled = pair
    assert check_arguments(spelled, value) == check_arguments(schema, value)
    assert json.dumps(coerce(spelled, value)) == json.dumps(coerce(schema, value))


STRING, INTEGER = {"type": "string"}, {"type": "integer"}
AB = {"type": "string", "enum": ["a", "b"]}


@pytest.mark.parametrize(
    ("schema", "meant"),
    [
        ({"type": "List[int]", "description": "d"}, {"type": "array", "items": INTEGER, "description": "d"}),
        ({"type": "List[int]", "items": STRING}, {"type": "array", "items": STRING}),
        ({"type": ["int", "None"]}, {"type": ["integer", "null"]}),
        ({"type": "Foo", "minimum": 1}, {"minimum": 1}),
        ({"type": None, "enum": None, "items": None, "description": None, "default": None}, {"default": None}),
        ({"properties": {"a": "int"}, "additionalProperties": "str"},
         {"properties": {"a": INTEGER}, "additionalProperties": STRING}),
        ({"items": "string"}, {"items": STRING}),
        ({"type": "string", "nullable": True}, {"type": ["string", "null"], "nullable": True}),
        ({"type": "string", "nullable": True, "enum": ["a"]},
         {"type": ["string", "null"], "nullable": True, "enum": ["a", None]}),
        ({"type": "string", "nullable": False}, {"type": "string", "nullable": False}),
        ({"type": "tuple", "items": [{"type": "int"}, {"type": "str"}]},
         {"type": "array", "prefixItems": [INTEGER, STRING]}),
        ({"items": [{"type": "int"}, {}], "additionalItems": False},
         {"prefixItems": [INTEGER, {}], "items": False, "additionalItems": False}),
        ({"type": "array", "items": [{"type": "int"}]}, {"type": "array", "items": INTEGER}),
        ({"type": "array", "items": []}, {"type": "array"}),
        ({"minimum": 1, "exclusiveMinimum": True, "maximum": 5, "exclusiveMaximum": False},
         {"exclusiveMinimum": 1, "maximum": 5}),
        ({"properties": {"a": {"type": "int", "required": True}, "b": {"required": False}}},
         {"properties": {"a": INTEGER, "b": {}}, "required": ["a"]}),
        ({"properties": {"a": {"type": "dict", "required": True, "properties": {}}}, "required": ["b"]},
         {"properties": {"a": {"type": "object", "properties": {}}}, "required": ["b", "a"]}),
        ({"properties": {"a": {"type": "int", "optional": True}}},
         {"properties": {"a": {"type": "integer", "optional": True}}}),
        ({"type": "integer", "enum": ["1", "2"]}, {"type": "integer", "enum": [1, 2]}),
        ({"type": "string", "enum": [1, "b"]}, {"type": "string", "enum": ["1", "b"]}),
        ({"type": "boolean", "enum": ["True", "any"]},
         {"type": ["boolean", "string"], "enum": ["True", "any", True]}),
        ({"type": "string", "enum": ["a", None]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"type": "integer", "const": "5"}, {"type": "integer", "const": 5}),
        ({"type": "integer", "const": "five"}, {"type": ["integer", "string"], "const": "five"}),
        ({"type": "array", "items": {"type": "str"}, "enum": ["a", "b"]}, {"type": "array", "items": AB}),
        ({"type": "array", "items": INTEGER, "enum": ["1"]},
         {"type": "array", "items": {"type": "integer", "enum": [1]}}),
        ({"type": "array", "enum": [["a"], ["b"]]}, {"type": "array", "enum": [["a"], ["b"]]}),
        ({"$ref": "#/components/schemas/Side", "components": {"schemas": {"Side": {"type": "str"}}}},
         {"$ref": "#/components/schemas/Side", "components": {"schemas": {"Side": STRING}}}),
        ({"const": {"type": "int"}, "default": {"type": "int"}, "examples": [{"type": "int"}]},
         {"const": {"type": "int"}, "default": {"type": "int"}, "examples": [{"type": "int"}]}),
        ({"required": ["a"], "type": "dict"}, {"required": ["a"], "type": "object"}),
        (True, True),
        (5, 5),
        ({"type": 5, "properties": [], "enum": 3, "required": "a", "anyOf": "x"},
         {"type": 5, "properties": [], "enum": 3, "required": "a", "anyOf": "x"}),
        ({"type": [], "items": 3, "exclusiveMinimum": "1"}, {"type": [], "items": 3, "exclusiveMinimum": "1"}),
        ({"type": ["int", 5]}, {"type": ["int", 5]}),
    ],
)  # fmt: skip
def test_what_is_meant(schema: Any, meant: Any) -> None:
    before = copy.deepcopy(schema)
    assert standard(schema) == meant
    assert schema == before
    assert standard(meant) == meant


def test_a_value_that_is_listed_in_two_ways_may_be_either() -> None:
    """As the leaderboard has it: "dontcare" beside "True" and "False", for a boolean."""
    schema = {"type": "boolean", "enum": ["True", "False", "dontcare"]}
    for value in (True, False, "True", "dontcare"):
        assert check_arguments(schema, coerce(schema, value)) == []
    assert check_arguments(schema, "perhaps") != []


def test_shared_and_endless_schemas_are_read_once() -> None:
    shared: Any = {"type": "str"}
    for _ in range(40):
        shared = {"anyOf": [shared, shared]}
    read = standard(shared)
    assert read["anyOf"][0] is read["anyOf"][1]
    loop: dict[str, Any] = {"type": "dict"}
    loop["properties"] = {"next": loop}
    read = standard(loop)
    assert read["type"] == "object"
    assert read["properties"]["next"] is read
    deep: Any = {"type": "int"}
    for _ in range(SCHEMA_LEVELS * 20):
        deep = {"items": deep}
    assert standard(deep) == deep


def test_unknown_types_are_told() -> None:
    unknown: list[str] = []
    standard({"type": "Foo", "properties": {"a": "Bar", "b": {"type": ["int", "Baz"]}}}, unknown.append)
    assert unknown == ["Bar", "Baz", "Foo"]
