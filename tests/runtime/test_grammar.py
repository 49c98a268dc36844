"""Grammars hold a model to valid JSON, whatever the model: here one that knows nothing of the schemas."""

from __future__ import annotations

import json
from typing import Any

import pytest

from exaone4_gguf.demo.conversations import ROLL_DICE
from exaone4_gguf.errors import SchemaError
from exaone4_gguf.runtime.chat import Exaone4
from exaone4_gguf.runtime.grammar import calls_grammar, json_grammar
from exaone4_gguf.runtime.tools import as_tool, check_arguments

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
def test_json_of_a_schema(reasoning: bool, talker: Exaone4) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMAS["reference"]}}
    reply = talker.chat(GREETING, response_format=form, reasoning=reasoning, reasoning_budget=20, max_tokens=300)
    assert check_arguments(SCHEMAS["reference"], json.loads(reply.content or "")) == []
    assert bool(reply.reasoning_content) == reasoning


def test_any_json_object(talker: Exaone4) -> None:
    for seed in range(5):
        reply = talker.chat(GREETING, response_format={"type": "json_object"}, seed=seed, max_tokens=200)
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


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"$ref": "https://example.com/schema.json"}, "refers to 'https://example.com/schema.json'; only"),
        ({"$ref": "file:///etc/passwd"}, "only references within it"),
        ({"$ref": "#/$defs/none"}, "refers to '#/.defs/none', which is not in it"),
        ({"$ref": "#"}, "refers to itself"),
        ({"type": "nonsense"}, "has type 'nonsense'; JSON has object, array"),
        ({"enum": []}, "has an empty enum"),
        ({"properties": {"a": 5}}, "has 5 where a schema must stand"),
        ({"type": "string", "minLength": -1}, "bound -1 of length"),
        ({"type": "array", "minItems": 3, "maxItems": 2}, "wants 3 to 2 of items"),
        ({"enum": ["a" * 300_000]}, "bytes; 200000 are the most"),
        ({"a": {1, 2}}, "is not JSON"),
        (DEEP, "nested more than 32 deep"),
    ],
)
def test_a_schema_that_cannot_be_a_grammar_is_refused(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        json_grammar(schema)


def test_a_python_function_is_a_tool_as_well(talker: Exaone4) -> None:
    def pick(side: bool) -> str:
        """Pick a side.

        Args:
            side: which one.
        """
        return str(side)

    (call,) = talker.chat(GREETING, [pick], tool_choice="pick", parallel_tool_calls=False, max_tokens=100).tool_calls
    assert as_tool(pick).run(json.loads(call.arguments)) in ("True", "False")
