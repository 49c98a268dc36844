"""A turn: answers, rounds of calls, their limit, and Ctrl-C."""

from __future__ import annotations

import json
import signal
from collections.abc import Generator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from exaone4_gguf.demo.conversations import ROLL_DICE
from exaone4_gguf.errors import ContextOverflow, RuntimeFailure
from exaone4_gguf.runtime.chat.answer_stream import AnswerStream
from exaone4_gguf.runtime.events import Content, Event, Finish, ToolCall
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.terminal.turn import OUT_OF_ROUNDS, run_tools, run_turn
from exaone4_gguf.runtime.tools.tool import Tool, as_tool
from exaone4_gguf.runtime.tools.toolbox import Toolbox
from tests.scripted import Scripted, calls, roll_dice, says

HELLO = [{"role": "user", "content": "Hello!"}]


class _Recorder:
    """A view that keeps what it sees, and does something at the first event."""

    def __init__(self, at_first: Any = None) -> None:
        self.seen: list[str] = []
        self._at_first = at_first

    def event(self, event: Event) -> None:
        self.seen.append(type(event).__name__)
        if self._at_first and len(self.seen) == 1:
            self._at_first()

    def answered(self) -> None:
        self.seen.append("answered")

    def called(self, call: ToolCall, result: str) -> None:
        self.seen.append(f"{call.name} {result}")


def dice(*faces: int) -> Tool:
    """The demo's tool, which rolls these."""
    rolled = iter(faces)
    described = as_tool(ROLL_DICE)
    return replace(described, function=lambda sides: next(rolled))


@pytest.mark.parametrize("faces", [(3, 5), (6, 6), (1, 2)])
def test_the_demo_model_rolls_dice(talker: Exaone4, faces: tuple[int, int]) -> None:
    asked = [{"role": "user", "content": "Roll D6 twice!"}]
    turn = run_turn(talker, asked, Toolbox([dice(*faces)]), preset="greedy")
    assert turn.content == f"You rolled {faces[0]} and {faces[1]}, {sum(faces)} in total."
    assert [m["role"] for m in turn.messages] == ["assistant", "tool", "tool", "assistant"]
    assert len(turn.usages) == 2
    assert turn.usages[1].cached_tokens > 0


def test_an_answer_is_one_message() -> None:
    model, view = Scripted(says("Hi there")), _Recorder()
    turn = run_turn(model.as_model(), HELLO, view=view, reasoning=True, temperature=0.0)
    assert turn.messages == [{"role": "assistant", "content": "Hi there "}]
    assert (turn.content, turn.finish_reason, len(turn.usages)) == ("Hi there ", "stop", 1)
    assert view.seen == ["Content", "Content", "Finish", "answered"]
    assert model.options == [{"reasoning": True, "temperature": 0.0}]


def test_results_are_handed_back() -> None:
    model, view = Scripted(calls('{"sides": 6}', '{"sides": 8}'), says("done")), _Recorder()
    turn = run_turn(model.as_model(), HELLO, Toolbox([roll_dice]), view=view)
    assert model.asked[1] == HELLO + turn.messages[:3]
    assert [m.get("content") for m in turn.messages] == [None, "5", "7", "done "]
    assert [m.get("tool_call_id") for m in turn.messages] == [None, "call_0", "call_1", None]
    assert view.seen[-5:] == ["roll_dice 5", "roll_dice 7", "Content", "Finish", "answered"]


def test_rounds_are_limited_and_every_call_has_a_result() -> None:
    model = Scripted(*[calls('{"sides": 6}')] * 3)
    turn = run_turn(model.as_model(), HELLO, Toolbox([roll_dice]), max_rounds=2)
    assert turn.finish_reason == OUT_OF_ROUNDS
    assert [m["content"] for m in turn.messages[1::2]][:2] == ["5", "5"]
    assert "limit of 2 rounds" in turn.messages[-1]["content"]


def test_an_error_passes_through_and_the_view_is_told() -> None:
    view = _Recorder()
    model = Scripted([ContextOverflow(5000, 1000)], [Content("a"), RuntimeFailure("out of order")])
    with pytest.raises(ContextOverflow):
        run_turn(model.as_model(), HELLO, view=view)
    with pytest.raises(RuntimeFailure, match="out of order"):
        run_turn(model.as_model(), HELLO, view=view)
    assert view.seen == ["answered", "Content", "answered"]


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said() -> None:
    model, before = Scripted(says("one two three")), signal.getsignal(signal.SIGINT)
    turn = run_turn(model.as_model(), HELLO, view=_Recorder(press_ctrl_c))
    assert (turn.content, turn.finish_reason) == ("one ", "cancelled")
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_in_a_call_means_that_nothing_is_called() -> None:
    turn = run_turn(
        Scripted(calls('{"sides": 6}')).as_model(), HELLO, Toolbox([roll_dice]), view=_Recorder(press_ctrl_c)
    )
    assert turn.messages == [{"role": "assistant", "content": None}]
    assert turn.finish_reason == "cancelled"


def test_ctrl_c_before_the_first_token_says_nothing() -> None:
    model = Scripted()
    answer = AnswerStream(lambda making: iter_of(Finish("cancelled")))
    model.stream = lambda *args, **options: answer  # type: ignore[method-assign]
    turn = run_turn(model.as_model(), HELLO)
    assert (turn.messages, turn.usages, turn.content, turn.finish_reason) == ([], [], "", "cancelled")


def iter_of(*events: Event) -> Generator[Event]:
    yield from events


def test_ctrl_c_in_a_tool_gives_every_call_a_result() -> None:
    def permit(tool: Tool, arguments: Mapping[str, Any]) -> str | None:
        raise KeyboardInterrupt

    model = Scripted(calls('{"sides": 6}', '{"sides": 6}'))
    turn = run_turn(model.as_model(), HELLO, Toolbox([roll_dice], permit))
    assert turn.finish_reason == "cancelled"
    results = [json.loads(m["content"]) for m in turn.messages[1:]]
    assert results == [{"error": "not run to its end: the user interrupted it"}] * 2


def test_a_script_runs_tools_without_a_terminal() -> None:
    model, view = Scripted(calls('{"sides": 6}'), says("done")), _Recorder()
    turn = run_tools(model.as_model(), HELLO, [roll_dice], view=view, temperature=0.0)
    assert (turn.content, turn.interrupted) == ("done ", False)
    assert "roll_dice 5" in view.seen
    assert model.options == [{"temperature": 0.0}] * 2
    refused = run_tools(
        Scripted(calls('{"sides": 6}'), says("ok")).as_model(), HELLO, [roll_dice], permit=lambda tool, arguments: "no"
    )
    assert json.loads(refused.messages[1]["content"]) == {"error": "no"}


def test_ctrl_c_is_raised_in_a_script() -> None:
    """In an answer, and in a tool; a cancellation by another thread is none."""
    for answer, view in ((says("one two"), _Recorder(press_ctrl_c)), (calls('{"sides": 6}'), _Recorder())):

        def interrupted(sides: int) -> int:
            raise KeyboardInterrupt

        interrupted.__name__ = "roll_dice"
        with pytest.raises(KeyboardInterrupt):
            run_tools(Scripted(answer).as_model(), HELLO, [interrupted], view=view)
    cancelled = Scripted([Content("one"), Finish("cancelled")])
    assert run_tools(cancelled.as_model(), HELLO).finish_reason == "cancelled"
