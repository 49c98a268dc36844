"""Each trap of the templates, and each wrong form."""

from __future__ import annotations

import copy
from typing import Any

import pydantic
import pytest

from exaone4_gguf.demo.conversations import CONVERSATIONS
from exaone4_gguf.errors import MessageError
from exaone4_gguf.runtime.prompt.messages import normalized, offered

USER = {"role": "user", "content": "Hello!"}


class Function(pydantic.BaseModel):
    name: str
    arguments: str


class Call(pydantic.BaseModel):
    id: str
    type: str = "function"
    function: Function


class Reply(pydantic.BaseModel):
    role: str = "assistant"
    content: str | None = None
    refusal: str | None = None
    function_call: None = None
    tool_calls: list[Call] | None = None


def one(message: Any) -> dict[str, Any]:
    (found,) = normalized([message])
    return found


def call(**function: Any) -> dict[str, Any]:
    return {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": function}]}


def arguments(given: Any) -> Any:
    return one(call(name="f", arguments=given))["tool_calls"][0]["function"]["arguments"]


def test_ordinary_messages_stay_as_they_are() -> None:
    messages = [{"role": "system", "content": "Be kind."}, USER, {"role": "assistant", "content": "Hi!"}]
    assert normalized(messages) == messages


def test_the_callers_messages_are_not_changed() -> None:
    for talk in CONVERSATIONS.values():
        before = copy.deepcopy(talk.messages)
        normalized(talk.messages)
        assert talk.messages == before


def test_a_developer_is_the_system() -> None:
    assert one({"role": "developer", "content": "Be kind."}) == {"role": "system", "content": "Be kind."}


def test_system_messages_stay_where_they_are() -> None:
    messages = [{"role": "system", "content": "a"}, {"role": "system", "content": "b"}, USER]
    assert normalized([*messages, messages[0]]) == [*messages, messages[0]]


@pytest.mark.parametrize("role", ["system", "user", "assistant", "tool"])
def test_content_parts_are_text(role: str) -> None:
    parts = [{"type": "text", "text": "Hello,"}, {"type": "text", "text": " world"}]
    assert one({"role": role, "content": parts})["content"] == "Hello, world"


@pytest.mark.parametrize(("role", "content"), [("system", ""), ("user", ""), ("assistant", ""), ("tool", None)])
def test_content_none(role: str, content: str | None) -> None:
    """Nothing was said; but a function that returned nothing did return null."""
    assert one({"role": role, "content": None}) == {"role": role, "content": content}


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ('{"sides": 6}', {"sides": 6}),
        ({"sides": 6}, {"sides": 6}),
        (' {"도시": "서울"}\n', {"도시": "서울"}),
        ("", {}),
        (None, {}),
        ('"서울"', "서울"),
        ("[1, 2.5]", [1, 2.5]),
        ("서울", "서울"),
        ('{"sides": 6', '{"sides": 6'),
        ('{"x": NaN}', '{"x": NaN}'),
        ('{"x": 1e999}', '{"x": 1e999}'),
        ("3.10", "3.10"),
        ('"\\ud800"', "\ufffd"),
        ("[" * 100_000, "[" * 100_000),
        ("[" * 100 + "]" * 100, "[" * 100 + "]" * 100),
    ],
)
def test_arguments(given: Any, value: Any) -> None:
    assert arguments(given) == value


def test_calls_without_the_object_around_function() -> None:
    for key in ("arguments", "parameters"):
        bare = {"name": "f", key: '{"x": 1}'}
        wrapped = [{"type": "function", "function": {"name": "f", key: {"x": 1}}}]
        found = one({"role": "assistant", "tool_calls": [bare]})["tool_calls"]
        assert found[0]["function"] == {"name": "f", "arguments": {"x": 1}}
        assert found == one({"role": "assistant", "content": "", "tool_calls": wrapped})["tool_calls"]


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ('{"temp": 21}', {"temp": 21}),
        ("[]", []),
        ("3", 3),
        ("true", True),
        ("null", None),
        ('"sunny"', "sunny"),
        ("sunny", "sunny"),
        ("3.10", "3.10"),
        ("007", "007"),
        ("NaN", "NaN"),
        ("1" * 5000, "1" * 5000),
        ({"temp": (1, 2)}, {"temp": [1, 2]}),
        ({1: True, None: 2}, {"1": True, "null": 2}),
        ([1, {"type": "rain"}], [1, {"type": "rain"}]),
        ([{"type": "rain", "mm": 2}], [{"type": "rain", "mm": 2}]),
        ([{"type": "text", "text": '{"temp": 21}'}], {"temp": 21}),
    ],
)
def test_tool_results(given: Any, value: Any) -> None:
    assert one({"role": "tool", "content": given})["content"] == value


def test_results_take_the_order_of_their_calls() -> None:
    calls = [{"id": i, "function": {"name": "f", "arguments": "{}"}} for i in "abc"]
    results = [{"role": "tool", "tool_call_id": i, "content": i} for i in "cab"]
    asked = {"role": "assistant", "tool_calls": calls}
    assert [m.get("tool_call_id") for m in normalized([USER, asked, *results])] == [None, None, "a", "b", "c"]
    results[1]["tool_call_id"] = "unknown"
    assert [m["content"] for m in normalized([asked, *results])] == ["", "c", "a", "b"]
    assert [m["content"] for m in normalized(results)] == ["c", "a", "b"]


@pytest.mark.parametrize(
    ("message", "reasoning", "content"),
    [
        ({"content": "<think>\nHm.\n</think>\n\nFour."}, "Hm.", "Four."),
        ({"content": "Hm.\n</think>\n\nFour."}, "Hm.", "Four."),
        ({"content": "<think></think>Four."}, None, "Four."),
        ({"content": "<think>a</think>b</think> c"}, "a", "c"),
        ({"content": "Four.", "reasoning_content": "Hm."}, "Hm.", "Four."),
        ({"content": "Four.", "reasoning": "Hm."}, "Hm.", "Four."),
        ({"content": "Four.", "reasoning_content": "<think>\nHm.\n</think>"}, "Hm.", "Four."),
        ({"content": "<think>x</think> Four.", "reasoning_content": "Hm."}, "Hm.", "Four."),
        ({"content": "Write </think> last.", "reasoning_content": "Hm."}, "Hm.", "Write </think> last."),
        ({"content": "Four.", "reasoning_content": None, "reasoning": ""}, None, "Four."),
        ({"content": " Four. "}, None, " Four. "),
    ],
)
def test_thoughts_are_apart_from_the_content(message: dict[str, Any], reasoning: str | None, content: str) -> None:
    found = one({"role": "assistant", **message})
    assert (found.get("reasoning_content"), found["content"]) == (reasoning, content)


def test_objects_of_openais_client() -> None:
    reply = Reply(tool_calls=[Call(id="a", function=Function(name="f", arguments='{"x": 1}'))])
    expected = {"role": "assistant", "content": "", "tool_calls": [call(name="f", arguments={"x": 1})["tool_calls"][0]]}
    assert one(reply) == expected
    assert one({"role": "assistant", "content": None, "tool_calls": reply.tool_calls}) == expected


def test_surrogates_become_what_utf8_can_hold() -> None:
    assert one({"role": "user", "content": "a\ud800b \ud83d\ude00 \0"})["content"] == "a\ufffdb 😀 \0"
    assert one({"role": "tool", "content": {"\udfff": ["\ud800"]}})["content"] == {"\ufffd": ["\ufffd"]}


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("Hello!", "messages[1]: expected an object, got str"),
        ({}, "messages[1].role: is missing"),
        ({"role": "robot", "content": ""}, "messages[1].role: 'robot' is none of system, developer, user"),
        ({"role": ["user"], "content": ""}, "messages[1].role: ['user'] is none of"),
        ({"role": "user"}, "messages[1].content: is missing"),
        ({"role": "tool"}, "messages[1].content: is missing"),
        ({"role": "user", "content": 3}, "messages[1].content: expected text, got int"),
        ({"role": "user", "content": ["a"]}, "messages[1].content[0]: expected an object, got str"),
        ({"role": "user", "content": [{"text": "a"}]}, "messages[1].content[0].type: None is not supported"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[1].content[0].text: is missing"),
        (
            {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "image_url", "image_url": {}}]},
            "messages[1].content[1].type: 'image_url' is not supported",
        ),
        (
            {"role": "tool", "content": [{"type": "image_url", "image_url": {}}]},
            "messages[1].content[0].type: 'image_url'",
        ),
        ({"role": "user", "content": "", "name": 3}, "messages[1].name: expected text, got int"),
        ({"role": "tool", "content": "", "tool_call_id": 3}, "messages[1].tool_call_id: expected text"),
        ({"role": "tool", "content": {"a": [{1}]}}, "messages[1].content.a[0]: set is not JSON"),
        ({"role": "tool", "content": {(1,): 2}}, "messages[1].content: a key is tuple"),
        ({"role": "tool", "content": float("nan")}, "messages[1].content: nan is not a JSON number"),
        ({"role": "tool", "content": deep(100_000)}, "is nested deeper than 64"),
        ({"role": "assistant", "reasoning": 3}, "messages[1].reasoning: expected text, got int"),
        ({"role": "assistant", "tool_calls": "f()"}, "messages[1].tool_calls: expected a list, got str"),
        ({"role": "assistant", "tool_calls": [1]}, "messages[1].tool_calls[0]: expected an object, got int"),
        ({"role": "assistant", "tool_calls": [{"function": 1}]}, "messages[1].tool_calls[0].function: expected"),
        ({"role": "assistant", "function_call": {"name": "f"}}, "messages[1].function_call: is OpenAI's old form"),
        (call(arguments="{}"), "messages[1].tool_calls[0].function.name: is missing"),
        (call(name="", arguments="{}"), "messages[1].tool_calls[0].function.name: expected a name, got ''"),
        (call(name="f"), "messages[1].tool_calls[0].function.arguments: is missing"),
        (call(name="f", arguments={"x": {1}}), "messages[1].tool_calls[0].function.arguments.x: set is not JSON"),
    ],
)
def test_a_wrong_form_is_named(message: Any, complaint: str) -> None:
    with pytest.raises(MessageError) as caught:
        normalized([USER, message])
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("messages", "complaint"),
    [
        ([], "messages: the list is empty"),
        ("Hello!", "messages: expected a list of messages, got str"),
        (USER, "messages: expected a list of messages, got dict"),
        (None, "messages: expected a list of messages, got NoneType"),
    ],
)
def test_messages_are_a_list(messages: Any, complaint: str) -> None:
    with pytest.raises(MessageError, match=f"^{complaint}$"):
        normalized(messages)


def test_tools_are_plain_data() -> None:
    assert offered(None) is None
    assert offered([{"enum": ("a", "\ud800")}]) == [{"enum": ["a", "\ufffd"]}]
    for tools, complaint in (
        ({}, "tools: expected"),
        ([1], r"tools\[0\]: expected"),
        ([{"f": len}], r"tools\[0\].f: "),
    ):
        with pytest.raises(MessageError, match=f"^{complaint}"):
            offered(tools)
