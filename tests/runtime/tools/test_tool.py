"""Tools from dictionaries and functions; what fits a schema, and what is made to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Annotated, Any, Dict, List, Literal, NotRequired, Optional, TypedDict  # noqa: UP035

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exaone4_gguf.errors import Exaone4Error, ToolError
from exaone4_gguf.runtime.events import Message, ToolCall
from exaone4_gguf.runtime.tools.tool import (
    Fitted,
    Tool,
    as_tool,
    as_tools,
    check_arguments,
    coerce,
    with_coerced_arguments,
)


class Unit(Enum):
    METRIC = "metric"
    IMPERIAL = "imperial"


@dataclass
class Place:
    city: str
    unit: Unit = Unit.METRIC


class Options(TypedDict):
    depth: int
    label: NotRequired[str]


def roll_dice(sides: int, times: int = 1) -> list[int]:
    """Roll a die.

    It is a fair one.

    Args:
        sides: How many sides
            the die has.
        times (int): How often: once by default.

    Returns:
        sides: this is no argument.
    """
    return [sides] * times


def forecast(place: Place, unit: Unit = Unit.METRIC, *, options: Optional[Options] = None) -> tuple[Place, Unit]:  # noqa: UP045
    return place, unit


# ---- from a function


def test_a_function_becomes_a_schema() -> None:
    assert as_tool(roll_dice).to_openai() == {
        "type": "function",
        "function": {
            "name": "roll_dice",
            "description": "Roll a die.\n\nIt is a fair one.",
            "parameters": {
                "type": "object",
                "properties": {
                    "sides": {"type": "integer", "description": "How many sides the die has."},
                    "times": {"type": "integer", "description": "How often: once by default.", "default": 1},
                },
                "required": ["sides"],
            },
        },
    }


UNITS = {"type": "string", "enum": ["metric", "imperial"]}


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (str, {"type": "string"}),
        (bool, {"type": "boolean"}),
        (float, {"type": "number"}),
        (list, {"type": "array"}),
        (dict, {"type": "object"}),
        (List, {"type": "array"}),  # noqa: UP006
        (Dict, {"type": "object"}),  # noqa: UP006
        (Any, {}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (Sequence[list[str]], {"type": "array", "items": {"type": "array", "items": {"type": "string"}}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
        (Literal["a", 1, None], {"type": ["string", "integer", "null"], "enum": ["a", 1, None]}),
        (Unit, UNITS),
        (int | None, {"type": ["integer", "null"]}),
        (int | list[int], {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
        (Annotated[int, "how many"], {"type": "integer", "description": "how many"}),
        (
            Options,
            {
                "type": "object",
                "properties": {"depth": {"type": "integer"}, "label": {"type": "string"}},
                "required": ["depth"],
                "additionalProperties": False,
            },
        ),
        (
            Place,
            {
                "type": "object",
                "properties": {"city": {"type": "string"}, "unit": UNITS},
                "required": ["city"],
                "additionalProperties": False,
            },
        ),
    ],
)
def test_hints(hint: Any, schema: dict[str, Any]) -> None:
    def function(value): ...  # type: ignore[no-untyped-def]

    function.__annotations__ = {"value": hint}
    assert as_tool(function).properties == {"value": schema}


def _untyped(x): ...  # type: ignore[no-untyped-def]
def _set(x: set[int]) -> None: ...
def _keys(x: dict[int, str]) -> None: ...
def _class(x: Exception) -> None: ...
def _positional(x: int, /) -> None: ...
def _several(*x: int) -> None: ...
def _unknown(x: Missing) -> None: ...  # type: ignore[name-defined]  # noqa: F821


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (_untyped, "function '_untyped': parameter 'x' has no type hint"),
        (_set, r"function '_set': parameter 'x': the type hint set\[int\] has no counterpart in JSON"),
        (_keys, r"parameter 'x': the type hint dict\[int, str\]"),
        (_class, "parameter 'x': the type hint Exception has no counterpart"),
        (_positional, "parameter 'x' has no name in a call"),
        (_several, "parameter 'x' has no name in a call"),
        (_unknown, "function '_unknown': its type hints cannot be read"),
    ],
)
def test_what_cannot_be_described_is_named(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(ToolError, match=message):
        as_tool(function)


class _Odd:
    def __getattr__(self, name: str) -> Any:
        raise OSError("no\nhints")


def test_hints_may_be_any_object() -> None:
    """A hint that raises is told in one line; notes that cannot be hashed do no harm."""

    def function(a, b): ...  # type: ignore[no-untyped-def]

    function.__annotations__ = {"a": Annotated[int, {"unit": "cm"}, "how long"], "b": int}
    assert as_tool(function).properties["a"] == {"type": "integer", "description": "how long"}
    function.__annotations__ = {"a": _Odd(), "b": set[int]}
    with pytest.raises(ToolError, match=r"parameter 'a': .*OSError: no hints.*; parameter 'b': the type hint") as e:
        as_tool(function)
    assert "\n" not in str(e.value)


def test_a_part_of_a_function_is_a_tool() -> None:
    tool = as_tool(partial(roll_dice, times=2))
    assert (tool.name, tool.run({"sides": 6})) == ("roll_dice", [6, 6])
    assert tool.description.startswith("Roll a die.")
    assert list(tool.properties) == ["sides", "times"]


def test_what_has_no_signature_is_named() -> None:
    for function in (max, type("Odd", (), {"__call__": 5})()):
        with pytest.raises(ToolError, match="function '(max|Odd)'"):
            as_tool(function)


def test_methods_and_callables_are_functions() -> None:
    class Dice:
        def roll(self, sides: int) -> int:
            return sides

        def __call__(self, sides: int) -> int:
            return sides

    assert as_tool(Dice().roll).properties == as_tool(Dice()).properties == {"sides": {"type": "integer"}}
    assert as_tool(Dice()).run({"sides": 6}) == 6


def test_a_function_is_run_with_what_it_expects() -> None:
    assert as_tool(roll_dice).run({"sides": 6, "times": 2}) == [6, 6]
    weather = as_tool(forecast)
    fitted = weather.fit({"place": {"city": "서울", "unit": "imperial"}, "unit": "metric"})
    assert fitted.problems == []
    assert weather.run(fitted.arguments) == (Place("서울", Unit.IMPERIAL), Unit.METRIC)


def test_a_function_takes_no_other_arguments() -> None:
    assert as_tool(roll_dice).fit({"sides": 6, "colour": "red"}).problems == ["colour: unknown argument"]

    def anything(**options: int) -> int:
        return sum(options.values())

    assert as_tool(anything).fit({"a": 1}).problems == []
    assert as_tool(anything).run({"a": 1}) == 1


# ---- from a dictionary


def test_both_forms_of_a_dictionary() -> None:
    inner = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {"a": {}}}}
    whole = {"type": "function", "function": inner}
    assert as_tool(inner) == as_tool(whole) == as_tool(as_tool(whole))
    assert as_tool(whole).to_openai() == whole
    assert as_tool({"name": "f"}).parameters == {"type": "object", "properties": {}}
    with pytest.raises(ToolError, match="tool 'f' has no function to run"):
        as_tool(inner).run({})


def _with(**rule: Any) -> dict[str, Any]:
    return {"name": "f", "parameters": {"type": "object", "properties": {"a": rule}}}


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        (3, "not a tool"),
        (int, "not a tool"),
        ({}, "name must be"),
        ({"name": ""}, "name must be"),
        ({"name": 'a"b'}, "name must be"),
        ({"type": "code", "name": "f"}, "only 'function'"),
        ({"type": "function", "function": [1]}, "'function' must be an object"),
        ({"name": "f", "description": 3}, "tool 'f': description must be a string"),
        ({"name": "f", "parameters": [1]}, "tool 'f': parameters must be an object"),
        ({"name": "f", "parameters": True}, "tool 'f': parameters must be an object"),
        ({"name": "f", "parameters": {"type": "string"}}, "parameters.type must be 'object'"),
        ({"name": "f", "parameters": {"properties": []}}, "tool 'f': parameters.properties must be an object"),
        ({"name": "f", "parameters": {"required": "a"}}, "parameters.required must be a list of names"),
        (_with(type=5), r"tool 'f': parameters\.properties\.a\.type must be one of string, integer"),
        (_with(type=["int", 5]), r"properties\.a\.type must be one of"),
        (_with(type=[]), r"properties\.a\.type"),
        (_with(enum=[]), r"properties\.a\.enum must be a list of values"),
        (_with(items=3), r"properties\.a\.items must be a schema"),
        (_with(anyOf=[{"type": {}}]), r"properties\.a\.anyOf\[0\]\.type"),
        (_with(type="dict", properties={"b": 5}), r"properties\.a\.properties\.b must be an object, not 5"),
        ({"name": "f", "parameters": {"type": "List[int]"}}, r"parameters.type must be 'object', not 'List\[int\]'"),
        (Tool("f", parameters={"type": "string"}), "tool 'f': parameters.type must be 'object'"),
        (Tool("f", parameters=5), "tool 'f': parameters must be an object"),  # type: ignore[arg-type]
        (_with(minimum="1"), r"properties\.a\.minimum must be a number"),
        (_with(minLength=-1), r"properties\.a\.minLength"),
        (_with(**{"$ref": "#/$defs/x"}), r"properties\.a\.\$ref: \$ref is '#/\$defs/x', and there is nothing there"),
        (_with(**{"$ref": "http://x"}), "only references within the schema"),
        (_with(default={1, 2}), "cannot be written as JSON"),
    ],
)
def test_what_is_not_valid_is_named(tool: Any, message: str) -> None:
    with pytest.raises(ToolError, match=message) as e:
        as_tool(tool)
    assert isinstance(e.value, Exaone4Error)
    assert "\n" not in str(e.value)


CARD = {
    "type": "function",
    "function": {
        "name": "roll_dice",
        "description": "Roll a dice with the number 1 to N. User can select the number N.",
        "parameters": {
            "type": "object",
            "required": ["max_num"],
            "properties": {"max_num": {"type": "int", "description": "Max number of the dice"}},
        },
    },
}
"""The tool of EXAONE 4.0's model card."""


def test_types_of_any_language_are_read_and_shown_as_they_are() -> None:
    tool = as_tool(CARD)
    assert json.dumps(tool.to_openai()) == json.dumps(CARD)
    assert tool.parameters == CARD["function"]["parameters"]  # type: ignore[index]
    assert tool.properties["max_num"]["type"] == "integer"
    assert tool.fit({"max_num": "6"}).arguments == {"max_num": 6}
    assert tool.fit({"max_num": "six"}).problems == ["max_num: 'six' is not integer"]


@pytest.mark.parametrize(
    "given",
    [
        {"name": "f"},
        {"name": "f", "parameters": {}, "description": "", "strict": True},
        {"parameters": {"properties": {}}, "response": {"type": "dict"}, "name": "f"},
        {"name": "f", "parameters": {"type": "dict", "properties": {"a": {"type": None}}, "required": []}},
    ],
)
def test_a_tool_is_shown_as_it_was_given(given: dict[str, Any]) -> None:
    for form in ({"type": "function", "function": given}, {"function": given, "type": "function"}, {"function": given}):
        assert json.dumps(as_tool(form).to_openai()) == json.dumps(form)
        assert json.dumps(as_tool(as_tool(form).to_openai()).to_openai()) == json.dumps(form)
    whole = {"type": "function", "function": given}
    assert json.dumps(as_tool(given).to_openai()) == json.dumps(whole)
    assert json.dumps(as_tool({"type": "function", **given}).to_openai()) == json.dumps(whole)


def test_arguments_are_an_object_whatever_the_schema_says() -> None:
    for parameters in ({"title": "x"}, {"type": "any"}, {"type": ["dict", "null"]}, {"type": "HashMap"}):
        assert as_tool({"name": "f", "parameters": parameters}).schema["type"] == "object"


def test_types_that_are_not_known_are_noted_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exaone4_gguf.runtime.tools.tool._noted", set())
    for _ in range(2):
        tool = as_tool(_with(type="\x1b[2J"))
        assert tool.fit({"a": [1]}) == Fitted({"a": [1]}, [])
    assert [record.getMessage() for record in caplog.records] == [
        "the type '\\x1b[2J' of a tool's parameter is not known; it is taken for anything"
    ]
    as_tool(_with(anyOf=[{"type": f"Type{i}"} for i in range(1000)]))
    assert len(caplog.records) == 100


def test_two_tools_of_one_name() -> None:
    with pytest.raises(ToolError, match="two tools are called 'roll_dice'"):
        as_tools([roll_dice, {"name": "roll_dice"}])


# ---- check_arguments and coerce


TREE = {
    "$defs": {"node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["v"]}},
    "$ref": "#/$defs/node",
}
ONE_OF = {"oneOf": [{"type": "integer"}, {"type": "number", "minimum": 5}]}


@pytest.mark.parametrize(
    ("schema", "value", "problem"),
    [
        ({"type": "integer"}, True, "True' is not integer|'true' is not integer"),
        ({"type": "integer"}, 1.5, "is not integer"),
        ({"type": "number"}, float("nan"), "is not number"),
        ({"type": ["string", "null"]}, 1, "is not string or null"),
        ({"enum": [1, "a"]}, True, "is none of"),
        ({"const": 1}, 2, "is not 1"),
        ({"properties": {"a": {"properties": {"b": {"type": "string"}}}}}, {"a": {"b": 1}}, "^a.b: '1' is not string"),
        ({"required": ["a"]}, {}, "^a: missing"),
        ({"additionalProperties": False}, {"a": 1}, "^a: unknown argument"),
        ({"additionalProperties": {"type": "string"}}, {"a": 1}, "^a: '1' is not string"),
        ({"items": {"type": "string"}}, ["a", 1], r"^\[1\]: '1' is not string"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, 1, "fits none"),
        (ONE_OF, 6, "fits 2 of the alternatives"),
        ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, 4, "is more than 3"),
        (TREE, {"v": 1, "next": {"v": 1, "next": {}}}, "^next.next.v: missing"),
        ({"exclusiveMinimum": 1}, 1, "is not more than 1"),
        ({"exclusiveMaximum": 1}, 1, "is not less than 1"),
        ({"minLength": 2}, "a", "is shorter than 2"),
        ({"maxLength": 2}, "abc", "is longer than 2"),
        ({"minItems": 1}, [], "is shorter than 1"),
        ({"maxItems": 1}, [1, 2], "is longer than 1"),
        ({"pattern": "^a"}, "ba", "does not match"),
        ({"properties": {"a": False}}, {"a": 1}, "^a: not allowed"),
        ({"$ref": "#/nowhere"}, 1, "nothing there"),
        ({"$ref": "#"}, 1, "round in circles"),
    ],
)
def test_what_does_not_fit(schema: dict[str, Any], value: Any, problem: str) -> None:
    (found,) = check_arguments(schema, value)
    assert re.search(problem, found)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, object()),
        ({"type": "integer"}, 6.0),
        ({"type": "integer"}, 10**400),
        ({"enum": [1]}, 1.0),
        ({"minimum": 3}, "a"),
        ({"required": ["a"], "minItems": 1, "maxLength": 0}, 3),
        ({"pattern": "("}, "a"),
        ({"format": "date", "$comment": "x"}, "a"),
        (TREE, {"v": 1, "next": {"v": 2}}),
    ],
)
def test_what_fits(schema: dict[str, Any], value: Any) -> None:
    assert check_arguments(schema, value) == []


ARRAY = {"type": "array", "items": {"type": "integer"}}


@pytest.mark.parametrize(
    ("schema", "value", "expected"),
    [
        ({"type": "integer"}, "6", 6),
        ({"type": "integer"}, " -6.0", -6),
        ({"type": "integer"}, 6.0, 6),
        ({"type": "number"}, "6", 6),
        ({"type": "number"}, "6.5e1", 65.0),
        ({"type": "number"}, 6, 6),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "False", False),
        ({"type": "null"}, "null", None),
        ({"type": "string"}, 6, "6"),
        ({"type": "string"}, 6.5, "6.5"),
        ({"type": "string"}, True, "true"),
        ({"type": ["null", "integer"]}, "6", 6),
        (ARRAY, "6", [6]),
        (ARRAY, 6, [6]),
        (ARRAY, "[1, 2]", [1, 2]),
        (ARRAY, ["1", "2"], [1, 2]),
        ({"prefixItems": [{"type": "integer"}, {}], "items": {"type": "boolean"}}, ["1", "1", "true"], [1, "1", True]),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"a": "1"}', {"a": 1}),
        ({"properties": {"a": {"type": "integer"}, "b": {}}}, {"a": "1", "b": "1"}, {"a": 1, "b": "1"}),
        ({"additionalProperties": {"type": "integer"}}, {"a": "1"}, {"a": 1}),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "6", 6),
        ({"oneOf": [{"type": "boolean"}, ARRAY]}, "6", [6]),
        ({"allOf": [{"type": "integer"}]}, "6", 6),
        ({"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}, {"a": "6"}, {"a": 6}),
    ],
)
def test_coerced(schema: dict[str, Any], value: Any, expected: Any) -> None:
    found = coerce(schema, value)
    assert found == expected
    assert json.dumps(found) == json.dumps(expected)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, "6"),
        ({"type": "string"}, "6"),
        ({"type": ["integer", "string"]}, "6"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "6"),
        ({"type": "integer"}, "six"),
        ({"type": "integer"}, "6.5"),
        ({"type": "integer"}, 6.5),
        ({"type": "integer"}, "9" * 400),
        ({"type": "integer"}, True),
        ({"type": "integer"}, None),
        ({"type": "number"}, "nan"),
        ({"type": "number"}, "1e999"),
        ({"type": "number"}, 6.0),
        ({"type": "boolean"}, 1),
        ({"type": "boolean"}, "yes"),
        ({"type": "string"}, None),
        ({"type": "string"}, [1]),
        ({"type": "object"}, "[1]"),
        ({"type": "object"}, "{"),
        (ARRAY, None),
        ({"$ref": "#/nowhere"}, "6"),
    ],
)
def test_left_alone(schema: dict[str, Any], value: Any) -> None:
    assert coerce(schema, value) == value
    assert type(coerce(schema, value)) is type(value)


def test_a_schema_in_circles_ends() -> None:
    branches = {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"type": "integer"}]}
    coerce(branches, "x")
    assert check_arguments(branches, "x") != []
    deep: Any = 1
    for _ in range(500):
        deep = {"next": deep, "v": 1}
    assert "too deeply nested" in check_arguments(TREE, deep)[0]
    coerce(TREE, deep)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["6", "true", "[1]"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abv"), inner, max_size=3),
    max_leaves=8,
)
SCHEMAS: tuple[Any, ...] = (
    {},
    ARRAY,
    TREE,
    ONE_OF,
    {"type": "integer"},
    as_tool(forecast).parameters,
    as_tool(roll_dice).parameters,
)


@given(st.sampled_from(SCHEMAS), JSON)
def test_any_value_is_checked_and_what_fits_is_kept(schema: dict[str, Any], value: Any) -> None:
    fitted = coerce(schema, value)
    if not check_arguments(schema, value):
        assert fitted == value or value != value or "nan" in repr(value)
    assert repr(coerce(schema, fitted)) == repr(fitted)


def test_calls_that_were_streamed_are_coerced_afterwards() -> None:
    def coerced(arguments: str, repaired: str | None = None) -> ToolCall:
        message = Message(tool_calls=(ToolCall("a", "roll_dice", arguments, repaired),))
        return with_coerced_arguments(message, [as_tool(roll_dice)]).tool_calls[0]

    assert coerced('{"sides": "6"}') == ToolCall("a", "roll_dice", '{"sides": 6}', "coerced_types")
    assert coerced('{"sides": "6"}', "x").repaired == "x+coerced_types"
    for kept in ('{ "sides" : 6}', '{"sides": "six"}', "{", '{"sides": "6", "x": 1}'):
        assert coerced(kept) == ToolCall("a", "roll_dice", kept)
    other = Message(tool_calls=(ToolCall("a", "other", "{}"),))
    assert with_coerced_arguments(other, [as_tool(roll_dice)]) == other


def test_a_tool_is_frozen() -> None:
    with pytest.raises(AttributeError):
        Tool("a").name = "b"  # type: ignore[misc]
