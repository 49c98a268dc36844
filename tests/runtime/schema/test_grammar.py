"""Grammars hold a model to valid JSON, whatever the model: here one that knows nothing of the schemas."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from exaone4_gguf.demo.conversations import ROLL_DICE
from exaone4_gguf.errors import RuntimeFailure, SchemaError
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.generate.sampling import Sampler, Sampling
from exaone4_gguf.runtime.schema.grammar import calls_grammar, json_grammar
from exaone4_gguf.runtime.tools.tool import as_tool, check_arguments

SCHEMAS: dict[str, dict[str, Any]] = {
    "integer": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    "enum in Korean": {"type": "object", "properties": {"도시": {"enum": ["서울", '부"산']}}, "required": ["도시"]},
    "array": {
        "type": "object",
        "properties": {"xs": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 3}},
        "required": ["xs"],
    },
    "reference": {
        "type": "object",
        "properties": {"a": {"$ref": "#/$defs/side"}, "b": {"$ref": "#/$defs/side"}},
        "required": ["a", "b"],
        "$defs": {"side": {"enum": ["left", "right"]}},
    },
    "nothing": {"type": "object", "properties": {}},
}
GREETING = [{"role": "user", "content": "Hello!"}]


def tool(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": schema}}


@pytest.mark.parametrize("reasoning", [False, True])
@pytest.mark.parametrize("name", SCHEMAS)
def test_a_required_call_is_valid(name: str, reasoning: bool, talker: Exaone4) -> None:
    """Also where the model would never end its thoughts, or end its turn in them."""
    offered = [tool("f", SCHEMAS[name]), ROLL_DICE]
    for seed in range(3):
        reply = talker.chat(
            GREETING, offered, tool_choice="f", reasoning=reasoning, reasoning_budget=20, seed=seed,
            temperature=1.5, max_tokens=400, parallel_tool_calls=False,
        )  # fmt: skip
        if reply.finish_reason == "length":
            continue  # a string of any length may take all tokens
        (call,) = reply.tool_calls
        assert (call.name, call.repaired) == ("f", None)
        assert check_arguments(SCHEMAS[name], json.loads(call.arguments)) == []


def test_one_call_or_several(talker: Exaone4) -> None:
    replies = [
        talker.chat(GREETING, [ROLL_DICE], tool_choice="required", parallel_tool_calls=p, temperature=0, max_tokens=300)
        for p in (True, False)
    ]
    assert [len(r.tool_calls) for r in replies] == [2, 1]
    assert {r.finish_reason for r in replies} == {"tool_calls"}


@pytest.mark.parametrize("reasoning", [False, True])
@pytest.mark.parametrize(
    "form",
    [
        {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMAS["reference"]}},
        {"type": "json_object", "schema": SCHEMAS["reference"]},
    ],
    ids=lambda form: form["type"],
)
def test_json_of_a_schema(form: Any, reasoning: bool, talker: Exaone4) -> None:
    reply = talker.chat(GREETING, response_format=form, reasoning=reasoning, reasoning_budget=20, max_tokens=300)
    assert check_arguments(SCHEMAS["reference"], json.loads(reply.content or "")) == []
    assert bool(reply.reasoning_content) == reasoning


def test_any_json_object(talker: Exaone4) -> None:
    for seed in range(5):
        form: Any = {"type": "json_object"} | ({"schema": {}} if seed % 2 else {})
        reply = talker.chat(GREETING, response_format=form, seed=seed, max_tokens=200)
        if reply.finish_reason == "stop":
            assert isinstance(json.loads(reply.content or ""), dict)


def test_a_lazy_grammar_begins_with_the_call(talker: Exaone4) -> None:
    """Free text before; from the opening tag on only what the schema allows: here one side alone."""
    sides = {"type": "object", "properties": {"sides": {"const": 6}}, "required": ["sides"]}
    described = ROLL_DICE["function"] | {"parameters": sides}
    question = [{"role": "user", "content": "Roll D6 twice!"}]
    reply = talker.chat(question, [{"type": "function", "function": described}], lazy_grammar=True, temperature=0)
    assert all(json.loads(c.arguments) == {"sides": 6} for c in reply.tool_calls)
    assert talker.chat(GREETING, [ROLL_DICE], lazy_grammar=True, temperature=0).finish_reason in ("stop", "tool_calls")


def test_rules_are_written_once() -> None:
    grammar = calls_grammar([("a", SCHEMAS["integer"]), ("b", SCHEMAS["reference"])], parallel=True)
    names = [line.split(" ::= ")[0] for line in grammar.splitlines()]
    assert len(set(names)) == len(names)


DEEP: dict[str, Any] = {}
for _ in range(100):
    DEEP = {"type": "object", "properties": {"a": DEEP}}

NESTED: list[Any] = []
for _ in range(1000):
    NESTED = [NESTED]

SHARED: dict[str, Any] = {"type": "string"}
for _ in range(25):
    SHARED = {"allOf": [SHARED, SHARED]}

# b is written within a, and begins with it; a begins with b later.
ROUND: dict[str, Any] = {
    "$ref": "#/$defs/a",
    "$defs": {
        "a": {"anyOf": [{"properties": {"x": {"$ref": "#/$defs/b"}}}, {"$ref": "#/$defs/b"}]},
        "b": {"anyOf": [{"$ref": "#/$defs/a"}, {"type": "string"}]},
    },
}


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "https://example.com/schema.json"}, "is 'https://example.com/schema.json'; only references within"),
        ({"$ref": "file:///etc/passwd"}, "only references within"),
        ({"$ref": "#/$defs/none"}, "'#/.defs/none', and there is nothing there"),
        ({"$ref": "#"}, "goes round in circles"),
        ({"$ref": ["a"]}, "ref must be a string"),
        ({"$ref": "#/x", "x": {"enum": 5}}, "enum must be a list"),
        ({"type": "nonsense"}, "type must be one of string, integer"),
        ({"enum": []}, "enum must be a list"),
        ({"enum": 5}, "enum must be a list"),
        ({"anyOf": 5}, "anyOf must be a list"),
        ({"prefixItems": 5}, "prefixItems must be a list"),
        ({"prefixItems": [5]}, "must be an object, not 5"),
        ({"allOf": [{"properties": 5}]}, "properties must be an object"),
        ({"properties": {"a": 5}}, "a must be an object, not 5"),
        ({"required": [5]}, "required must be a list of names"),
        ({"const": float("nan")}, "nan is not JSON"),
        ({"enum": [[float("inf")]]}, "inf is not JSON"),
        ({"const": "\ud800"}, "no text in UTF-8"),
        ({"const": 10**400}, "too many digits"),
        ({"type": "string", "minLength": -1}, "minLength must be a whole number"),
        ({"type": "string", "minLength": 501}, "the least may be 500"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "wants 3 to 2 of items"),
        ({"prefixItems": [{}], "items": False, "minItems": 2}, "wants 2 items where it allows 1"),
        ({"items": False, "minItems": 1}, "wants 1 items where it allows 0"),
        ({"type": "integer", "minimum": 5, "maximum": 4.5}, "wants integers from 5 to 4"),
        ({"type": "integer", "minimum": 5, "exclusiveMaximum": 5.0}, "wants integers from 5 to 4"),
        ({"type": "integer", "enum": ["a"]}, "nothing fits"),
        ({"properties": {"a": False}, "required": ["a"]}, "requires 'a', for which it allows nothing"),
        ({"required": ["a"], "additionalProperties": False}, "requires 'a'"),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, "allows nothing"),
        ({"anyOf": [{"type": "string"}], "oneOf": [{"type": "string"}]}, "anyOf beside oneOf"),
        ({"allOf": [{"anyOf": [{"minLength": 1}]}, {"anyOf": [{"maxLength": 3}]}]}, "several anyOf or oneOf"),
        ({"allOf": [{"prefixItems": [{}]}, {"items": {"type": "string"}}]}, "combines prefixItems"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "may fit two of the choices"),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, "may fit two of the choices"),
        ({"anyOf": [{"$ref": "#"}, {"type": "string"}]}, "refers to itself before any character"),
        ({"allOf": [{"$ref": "#"}]}, "refers to itself before any character"),
        (ROUND, "refers to itself before any character"),
        ({"properties": {f"p{i}": {} for i in range(1001)}}, "1000 are the most"),
        ({"enum": ["a" * 300_000]}, "it is too large or deep"),
        (SHARED, "it is too large or deep"),
        ({"a": {1, 2}}, "a set is not JSON"),
        (DEEP, "nested too deeply"),
        ({"const": NESTED}, "it is too large or deep"),
    ],
)
def test_a_schema_that_cannot_be_a_grammar_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        json_grammar(schema)


def takes(talker: Exaone4, grammar: str, text: str) -> bool:
    """Whether llama.cpp lets the text come, and the turn end there."""
    with closing(Sampler(talker.model, Sampling())) as sampler:
        sampler.use_grammar(grammar)
        try:
            for token in [*talker.model.tokenize(text), min(talker.model.end_tokens)]:
                sampler.accept(token)
        except RuntimeFailure:
            return False
    return True


# A schema and the texts its grammar takes, as written, and does not.
SIDE = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
TAKEN: list[tuple[dict[str, Any], list[str], list[str]]] = [
    (SIDE | {"anyOf": [{"properties": {"a": {"const": 2}}}]}, ['{"a": 2}'], ['{"a": 1}', "{}"]),
    (
        SIDE | {"anyOf": [{"$ref": "#/$defs/b"}], "$defs": {"b": {"required": ["b"]}}},
        ['{"a": 1, "b": null}'],
        ['{"b": 1}', '{"a": 1}', '{"a": 3, "b": 1}'],
    ),
    ({"allOf": [SIDE, {"properties": {"a": {"minimum": 2}}}]}, ['{"a": 2}'], ['{"a": 1}']),
    ({"type": "integer", "enum": [1, "1", 5], "maximum": 4}, ["1"], ['"1"', "5"]),
    ({"oneOf": [{"type": "integer"}, {"const": "a"}]}, ["1", '"a"'], ["null"]),
    ({"oneOf": [SIDE, {"properties": {"a": {"const": 3}}, "required": ["a"], "type": "object"}]}, ['{"a": 3}'], ["{}"]),
    (SIDE | {"additionalProperties": True}, ['{"a": 1}'], ['{"a": 1, "a": 5}']),
    ({"required": ["n"], "additionalProperties": {"type": "null"}}, ['{"n": null}'], ['{"n": 1}', "{}"]),
    ({"properties": {"a": False, "b": {"type": "null"}}}, ["{}", '{"b": null}'], ['{"a": 1}']),
    ({"items": False}, ["[]"], ["[1]"]),
    ({"type": "integer", "minimum": 1.0, "exclusiveMinimum": 2, "maximum": 4.0}, ["3", "4"], ["2", "5"]),
    ({"prefixItems": [{"type": "null"}], "minItems": 2, "maxItems": 3, "items": {"const": 1}},
     ["[null, 1]", "[null, 1, 1]"], ["[null]", "[null, 1, 1, 1]", "[1, 1]"]),
    ({"prefixItems": [{"type": "null"}, {"const": 1}], "maxItems": 1}, ["[null]"], ["[null, 1]"]),
    ({"type": "string", "maxLength": 500}, ['"' + "a" * 500 + '"'], ['"' + "a" * 501 + '"']),
    ({"type": "array", "items": {"type": "string", "maxLength": 500}, "maxItems": 500}, ['["a"]'], ["[1]"]),
    ({"type": "string", "maxLength": 2000}, ['"가😀\\ud7ff"'], ['"\\ud800"', '"\\udfff"', '"\x7f"']),
    ({"anyOf": [{"type": "array", "items": {"$ref": "#"}}, {"type": "null"}]}, ["[null, [null]]"], ["[1]"]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "taken", "refused"), TAKEN)
def test_a_grammar_takes_what_fits_alone(
    schema: dict[str, Any], taken: list[str], refused: list[str], talker: Exaone4
) -> None:
    grammar = json_grammar(schema)
    assert [check_arguments(schema, json.loads(text)) for text in taken] == [[] for _ in taken]
    assert [takes(talker, grammar, text) for text in taken + refused] == [True] * len(taken) + [False] * len(refused)


def test_a_large_schema_is_a_grammar(talker: Exaone4) -> None:
    properties = {f"p{i}": {"type": "string", "maxLength": 500} for i in range(1000)}
    assert takes(talker, json_grammar({"properties": properties}), '{"p0": "a", "p999": ""}')


def test_items_follow_prefix_items_when_checked() -> None:
    schema = {"prefixItems": [{"type": "null"}], "items": {"type": "integer"}}
    assert check_arguments(schema, [None, 1]) == []
    assert len(check_arguments(schema, [1, None])) == 2


def test_a_python_function_is_a_tool_as_well(talker: Exaone4) -> None:
    def pick(side: bool) -> str:
        """Pick a side.

        Args:
            side: which one.
        """
        return str(side)

    (call,) = talker.chat(GREETING, [pick], tool_choice="pick", parallel_tool_calls=False, max_tokens=100).tool_calls
    assert as_tool(pick).run(json.loads(call.arguments)) in ("True", "False")
