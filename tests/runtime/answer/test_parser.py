"""The stream parser: the same events however the text is cut, and nothing of the text lost."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exaone4_gguf.demo.conversations import CONVERSATIONS, DICE, ROLL_DICE, Conversation
from exaone4_gguf.runtime.answer.parser import StreamParser, new_call_id
from exaone4_gguf.runtime.events import (
    Content,
    Event,
    Finish,
    Message,
    Reasoning,
    Rejected,
    ToolCallArguments,
    ToolCallBegin,
    ToolCallEnd,
    collect,
)
from exaone4_gguf.runtime.partial_json.scanner import JsonScanner, Place
from tests.conftest import SHARED
from tests.events import merged

CASES = int(os.environ.get("EXAONE4_CASES", "300"))

NOTE = {
    "name": "note",
    "parameters": {
        "type": "object",
        "properties": {"text": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}},
        "required": ["text"],
    },
}
TOOLS: tuple[Any, ...] = (ROLL_DICE, NOTE)


def events_of(
    pieces: Iterable[str], tools: Sequence[Any] | None = TOOLS, *, reasoning: bool = False, reason: str = "stop"
) -> list[Event]:
    numbers = count(1)
    parser = StreamParser(tools, reasoning, new_id=lambda: f"id{next(numbers)}")
    events = [event for piece in pieces for event in parser.feed(piece)]
    return merged(events + parser.finish(reason))


def parse(
    text: str, tools: Sequence[Any] | None = TOOLS, *, reasoning: bool = False, reason: str = "stop"
) -> list[Event]:
    """The events of a text, after making sure that they are the same for single characters and for any two parts."""
    whole = events_of([text], tools, reasoning=reasoning, reason=reason)
    assert raw(whole) == text
    assert events_of(text, tools, reasoning=reasoning, reason=reason) == whole
    for cut in range(1, len(text) if len(text) < 400 else 0):
        assert events_of([text[:cut], text[cut:]], tools, reasoning=reasoning, reason=reason) == whole, cut
    return whole


def raw(events: Iterable[Event]) -> str:
    return "".join(event.raw for event in events)


def message(
    text: str, tools: Sequence[Any] | None = TOOLS, *, reasoning: bool = False, reason: str = "stop"
) -> Message:
    return collect(parse(text, tools, reasoning=reasoning, reason=reason))


def calls(text: str, tools: Sequence[Any] | None = TOOLS, reason: str = "stop") -> list[tuple[str, Any, str | None]]:
    found = message(text, tools, reason=reason).tool_calls
    return [(call.name, json.loads(call.arguments), call.repaired) for call in found]


def call(name: str, arguments: str) -> str:
    return f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call>'


ROLL = call("roll_dice", '{"sides": 6}')
ROLLED = ("roll_dice", {"sides": 6}, None)


# ---- reasoning and content


@pytest.mark.parametrize(
    ("text", "reasoning", "expected"),
    [
        ("Hi there.", False, (None, "Hi there.")),
        ("thought\n</think>\n\nanswer", True, ("thought", "answer")),
        ("<think>\nthought\n</think>\n\nanswer", False, ("thought", "answer")),
        ("<think>\nthought\n</think>\n\nanswer", True, ("thought", "answer")),
        ("\n<think>thought</think>answer", False, ("thought", "answer")),
        ("\nthought\n\nmore\n\n</think>\n\n    code\n\nanswer\n", True, ("thought\n\nmore", "    code\n\nanswer\n")),
        ("<think>\n\n</think>\n\nanswer", False, (None, "answer")),
        ("never closed", True, ("never closed", None)),
        ("a < b <thin </thin", True, ("a < b <thin </thin", None)),
        ("What is <think>? And </think>?", False, (None, "What is <think>? And </think>?")),
        ("one</think>two</think>three", True, ("one\n\ntwo", "three")),
        ("a <think> in thoughts</think>b", True, ("a <think> in thoughts", "b")),
        ("", True, (None, None)),
        ("\n \n", False, (None, None)),
        ("a\r\n b", False, (None, "a\r\n b")),
        ("생각\n</think>\n\n대답", True, ("생각", "대답")),
    ],
)
def test_thoughts_and_answer(text: str, reasoning: bool, expected: tuple[str | None, str | None]) -> None:
    found = message(text, reasoning=reasoning)
    assert (found.reasoning_content, found.content) == expected
    assert (found.tool_calls, found.rejected, found.finish_reason) == ((), (), "stop")


def test_the_raw_text_has_the_tags_and_the_breaks() -> None:
    assert parse("\nwell\n</think>\n\nyes\n", reasoning=True) == [
        Reasoning("well", "\nwell\n</think>"),
        Content("yes\n", "\n\nyes\n"),
        Finish("stop"),
    ]
    assert parse("<think>\n\n</think>\n\n") == [Reasoning("", "<think>\n\n</think>"), Finish("stop", "\n\n")]


def test_only_what_may_change_its_meaning_is_held_back() -> None:
    parser = StreamParser(TOOLS)
    assert parser.feed("Hi ") == [Content("Hi ", "Hi ")]
    assert parser.feed("<tool") == []
    assert merged(parser.feed("ing> ")) == [Content("<tooling> ", "<tooling> ")]
    assert parser.feed("\n") == []
    assert parser.feed("x") == [Content("\nx", "\nx")]
    assert parser.feed("</tool_call>") != []


def test_a_finished_parser_takes_no_more() -> None:
    parser = StreamParser()
    parser.finish()
    with pytest.raises(RuntimeError, match="finished"):
        parser.feed("x")


# ---- calls


def test_a_call_is_streamed() -> None:
    parser = StreamParser(TOOLS, new_id=lambda: "id")
    assert parser.feed('<tool_call>{"name": "roll_dice", "arg') == []
    begun = '<tool_call>{"name": "roll_dice", "arguments": '
    assert parser.feed('uments": {"si') == [
        ToolCallBegin(0, "id", "roll_dice", begun),
        ToolCallArguments(0, "{", "{"),
        ToolCallArguments(0, '"si', '"si'),
    ]
    assert parser.feed('des": 6') == [ToolCallArguments(0, 'des": 6', 'des": 6')]
    assert parser.feed(" }") == [ToolCallArguments(0, " }", " }")]
    assert parser.feed("}</tool_call>") == [ToolCallEnd(0, None, "}</tool_call>")]
    assert parser.finish("stop") == [Finish("tool_calls")]


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (ROLL, None),
        (f"\n{ROLL}\n", None),
        (f"Rolling.\n{ROLL}", "Rolling."),
        (f"Rolling.\n\n{ROLL}\n\n", "Rolling."),
        (f"Rolling.\n \t{ROLL}", "Rolling."),
        (f"{ROLL} Rolled.", " Rolled."),
        (f"{ROLL}\nRolled.\n", "Rolled.\n"),
    ],
)
def test_text_around_a_call(text: str, content: str | None) -> None:
    found = message(text)
    assert (found.content, found.finish_reason) == (content, "tool_calls")
    assert calls(text) == [ROLLED]


@pytest.mark.parametrize("separator", ["", "\n", "\n\n", " ", " and "])
def test_several_calls(separator: str) -> None:
    second = call("note", '{"text": "a", "tags": []}')
    assert calls(ROLL + separator + second) == [ROLLED, ("note", {"text": "a", "tags": []}, None)]
    assert (message(ROLL + separator + second).content or "") == ("" if "\n" in separator else separator)


def test_each_call_has_its_index_and_id() -> None:
    begins = [event for event in parse(ROLL + "<tool_call>no</tool_call>" + ROLL) if isinstance(event, ToolCallBegin)]
    assert [(event.index, event.id) for event in begins] == [(0, "id1"), (1, "id2")]


def test_ids_look_like_openais_and_differ() -> None:
    ids = {new_call_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(i) == 29 and i.startswith("call_") and i[5:].isalnum() for i in ids)


def test_a_call_in_the_thoughts_is_a_thought() -> None:
    found = message(f"maybe {ROLL}\n</think>\n\n{ROLL}", reasoning=True)
    assert found.reasoning_content == f"maybe {ROLL}"
    assert len(found.tool_calls) == 1


@pytest.mark.parametrize(
    "tag", ["</tool_call>", "<tool_call>", "</tool_call>\\n<tool_call>{}", "<", "</tool_", "\\u003c"]
)
def test_a_tag_in_a_string_belongs_to_the_string(tag: str) -> None:
    arguments = f'{{"text": "a{tag}b", "tags": ["{tag}", "{tag}\\""]}}'
    assert calls(call("note", arguments) + ROLL) == [("note", json.loads(arguments), None), ROLLED]
    assert message(call("note", arguments)).tool_calls[0].arguments == arguments


def test_arguments_before_the_name_are_as_they_were_written() -> None:
    text = '<tool_call>{"arguments": { "sides" :6 }, "name": "roll_dice"}</tool_call>'
    (found,) = message(text).tool_calls
    assert (found.arguments, found.repaired) == ('{ "sides" :6 }', None)


def test_other_members_of_a_call_are_ignored() -> None:
    text = '<tool_call>{"id": [1, {"name": "x"}], "name": "roll_dice", "arguments": {"sides": 6}, "n": 1}</tool_call>'
    assert calls(text) == [ROLLED]


def test_without_tools_any_name_is_a_tools() -> None:
    assert calls(call("anything", "{}"), None) == [("anything", {}, None)]
    assert calls(call("anything", "{}"), ()) == []


def test_an_unknown_name_is_content_with_the_reason() -> None:
    text = call("rol_dice", '{"sides": 6}')
    assert parse(f"Well\n{text}\nso") == [
        Content("Well", "Well"),
        Content(f"\n{text}", f"\n{text}", "no tool is called 'rol_dice'"),
        Content("\nso", "\nso"),
        Finish("stop"),
    ]
    assert message(f"\n\n{text}").content == text


# ---- calls that are not closed, or go wrong on the way


@pytest.mark.parametrize(
    ("rest", "expected", "content"),
    [
        ("", [("roll_dice", {"sides": 6}, "missing_close_tag")], None),
        ("</tool_ca", [("roll_dice", {"sides": 6}, "missing_close_tag")], None),
        ("\nRolled!", [("roll_dice", {"sides": 6}, "missing_close_tag")], "Rolled!"),
        ("\nSix <", [("roll_dice", {"sides": 6}, "missing_close_tag")], "Six <"),
        ("\n6 < 7 </", [("roll_dice", {"sides": 6}, "missing_close_tag")], "6 < 7 </"),
        (f"\n{ROLL}", [("roll_dice", {"sides": 6}, "missing_close_tag"), ROLLED], None),
        (f"so {ROLL}", [("roll_dice", {"sides": 6}, "missing_close_tag"), ROLLED], "so "),
        ("}</tool_call>", [("roll_dice", {"sides": 6}, "extra_brackets")], None),
    ],
)
def test_a_call_without_its_closing_tag(rest: str, expected: list[Any], content: str | None) -> None:
    text = ROLL.removesuffix("</tool_call>") + rest
    assert calls(text) == expected
    assert message(text).content == content
    assert raw(parse(text)) == text


DUPLICATES = (
    '"name": "note", "name": "roll_dice", "arguments": {"text": "a"}',
    '"name": "note", "arguments": {"text": "a"}, "arguments": {"text": "b"}',
    '"name": "note", "arguments": {"text": "a"}, "n\\u0061me": "note"',
    '"id": 1, "id": 2, "name": "note", "arguments": {"text": "a"}',
    '"name": "note", "arguments": {"text": "/safe", "text": "/"}',
    '"arguments": {"text": "/safe", "text": "/"}, "name": "note"',
    '"name": "note", "arguments": {"text": "/safe", "t\\u0065xt": "/"}',
    '"name": "note", "arguments": {"text": "a", "other": [{"b": {"c": 1, "c": 1}}]}',
    '"name": "note", "arguments": "{\\"text\\": \\"a\\", \\"text\\": \\"b\\"}"',
)


@pytest.mark.parametrize("members", DUPLICATES)
def test_a_key_that_comes_twice_is_no_call(members: str) -> None:
    text = f"<tool_call>{{{members}}}</tool_call>"
    for tools in (TOOLS, None):
        found = message(text, tools)
        assert (found.content, found.tool_calls) == (text, ())
        assert len(found.rejected) == 1


def test_a_key_may_come_again_in_another_object() -> None:
    arguments = '{"text": "a", "b": {"text": 1}, "c": [{"text": 1}, {"text": 2}], "name": 1, "</tool_call>": {}}'
    assert calls(call("note", arguments)) == [("note", json.loads(arguments), None)]


@pytest.mark.parametrize("name", ["1" * 5000, "-1", "1e999", "null", "[1]", '{"a": 1}'])
@pytest.mark.parametrize("tools", [TOOLS, None])
def test_a_name_that_is_no_text_is_content(name: str, tools: Sequence[Any] | None) -> None:
    text = f'<tool_call>{{"name": {name}, "arguments": {{}}}}</tool_call>'
    found = collect(events_of([text], tools))
    assert (found.content, found.tool_calls) == (text, ())


def test_long_numbers_in_arguments_raise_nothing() -> None:
    for end in ("}}", "}", ', "text": "a"}, oops}'):
        text = f'<tool_call>{{"name": "note", "arguments": {{"n": {"1" * 5000}{end}</tool_call>'
        for tools in (TOOLS, None):
            assert raw(events_of([text], tools)) == text


def test_a_forgotten_quote_does_not_swallow_the_next_call() -> None:
    wrong = '<tool_call>{"name": "note", "arguments": {"text": "a}}</tool_call>'
    for separator in ("", "\n", " then "):
        found = message(wrong + separator + ROLL)
        assert len(found.tool_calls) == 1
        assert found.rejected[0].text == wrong
    assert message(wrong).content == wrong


@pytest.mark.parametrize(
    ("arguments", "value", "repaired"),
    [
        ('{"text": "a", "tags": ["b",],}', {"text": "a", "tags": ["b"]}, "trailing_commas"),
        ("{'text': 'a'}", {"text": "a"}, "python_literals"),
        ("{\"text\": 'a'}", {"text": "a"}, "python_literals"),
        ('{"text": "a\nb"}', {"text": "a\nb"}, "unescaped_controls"),
        ('{"text": "\\u00e9\\d"}', {"text": "é\\d"}, "wrong_escapes"),
        ('{"text": "a", tags: ["b"]}', {"text": "a", "tags": ["b"]}, "bare_keys"),
        ('{"text": "a\nb", "tags": ["b",]}', {"text": "a\nb", "tags": ["b"]}, "loose_json"),
    ],
)
def test_what_was_streamed_is_completed(arguments: str, value: Any, repaired: str) -> None:
    assert calls(call("note", arguments))[:1] == [("note", value, repaired)]
    assert calls(call("note", arguments) + ROLL)[-1] == ROLLED


def test_what_cannot_be_completed_failed_and_is_content() -> None:
    text = call("roll_dice", '{"sides": six}')
    events = parse(text + "\nso")
    assert events[-3] == ToolCallEnd(
        0, None, "six}}</tool_call>", "not JSON, nor any other form of a call that is known"
    )
    found = collect(events)
    assert found.content == text + "\nso"
    assert (found.tool_calls, found.finish_reason) == ((), "stop")
    assert found.rejected == (Rejected(text, "not JSON, nor any other form of a call that is known"),)


@pytest.mark.parametrize("cut", range(11, len(ROLL) - 1))
def test_a_call_that_the_limit_cut_off_is_not_guessed(cut: int) -> None:
    complete = cut >= len(ROLL) - len("}</tool_call>")
    found = message(ROLL[:cut], reason="length")
    assert len(found.tool_calls) == complete
    assert found.content == (None if complete else ROLL[:cut])
    assert found.finish_reason == "length"


def test_missing_brackets_are_closed_where_the_model_ended_by_itself() -> None:
    cut = '<tool_call>{"name": "roll_dice", "arguments": {"sides": 6'
    assert calls(cut) == calls(cut + "</tool_call>") == [("roll_dice", {"sides": 6}, "missing_brackets")]


# ---- transcripts and conversations


@pytest.mark.parametrize("talk", [*CONVERSATIONS.values(), *DICE], ids=lambda talk: talk.name)
def test_bundled_conversations(talk: Conversation) -> None:
    for turn in talk.turns():
        asked = talk.messages[len(turn.messages)]
        found = message(turn.completion, talk.tools or None, reasoning=talk.reasoning)
        assert found.content == asked["content"]
        assert found.reasoning_content == asked.get("reasoning_content")
        wanted = [c["function"] for c in asked.get("tool_calls", ())]
        assert [{"name": c.name, "arguments": c.arguments} for c in found.tool_calls] == wanted


def _tool(name: str, *parameters: str) -> dict[str, Any]:
    properties = {parameter: {"type": "string"} for parameter in parameters}
    return {"name": name, "parameters": {"type": "object", "properties": properties, "required": list(parameters)}}


KOSMOS = (
    _tool("resolve_location", "location"),
    _tool("kma_today", "location"),
    _tool("nmc_emergency_search", "query"),
    _tool("koroad_accident_hotspot_search", "location", "accident_type"),
)
HOTSPOTS = {"location": "어린이 보호구역", "accident_type": "사고 다발", "region": "전국"}


def transcript(name: str) -> Iterator[list[str]]:
    path: Path = SHARED / "transcripts" / f"{name}.json"
    if not path.is_file():
        pytest.skip("the transcripts are not at ../shared")
    for turn in json.loads(path.read_text("utf-8"))["turns"]:
        yield [chunk["delta"] for chunk in turn["chunks"]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("greeting", []),
        ("location", [("resolve_location", {"location": "강남역"}, None)]),
        ("emergency", [("nmc_emergency_search", {"query": "근처 응급실"}, "name_in_key")]),
        ("weather", [("kma_today", {"location": "서울"}, "attributes")]),
        ("koroad", [("koroad_accident_hotspot_search", HOTSPOTS, "arg_tags")]),
    ],
)
def test_transcripts(name: str, expected: list[Any]) -> None:
    for pieces in transcript(name):
        assert calls("".join(pieces), KOSMOS) == expected
        assert events_of(pieces, KOSMOS) == parse("".join(pieces), KOSMOS)


def test_a_transcript_whose_arguments_do_not_fit_is_content() -> None:
    closed = json.loads(json.dumps(KOSMOS[3]))
    closed["parameters"]["additionalProperties"] = False
    for pieces in transcript("koroad"):
        found = message("".join(pieces), [closed])
        assert found.content == "".join(pieces)
        assert found.rejected[0].reason == "koroad_accident_hotspot_search: region: unknown argument"


# ---- any text


PIECES = (
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_", "</", "<", "call>", "</tool_ca", "think>"),
    *(
        '{"name": ',
        '"roll_dice"',
        '"note"',
        ', "arguments": ',
        '"arguments"',
        '{"sides": 6}',
        '{"text": "',
        '"tags": [',
    ),
    *(
        "{",
        "}",
        "}}",
        "[",
        "]",
        ",",
        ":",
        '"',
        "'",
        "\\",
        "\\u00",
        "\\n",
        "6",
        "-1.5e",
        "true",
        "None",
        "```",
        "(",
        ")",
    ),
    *("\n", "\n\n", " ", "\r\n", "\t", "\0", "강남역", "é", "\ud83d", "😀", "Hi", "<arg_key>text</arg_key>"),
    *("<arg_value>", "</arg_value>", "roll_dice(sides=", ROLL, '{"name": "note", "arguments": {"text": "'),
)
TEXTS = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=25).map("".join)


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=TEXTS, cuts=st.lists(st.integers(0, 200), max_size=6), reasoning=st.booleans(), any_tool=st.booleans())
@example(text=ROLL + '<tool_call>{"</tool_call>"', cuts=[], reasoning=False, any_tool=False)
def test_any_text(text: str, cuts: list[int], reasoning: bool, any_tool: bool) -> None:
    tools = None if any_tool else TOOLS
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[start:end] for start, end in pairwise(borders)]
    for reason in ("stop", "length"):
        whole = events_of([text], tools, reasoning=reasoning, reason=reason)
        assert raw(whole) == text
        assert events_of(pieces, tools, reasoning=reasoning, reason=reason) == whole
        assert events_of(text, tools, reasoning=reasoning, reason=reason) == whole
        for found in collect(whole).tool_calls:
            assert isinstance(json.loads(found.arguments), dict)


# ---- the scanner below


VALUES_NOT_JSON = ("00", "01", "1.", "-", "1e", ".5", '"\\x"', '"\n"', "nul", "[1 2]", "[1,]", "{1: 2}", "}", "1}}")
NOT_JSON = [f'{{"a": {value}}}' for value in VALUES_NOT_JSON]


def _scans(text: str) -> bool:
    """Whether the scanner takes a text for an object, after making sure that it does so in pieces."""
    whole, single = JsonScanner(), JsonScanner()
    position = 0
    while position < len(text) and ((stop := whole.scan(text, position)) > position or whole.mark):
        position = stop
    taken = all(single.scan(char) or (single.mark and single.scan(char)) for char in text)
    assert taken == (position == len(text))
    assert not taken or single.place is whole.place
    return taken and whole.place is Place.DONE


@settings(max_examples=CASES, deadline=None)
@given(st.text(alphabet='{}[]":,\\ \nu0159ae-+.truefalsn', max_size=30).map(lambda text: f'{{"a":{text}}}'))
def test_the_scanner_takes_what_json_takes(text: str) -> None:
    assert _scans(text) == _is_object(text)


@pytest.mark.parametrize("text", NOT_JSON)
def test_the_scanner_refuses_what_json_refuses(text: str) -> None:
    assert not _is_object(text)
    assert not _scans(text)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, object_pairs_hook=_without_duplicates), dict)
    except ValueError:
        return False


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return found


# ---- time


MEGABYTE = 1_000_000
SIZE = MEGABYTE // 8
LONG = {
    "arguments": call("note", '{"text": "' + "가나 \\n" * (MEGABYTE // 5) + '"}'),
    "items": call("note", '{"tags": [' + '"a", ' * (SIZE // 5) + '"b"], "text": ""}'),
    "tags in a string": call("note", '{"text": "' + "</tool_call>" * (SIZE // 12) + '"}'),
    "blanks": "x" + "\n" * SIZE + "y",
    "blanks in a call": call("note", '{"text": "a",' + " " * SIZE + '"tags": []}'),
    "tags in keys": call("note", "{" + ", ".join(f'"</tool_call>{i}": {i}' for i in range(SIZE // 25)) + "}"),
    "a name": '<tool_call>{"name": "' + "a" * SIZE,
    "angles": "<" * SIZE,
    "openings": "<tool_call>" * (SIZE // 11),
    "strings not closed": '<tool_call>{"a": "</tool_call>' * (SIZE // 30),
    "brackets": "<tool_call>" + "[" * SIZE + "</tool_call>",
    "depth": '<tool_call>{"name": "note", "arguments": ' + '{"a":' * (SIZE // 5),
    "quotes": "<tool_call>{'a': '" + "\\'" * (SIZE // 2) + "</tool_call>",
    "arg_keys": "<tool_call>note\n" + "<arg_key>a</arg_key><arg_value>" * (SIZE // 30) + "</tool_call>",
    "digits": "<tool_call>roll_dice(" + "1" * SIZE + ")</tool_call>",
}


@pytest.mark.parametrize("name", LONG)
def test_long_texts_take_linear_time(name: str) -> None:
    """At most so many times what as many plain characters take, one by one; squared time would be hundreds."""
    text = LONG[name]
    start = time.process_time()
    events_of("x" * len(text))
    plain = time.process_time() - start
    for pieces in ([text], text):
        start = time.process_time()
        events = events_of(pieces)
        assert time.process_time() - start < 25 * plain
        assert raw(events) == text
