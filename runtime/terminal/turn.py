"""One turn of a conversation: the model answers, its tool calls are run, it goes on, until it calls no more.

Whoever shows it gives a ``View``; nothing here prints.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Unpack

from exaone4_gguf.runtime.answer.reply import Reply
from exaone4_gguf.runtime.chat.chat_model import ChatModel
from exaone4_gguf.runtime.events import Event, Finish, Message, ToolCall, Usage, collect
from exaone4_gguf.runtime.generate.request import ChatOptions
from exaone4_gguf.runtime.llama.interrupts import Interruption, raising_once, stopping
from exaone4_gguf.runtime.tools.toolbox import Permit, Toolbox, allow, failure

MAX_ROUNDS = 8
"""Rounds of tool calls in a turn, unless told otherwise."""

OUT_OF_ROUNDS = "rounds"
"""The finish reason where the model called tools once more than it may; these calls were not run."""

_LIMIT = "not run: the limit of {} rounds of tool calls is reached"
_INTERRUPTED = "not run to its end: the user interrupted it"


class View(Protocol):
    """Sees a turn as it comes."""

    def event(self, event: Event) -> None:
        """The next event of an answer."""

    def answered(self) -> None:
        """The answer has ended, be it by an exception. Its calls, if any, are run next."""

    def called(self, call: ToolCall, result: str) -> None:
        """A call was run, or refused; the result is what the model is told."""


@dataclass
class Turn:
    """What a turn added to the conversation, in OpenAI's form, and what each of its answers took.

    ``finish_reason`` is that of the last answer (stop, length, cancelled), or ``OUT_OF_ROUNDS``; ``interrupted`` says
    that it was cancelled by Ctrl-C.
    """

    messages: list[dict[str, Any]] = field(default_factory=list)
    usages: list[Usage] = field(default_factory=list)
    finish_reason: str = "stop"
    interrupted: bool = False

    @property
    def content(self) -> str:
        """The text of the last answer; empty where there is none."""
        if self.messages:
            return self.messages[-1]["content"] or ""
        return ""


def run_tools(
    model: ChatModel,
    messages: Sequence[Any],
    tools: Iterable[Any] = (),
    *,
    permit: Permit = allow,
    view: View | None = None,
    max_rounds: int = MAX_ROUNDS,
    **options: Unpack[ChatOptions],
) -> Turn:
    """Answer, run the tools that the model calls, and go on with their results until it calls no more.

    Args:
        tools: functions; a tool that is only described cannot be run, and the model is told so.
        permit: asked before each call; None lets it run, a text is the reason why not, which the model is told.
        view: sees the events of the answers and the results of the calls as they come.
        max_rounds: the most rounds of calls; after them ``finish_reason`` is "rounds".
        options: of each answer, as ``Exaone4.chat`` takes them.

    Returns:
        The messages to be added to the conversation, and the text of the last answer (``content``).

    Raises:
        Exaone4Error: a message, a tool or an option is wrong, or the conversation does not fit the context. What goes
            wrong in a tool is told to the model.
        KeyboardInterrupt: Ctrl-C.
    """
    turn = run_turn(model, messages, Toolbox(tools, permit), view=view, max_rounds=max_rounds, **options)
    if turn.interrupted:
        raise KeyboardInterrupt
    return turn


def run_turn(
    model: ChatModel,
    messages: Sequence[Any],
    toolbox: Toolbox | None = None,
    *,
    view: View | None = None,
    max_rounds: int = MAX_ROUNDS,
    **options: Unpack[ChatOptions],
) -> Turn:
    """``run_tools`` for a terminal, which goes on after Ctrl-C: the turn is then what was said so far.

    Ctrl-C stops it, if this is the main thread: what was said so far is in the turn, which is "cancelled".

    Raises:
        Exaone4Error: a message or an option is wrong, or the conversation does not fit the context.
    """
    toolbox, view, turn = toolbox or Toolbox(), view or _Nobody(), Turn()
    for n_rounds in range(max_rounds + 1):
        said = _answer(model, [*messages, *turn.messages], toolbox, view, options, turn)
        if not said.tool_calls:
            turn.finish_reason = said.finish_reason or "stop"
            break
        refusal = None if n_rounds < max_rounds else failure(_LIMIT.format(max_rounds))
        if not _run_calls(said.tool_calls, toolbox, view, turn, refusal):
            turn.finish_reason, turn.interrupted = "cancelled", True
            break
    else:
        turn.finish_reason = OUT_OF_ROUNDS
    return turn


class _Nobody:
    """A view that looks away."""

    def event(self, event: Event) -> None:
        pass

    def answered(self) -> None:
        pass

    def called(self, call: ToolCall, result: str) -> None:
        pass


def _answer(
    model: ChatModel, messages: Sequence[Any], toolbox: Toolbox, view: View, options: ChatOptions, turn: Turn
) -> Message:
    """One answer, which is added to the turn; a cancelled one calls nothing, and may have said nothing."""
    try:
        with stopping() as interruption, model.stream(messages, toolbox.tools, **options) as answer:
            interruption.stop = answer.cancel
            if interruption.seen:
                answer.cancel()
            message = collect(_seen(answer, view, interruption, turn))
    finally:
        view.answered()
    if message.finish_reason == "cancelled":
        message = replace(message, tool_calls=())
        if not answer.usage.completion_tokens:
            return message
    turn.usages.append(answer.usage)
    turn.messages.append(Reply(message, answer.usage).to_openai())
    return message


def _seen(answer: Iterable[Event], view: View, interruption: Interruption, turn: Turn) -> Iterator[Event]:
    """The events, shown as they come, up to an interruption."""
    for event in answer:
        view.event(event)
        yield event
        if interruption.seen:
            turn.interrupted = True
            yield Finish("cancelled")
            return


def _run_calls(calls: Sequence[ToolCall], toolbox: Toolbox, view: View, turn: Turn, refusal: str | None) -> bool:
    """Run the calls, or give them all the refusal. Each gets a result, or templates would fail; False: Ctrl-C."""
    interrupted = False
    for call in calls:
        try:
            with raising_once():
                result = failure(_INTERRUPTED) if interrupted else refusal or toolbox.run(call)
        except KeyboardInterrupt:
            interrupted, result = True, failure(_INTERRUPTED)
        view.called(call, result)
        turn.messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
    return not interrupted
