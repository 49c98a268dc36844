"""Thoughts that close more than once, or never: what is thought, what is said, what is called, and who knows of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.runtime.answer.parser import StreamParser
from exaone4_gguf.runtime.events import Content, Event, Reasoning, Rethought, ToolCallBegin, collect
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.generate.steering import ReasoningMinimum, ThoughtTracker
from exaone4_gguf.runtime.llama.model import Model
from exaone4_gguf.runtime.text import Utf8Decoder
from tests.checkpoints import full_config, write_checkpoint
from tests.conftest import SHARED
from tests.dictation import dictating
from tests.events import merged
from tests.runtime.answer.test_parser import CASES, ROLL, TOOLS, call, events_of, message, parse, raw

ANSWERS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "thoughtful_answers.json").read_text("utf-8"))
CLOSE = "</think>"


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer["name"])
def test_answers(answer: dict[str, Any]) -> None:
    """However they are cut; ``parse`` looks at all cuts in two, and at single characters."""
    found = message(answer["text"], reasoning=answer.get("reasoning", True), reason=answer.get("reason", "stop"))
    assert found.reasoning_content == answer["reasoning_content"]
    assert found.content == answer["content"]
    assert [[c.name, json.loads(c.arguments)] for c in found.tool_calls] == answer["tool_calls"]
    assert found.finish_reason == answer["finish_reason"]


def test_the_events_of_a_second_block() -> None:
    assert parse(f"one\n</think>\n\ntwo {ROLL}\n</think>\n</think>\n\nthree", reasoning=True) == [
        Reasoning("one", "one\n</think>"),
        Content("two ", "\n\ntwo "),
        *events_of([ROLL])[:-1],
        Rethought(f"two {ROLL}", "\n</think>"),
        Reasoning("", "\n</think>"),
        Content("three", "\n\nthree"),
        *events_of([]),
    ]


def test_calls_keep_counting_after_one_that_was_thought() -> None:
    text = f"a</think>{ROLL}</think>{ROLL}"
    begins = [event for event in parse(text, reasoning=True) if isinstance(event, ToolCallBegin)]
    assert [(event.index, event.id) for event in begins] == [(0, "id1"), (1, "id2")]
    assert [found.id for found in message(text, reasoning=True).tool_calls] == ["id2"]


def test_what_could_not_be_read_is_no_failure_in_thoughts() -> None:
    text = "a</think><tool_call>no</tool_call>"
    assert len(message(text, reasoning=True).rejected) == 1
    assert message(f"{text}</think>b", reasoning=True).rejected == ()


def test_thoughts_are_told_as_they_come_but_for_a_possible_call() -> None:
    parser = StreamParser(TOOLS, True)
    for piece in ("Let me see. ", "I could use ", "<", "tool_call> or ", "<tool_call>no ", "more. ", "\n\nSo"):
        told = parser.feed(piece)
        assert bool(told) is (piece != "<"), piece
    assert parser.feed(ROLL) == []
    assert raw(parser.feed(" was quoted.")) == f"{ROLL} was quoted."


def test_without_tools_no_thought_is_held_back() -> None:
    parser = StreamParser((), True)
    assert raw(parser.feed(f"a {ROLL}")) == f"a {ROLL}"
    assert message(f"a {ROLL}", (), reasoning=True).reasoning_content == f"a {ROLL}"


def test_a_call_in_open_thoughts_is_told_at_the_end() -> None:
    parser = StreamParser(TOOLS, True, new_id=lambda: "id1")
    events = parser.feed(f"Roll.\n{ROLL}\n")
    assert [type(event) for event in events] == [Reasoning]
    assert merged(parser.finish()) == events_of([f"\n{ROLL}\n"])


def test_a_grammar_knows_where_the_answer_is() -> None:
    """Thoughts close once then: the tag in a string of the JSON is the user's."""
    parser = StreamParser(TOOLS, True, closes_once=True)
    text = 'plan\n</think>\n\n{"tag": "</think>"}'
    events = [event for char in text for event in parser.feed(char)] + parser.finish()
    assert collect(events).content == '{"tag": "</think>"}'
    assert raw(events) == text


PIECES = (
    *("<think>", CLOSE, CLOSE, "<tool_call>", "</tool_call>", "</", "<", "think>", "</th", "\n", "\n\n", " ", "\t"),
    *("word", "강남역", "¿sí?", "```", ROLL, ROLL, call("note", '{"text": "a</think>b"}'), call("note", "{}")),
    *(call("other", '{"a": "</think>"}'), call("note", '{"text": "</think>", "tags": ?}'), "<tool_call>no</tool_call>"),
    *('{"name": "note", "arguments": {"text": "', '"}}', '"', "\\", "}", '", "tags": [', "]", '<tool_call>{"a": "'),
)
TEXTS = st.lists(st.sampled_from(PIECES), max_size=16).map("".join)


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=TEXTS, cuts=st.lists(st.integers(0, 120), max_size=6))
@example(text=f'a</think><tool_call>{{"</think>": 1, "name": "note", "arguments": {{"text": ?{ROLL}', cuts=[])
def test_no_closing_tag_is_content(text: str, cuts: list[int]) -> None:
    """In no event, and nothing is lost: what is thought, said and called is the text without its blanks and tags."""
    borders = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for reason in ("stop", "length"):
        whole = events_of([text], reasoning=True, reason=reason)
        assert raw(whole) == text
        assert events_of([text[a:b] for a, b in pairwise(borders)], reasoning=True, reason=reason) == whole
        assert events_of(text, reasoning=True, reason=reason) == whole
        assert not [event for event in whole if isinstance(event, Content) and CLOSE in event.text]
        found = collect(whole)
        assert not found.rejected or CLOSE not in found.rejected[0].text
        if Rethought in map(type, whole):
            thought = OPENED.sub("", raw(up_to_last(whole)))
            assert condensed(found.reasoning_content or "") == condensed(thought)


OPENED = re.compile(r"\A(?:(?:[\r\n]\s*)?<think>)+")


def up_to_last(events: list[Event]) -> list[Event]:
    """What came before thoughts were closed for the last time with something said."""
    return events[: max(i for i, event in enumerate(events) if isinstance(event, Rethought))]


def condensed(text: str) -> str:
    """Without blanks, and without the tags that stand in no thought."""
    return "".join(text.split()).replace(CLOSE, "")


# ---- the tokens


@pytest.fixture(scope="module")
def vocabulary(demo_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """With the published tokenizer where it is at hand, else with the bundled one."""
    published, file = SHARED / "exaone-4.0-1.2b", demo_gguf
    if published.is_dir():
        folder = write_checkpoint(tmp_path_factory.mktemp("published"), full_config() | {"vocab_size": 102400})
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            (folder / name).write_bytes((published / name).read_bytes())
        file = convert(folder, folder / "published.gguf").paths[0]
    model = Model(file, vocab_only=True)
    yield model
    model.close()


WORDS = (*("<think>", CLOSE, CLOSE, "<", "</", "think", "think>", ">", "k>", "\n", "\n\n", " "), "one", "강남역", "😀")


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), opened=st.booleans())
def test_tokens_and_text_agree_on_what_is_thought(vocabulary: Model, data: st.DataObject, opened: bool) -> None:
    """Whatever the tokens are that tags are made of. The reference looks for the last tag in the whole text."""
    written = data.draw(st.lists(st.sampled_from(WORDS) | st.integers(0, vocabulary.n_vocab - 1), max_size=20))
    tokens = [i for w in written for i in ([w] if isinstance(w, int) else vocabulary.tokenize(w))]
    tracker = ThoughtTracker(vocabulary.tokenize, vocabulary.text, StreamParser((), opened))
    parser, decoder = StreamParser((), opened), Utf8Decoder()
    text, lengths = "", []
    for token in tokens:
        tracker.see(token)
        piece = decoder.decode(vocabulary.text(token))
        parser.feed(piece)
        text += piece
        lengths.append(len(text))
        assert tracker.thinking is parser.thinking is is_open(text, opened)
        assert tracker.count == sum(1 for n in [0, *lengths[:-1]] if n < thought_up_to(text, opened)) or not piece


def is_open(text: str, opened: bool) -> bool:
    return CLOSE not in text and (opened or text.lstrip("\r\n").startswith("<think>"))


def thought_up_to(text: str, opened: bool) -> int:
    """Where thoughts end, as far as it is known."""
    if not (opened or text.lstrip("\r\n").startswith("<think>")):
        return 0
    return text.rfind(CLOSE) + len(CLOSE) if CLOSE in text else len(text)


# ---- the whole runtime, told what to say

QUESTION = [{"role": "user", "content": "Hello!"}]


@pytest.mark.parametrize("answer", ANSWERS[::3], ids=lambda answer: answer["name"])
def test_replies(talker: Exaone4, answer: dict[str, Any]) -> None:
    cut_off = answer.get("reason") == "length"
    limit = len(talker.model.tokenize(answer["text"])) if cut_off else None
    with dictating(answer["text"]):
        reply = talker.chat(QUESTION, TOOLS, reasoning=answer.get("reasoning", True), max_tokens=limit)
    assert (reply.reasoning_content, reply.content) == (answer["reasoning_content"], answer["content"])
    assert [found.name for found in reply.tool_calls] == [name for name, _ in answer["tool_calls"]]
    assert reply.finish_reason == answer["finish_reason"]


def test_tokens_of_thought_are_those_up_to_the_last_tag(talker: Exaone4) -> None:
    before, after = "one\n</think>\n\ntwo\n</think>", "\n\nthree"
    with dictating(before + after):
        usage = talker.chat(QUESTION, reasoning=True).usage
    assert usage.reasoning_tokens == len(talker.model.tokenize(before))
    assert usage.completion_tokens == len(talker.model.tokenize(before + after)) + 1


def test_tokens_of_content_are_told_with_it(talker: Exaone4) -> None:
    with dictating("one\n</think>\n\ntwo\n</think>\n\nthree"):
        events = list(talker.stream(QUESTION, reasoning=True, logprobs=0))
    told = [
        (event.text, b"".join(t.text for t in event.tokens)) for event in merged(events) if isinstance(event, Content)
    ]
    assert told == [("two", b"\n\ntwo"), ("three", b"\n\nthree")]


def test_a_stop_string_is_looked_for_in_what_comes_as_content(talker: Exaone4) -> None:
    with dictating("one STOP\n</think>\n\ntwo\n</think>\n\nthree STOP four"):
        reply = talker.chat(QUESTION, reasoning=True, stop="STOP")
    assert (reply.reasoning_content, reply.content) == ("one STOP\n\ntwo", "three ")


def test_json_after_thoughts_may_hold_the_tag(talker: Exaone4) -> None:
    form = {"type": "json_schema", "json_schema": {"schema": {"const": "a</think>b"}}}
    with dictating("plan\n</think>"):
        reply = talker.chat(QUESTION, reasoning=True, response_format=form, max_tokens=60)
    assert (reply.reasoning_content, reply.content) == ("plan", '"a</think>b"')


def test_what_a_budget_closed_stays_closed(talker: Exaone4) -> None:
    with dictating("One. Two. Three.\n</think>\n\nFour."):
        reply = talker.chat(QUESTION, reasoning=True, reasoning_budget=1, max_tokens=40)
    assert reply.reasoning_content == "One."
    assert CLOSE not in (reply.content or "")


@pytest.mark.parametrize(("budget", "reasoning"), [(6, "One."), (60, "One.\n\nTwo. Three. Four.")])
def test_thoughts_do_not_go_on_beyond_a_budget(talker: Exaone4, budget: int, reasoning: str) -> None:
    """Where the model closes them itself: a tag that comes when the budget is spent would make all of it thoughts."""
    with dictating("One.\n</think>\n\nTwo. Three. Four.\n</think>\n\nFive."):
        reply = talker.chat(QUESTION, reasoning=True, reasoning_budget=budget, max_tokens=60)
    assert reply.reasoning_content == reasoning
    assert reply.usage.reasoning_tokens <= budget
    assert CLOSE not in (reply.content or "")


def test_a_budget_leaves_the_tag_where_nothing_was_thought(talker: Exaone4) -> None:
    text = "The tag </think> ends thoughts; it may be named."
    with dictating(text):
        reply = talker.chat(QUESTION, reasoning_budget=3)
    assert (reply.content, reply.usage.reasoning_tokens) == (text, 0)


def test_a_minimum_withholds_the_tag_however_it_is_written(talker: Exaone4) -> None:
    tokenize, text = talker.model.tokenize, talker.model.text
    tracker = ThoughtTracker(tokenize, text, StreamParser((), True))
    minimum = ReasoningMinimum(tracker, 50, tokenize, talker.model.end_tokens)
    spelled = [i for char in CLOSE for i in tokenize(char)]
    assert b"".join(map(text, spelled)) == CLOSE.encode()
    for token in spelled[:-1]:
        assert minimum.replace(token) is None
        tracker.see(token)
    assert minimum.replace(spelled[-1]) == tokenize("Wait")
