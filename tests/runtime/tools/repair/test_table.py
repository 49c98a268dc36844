"""Each repair by example, beside what looks alike and must stay text."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exaone4_gguf.runtime.answer.parser import StreamParser
from exaone4_gguf.runtime.events import Message, collect
from exaone4_gguf.runtime.partial_json.completion import completion, dump
from exaone4_gguf.runtime.partial_json.lenient import EVERYTHING, Loose, UnreadableError, read
from exaone4_gguf.runtime.tools.repair.table import REPAIRS, recover
from exaone4_gguf.runtime.tools.tool import Tool, as_tool, as_tools


def tool(name: str, required: tuple[str, ...] = (), **properties: Any) -> Tool:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return as_tool({"name": name, "parameters": parameters})


TEXT = {"type": "string"}
ROLL = tool("roll_dice", ("sides",), sides={"type": "integer"})
NOTE = tool("note", ("text",), text=TEXT, done={"type": "boolean"})
SEARCH = tool("search", ("query",), query=TEXT)
CLOCK = tool("get_time")
TOOLS = (ROLL, NOTE, SEARCH, CLOCK)


def answer(body: str, tools: tuple[Tool, ...] = TOOLS) -> Message:
    parser = StreamParser(tools)
    return collect(parser.feed(f"<tool_call>{body}</tool_call>") + parser.finish())


def called(body: str, tools: tuple[Tool, ...] = TOOLS) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in answer(body, tools).tool_calls]


SIX = [("roll_dice", {"sides": 6})]
SEOUL = [("search", {"query": "서울"})]
REPAIRED: list[tuple[str, str, list[tuple[str, Any]]]] = [
    ("code_fence", '```json\n{"name": "roll_dice", "arguments": {"sides": 6}}\n```', SIX),
    ("code_fence", '\n```{"name": "roll_dice", "arguments": {"sides": 6}}```\n', SIX),
    ("code_fence+other_keys", '```\n{"tool": "roll_dice", "args": {"sides": 6}}\n```', SIX),
    ("code_fence+call_syntax", "```python\nroll_dice(sides=6)\n```", SIX),
    ("arg_tags", "roll_dice\n<arg_key>sides</arg_key>\n<arg_value>6</arg_value>\n", SIX),
    ("arg_tags", "search<arg_key>query</arg_key><arg_value>a\n<b></arg_value>", [("search", {"query": "a\n<b>"})]),
    ("function_tags", "<function=roll_dice>\n<parameter=sides>\n6\n</parameter>\n</function>", SIX),
    ("attributes", '{"search" name="search" arguments={"query": "서울"}}', SEOUL),
    ("attributes", 'name="search" arguments={"query": "서울"}', SEOUL),
    ("call_syntax", "roll_dice(sides=6)", SIX),
    ("call_syntax", " roll_dice( sides = 6, );\n", SIX),
    ("call_syntax", "note(text='a, (b)', done=True)", [("note", {"text": "a, (b)", "done": True})]),
    ("call_syntax", 'roll_dice({"sides": 6})', SIX),
    ("call_syntax", "get_time()", [("get_time", {})]),
    ("call_syntax+bare_argument", "roll_dice(6)", SIX),
    ("name_first", 'roll_dice\n{"sides": 6}', SIX),
    ("name_first", 'roll_dice{"sides": "6"}', SIX),
    ("name_first", "note: {'text': 'a', 'done': False,}", [("note", {"text": "a", "done": False})]),
    ("name_first", 'search: {"query": "서울"}', SEOUL),
    ("name_first+bare_argument", 'search\n"서울"', SEOUL),
    ("name_first+bare_argument", "roll_dice: 6", SIX),
    ("bare_name", "get_time", [("get_time", {})]),
    ("bare_name", '"get_time"', [("get_time", {})]),
    ("python_literals", "{'name': 'note', 'arguments': {'text': 'a \"b\" it\\'s', 'done': True}}", []),
    ("bare_keys", '{name: "roll_dice", arguments: {sides: 6}}', SIX),
    ("trailing_commas", '{"name": "roll_dice", "arguments": {"sides": 6,},}', SIX),
    ("unescaped_controls", '{"name": "search", "arguments": {"query": "a\n\tb"}}', [("search", {"query": "a\n\tb"})]),
    ("wrong_escapes", '{"name": "search", "arguments": {"query": "C:\\dir"}}', [("search", {"query": "C:\\dir"})]),
    ("missing_brackets", '{"name": "roll_dice", "arguments": {"sides": 6}', SIX),
    ("missing_brackets", '{"name": "roll_dice", "arguments": {"sides": 6', SIX),
    ("extra_brackets", '{"name": "roll_dice", "arguments": {"sides": 6}}}', SIX),
    ("loose_json", "{'name': 'roll_dice', 'arguments': {'sides': 6,}", SIX),
    (
        "several_objects+list_of_calls",
        '{"name": "roll_dice", "arguments": {"sides": 6}}\n{"name": "search", "arguments": {"query": "서울"}}',
        SIX + SEOUL,
    ),
    ("wrapped", '{"tool_call": {"name": "roll_dice", "arguments": {"sides": 6}}}', SIX),
    ("wrapped+list_of_calls", '{"tool_calls": [{"name": "roll_dice", "arguments": {"sides": 6}}]}', SIX),
    ("list_of_calls", '[{"name": "roll_dice", "arguments": {"sides": 6}}]', SIX),
    ("nested_function", '{"type": "function", "function": {"name": "roll_dice", "arguments": {"sides": 6}}}', SIX),
    (
        "nested_function+arguments_as_text",
        '{"id": "a", "function": {"name": "roll_dice", "arguments": "{\\"sides\\": 6}"}}',
        SIX,
    ),
    ("tool_as_key", '{"roll_dice": {"sides": 6}}', SIX),
    ("tool_as_key", '{"search": {"query": "서울"}}', SEOUL),
    ("name_in_key", '{"name_search": {"query": "서울"}}', SEOUL),
    ("name_in_key", '{"name: search": {"query": "서울"}}', SEOUL),
    ("other_keys", '{"function": "roll_dice", "parameters": {"sides": 6}}', SIX),
    ("other_keys", '{"name": "roll_dice", "parameters": {"sides": 6}}', SIX),
    ("other_keys", '{"tool": "roll_dice", "arguments": {"sides": 6}}', SIX),
    ("other_keys+no_arguments", '{"tool_name": "get_time"}', [("get_time", {})]),
    ("flat_arguments", '{"name": "roll_dice", "sides": 6}', SIX),
    ("no_arguments", '{"name": "get_time"}', [("get_time", {})]),
    ("no_arguments", '{"name": "get_time", "arguments": null}', [("get_time", {})]),
    ("arguments_as_text", '{"name": "roll_dice", "arguments": "{\\"sides\\": 6}"}', SIX),
    ("arguments_as_text", '{"name": "roll_dice", "arguments": "{\'sides\': 6}"}', SIX),
    ("bare_argument", '{"name": "roll_dice", "arguments": 6}', SIX),
    ("bare_argument", '{"name": "search", "arguments": "서울"}', SEOUL),
]
REPAIRED = [(name, body, calls or [("note", {"text": 'a "b" it\'s', "done": True})]) for name, body, calls in REPAIRED]


@pytest.mark.parametrize(("name", "body", "calls"), REPAIRED)
def test_it_is_repaired(name: str, body: str, calls: list[tuple[str, Any]]) -> None:
    found = answer(body)
    assert called(body) == calls
    assert {call.repaired for call in found.tool_calls} == {name}
    assert (found.content, found.finish_reason) == (None, "tool_calls")


CHOICE = tool("set_mode", ("mode",), mode={"type": "string", "enum": ["fast", "slow"]})
BARE: list[tuple[str, Tool, Any]] = [
    ("6", ROLL, {"sides": 6}),
    ('"6"', ROLL, {"sides": 6}),
    ('"서울"', SEARCH, {"query": "서울"}),
    ("fast", CHOICE, {"mode": "fast"}),
]


@pytest.mark.parametrize(("body", "offered", "arguments"), BARE)
def test_a_value_alone_is_a_call_of_the_only_tool(body: str, offered: Tool, arguments: Any) -> None:
    assert called(body, (offered,)) == [(offered.name, arguments)]
    assert answer(body, (offered,)).tool_calls[0].repaired == "bare_value"
    assert called(body) == []


def test_every_repair_has_an_example() -> None:
    named = {part for name, _, _ in REPAIRED for part in name.split("+")} | {"bare_value"}
    assert named == {repair.name for repair in REPAIRS}
    assert all(repair.about for repair in REPAIRS)


NOT_REPAIRED = [
    # the name is no tool's
    ('{"name": "roll_dices", "arguments": {"sides": 6,}}', "no tool is called 'roll_dices'"),
    ('{"name": "Roll_Dice", "arguments": {"sides": 6}}', "no tool is called 'Roll_Dice'"),
    ('{"function": "roll", "parameters": {"sides": 6}}', "it has no name"),
    ('{"rolldice": {"sides": 6}}', "it has no name"),
    ('{"name_roll": {"sides": 6}}', "it has no name"),
    ("roll(sides=6)", "not JSON"),
    ("roll\n<arg_key>sides</arg_key>\n<arg_value>6</arg_value>", "not JSON"),
    ("<function=roll><parameter=sides>6</parameter></function>", "not JSON"),
    ('{"roll" name="roll" arguments={"sides": 6}}', "no tool is called 'roll'"),
    # the arguments do not fit
    ('{"roll_dice": {"sides": "six"}}', "roll_dice: sides: 'six' is not integer"),
    ('{"function": "roll_dice", "parameters": {}}', "roll_dice: sides: missing"),
    ('{"name": "roll_dice"}', "roll_dice: sides: missing"),
    ('{"name": "roll_dice", "arguments": "six"}', "roll_dice: sides: 'six' is not integer"),
    ('{"name": "roll_dice", "arguments": "{sides}"}', "the arguments are not an object"),
    ('{"name": "note", "arguments": "a"}', "the arguments are not an object"),
    ('{"name": "roll_dice", "number": 6}', "the arguments are not an object"),
    ("roll_dice(six)", "not JSON"),
    ("roll_dice(6, 7)", "not JSON"),
    ("roll_dice(sides=6, sides=7)", "not JSON"),
    ("note('a')", "the arguments are not an object"),
    ("roll_dice\n<arg_key>sides</arg_key>\n<arg_value>6", "not JSON"),
    ("roll_dice <arg_key>sides</arg_key><arg_value>6</arg_value> and so on", "not JSON"),
    ('[{"name": "roll_dice", "arguments": {"sides": 6}}, {"name": "x", "arguments": {}}]', "no tool is called 'x'"),
    # it is not clear which
    ('{"tool": "roll_dice", "function": "search", "arguments": {"sides": 6}}', "it has no name"),
    ('{"name": "roll_dice", "args": {"sides": 6}, "input": {"sides": 8}}', "the arguments are not an object"),
    ('{"search" name="roll_dice" arguments={"sides": 6}}', "not JSON"),
    ('{"name": "roll_dice", "name": "search", "arguments": {"sides": 6}}', "not JSON"),
    # nothing of the kind
    ("", "not JSON"),
    ("  \n ", "not JSON"),
    ("I cannot call any tool.", "not JSON"),
    ("search is what I would call", "not JSON"),
    ("{}", "it has no name"),
    ("[]", "it has no name"),
    ("null", "it has no name"),
    ("6", "it has no name"),
    ('{"name": 6, "arguments": {}}', "it has no name"),
    ('{"name": ["roll_dice"], "arguments": {"sides": 6}}', "it has no name"),
    ('{"name": "roll_dice", "arguments": {"sides": __import__("os")}}', "not JSON"),
]


@pytest.mark.parametrize(("body", "reason"), NOT_REPAIRED)
def test_it_stays_text(body: str, reason: str) -> None:
    text = f"<tool_call>{body}</tool_call>"
    found = answer(body)
    assert (found.content, found.tool_calls, found.finish_reason) == (text, (), "stop")
    assert found.rejected[0].text == text
    assert reason in found.rejected[0].reason


@pytest.mark.parametrize("body", ["Seoul", "I cannot do that", "{서울", "query=서울", "서울\n부산", "null", "[1]"])
def test_words_are_not_a_call_of_the_only_tool(body: str) -> None:
    assert called(body, (SEARCH,)) == []


DELETE = tool("delete", ("paths",), paths={"type": "array", "items": TEXT})
MAYBE = tool("maybe", n={"type": ["integer", "null"]})
ANYTHING = tool("anything", it=True)
PROSE = ("I am not sure, ask first", "no", "none", "never delete anything please", "서울")


@pytest.mark.parametrize("offered", [DELETE, SEARCH, MAYBE, ANYTHING, ROLL, NOTE])
@pytest.mark.parametrize("words", PROSE)
def test_words_behind_a_name_are_not_its_argument(offered: Tool, words: str) -> None:
    for tools in ((offered,), (offered, CHOICE)):
        for body in (f"{offered.name}: {words}", f"{offered.name}\n{words}", words):
            assert called(body, tools) == []
    assert called("set_mode: fast", (offered, CHOICE)) == [("set_mode", {"mode": "fast"})]


def test_one_bad_call_spoils_no_other() -> None:
    good = '{"name": "roll_dice", "arguments": {"sides": 6}}'
    for body, _ in NOT_REPAIRED:
        parser = StreamParser(TOOLS)
        text = "\n".join(f"<tool_call>{part}</tool_call>" for part in (good, body, good))
        found = collect(parser.feed(text) + parser.finish())
        assert [call.name for call in found.tool_calls] == ["roll_dice", "roll_dice"]
        assert len(found.rejected) == 1


OFFERED = {offered.name: offered for offered in as_tools(TOOLS)}
LONG = 100_000
HOSTILE = {
    "[": "[" * LONG,
    "{": '{"a":' * LONG,
    "quoted": "{'a':" * LONG,
    "(": "(" * LONG,
    "call": "roll_dice(" + "[" * LONG,
    "first": "roll_dice: " + "{" * LONG,
    "text": json.dumps({"name": "roll_dice", "arguments": "{" * LONG}),
    "deep text": json.dumps({"name": "note", "arguments": {"text": "[" * 900 + "]" * 900}}),
    "quotes": "{'" + "\\" * LONG,
    "ticks": "```" * LONG,
    "blanks": " " * LONG + "x",
    "word": "a" * LONG,
    "digits": "roll_dice(" + "9" * LONG + ")",
    "float": '{"name": "roll_dice", "arguments": {"sides": 1e999,}}',
    "calls": '[{"name": "get_time"}' + ', {"name": "get_time"}' * 10_000 + "]",
    "args": "note" + "<arg_key>a</arg_key><arg_value>" * 10_000,
    "brackets": '{"name": "roll_dice", "arguments": {"sides": 6}}' + "}\n" * LONG + "x",
    "surrogate": "{'name': 'search', 'arguments': {'query': '\\ud83d'}}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_raises_or_hangs(name: str) -> None:
    for call in recover(HOSTILE[name], OFFERED).calls:
        dump(call.arguments).encode()


@given(st.text(alphabet="{}[]()<>'\"\\:,= \nroll_dice69`TrueNone_argkeyvl/", max_size=60))
def test_any_body_gives_calls_or_a_reason(body: str) -> None:
    found = recover(body, OFFERED)
    assert bool(found.calls) == (found.reason is None)
    assert all(not OFFERED[call.name].fit(call.arguments).problems for call in found.calls)


# ---- the reader and the completion below


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.booleans())
def test_json_is_read_as_json(value: Any, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    assert read(text) == read(text, EVERYTHING) == value


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_what_print_shows_is_read_as_python(value: dict[str, Any]) -> None:
    escaped = repr(value).replace("\\x", "\\u00")
    assert "\\U" in escaped or read(escaped, Loose.PYTHON) == value


@pytest.mark.parametrize(
    "text", ["", "[1,]", "{'a': 1}", '{"a": 1', "[1]]", "True", "NaN", "1e999", "01", '"\n"', '"\\d"', "1 2"]
)
def test_without_liberties_the_reader_is_strict(text: str) -> None:
    with pytest.raises(UnreadableError):
        read(text)


@given(VALUES, st.data())
def test_a_beginning_is_completed(value: Any, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=data.draw(st.sampled_from([None, 1])))
    begun = text[: data.draw(st.integers(0, len(text)))]
    if begun.rstrip().endswith("\\") or begun.endswith(("\\u", "\\u0", "\\u00", "\\u000", "\\u001")):
        return
    rest = completion(begun, value)
    assert rest is not None
    assert json.loads(begun + rest) == value


@pytest.mark.parametrize(
    ("begun", "value"),
    [('{"a": 1', {"a": 2}), ('{"b"', {"a": 1}), ("[1, 2", [1]), ('["ab', ["ac"]), ('{"a": "x', {"a": 1}), ("[1,", [1])],
)
def test_another_value_is_no_completion(begun: str, value: Any) -> None:
    assert completion(begun, value) is None


def test_a_long_number_raises_nothing() -> None:
    assert completion("[" + "1" * 5000 + ", ", [1, 2]) is None
    assert completion("[1.0, ", [1, 2]) == "2]"
