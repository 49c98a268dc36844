"""What a model's text means, piece by piece: reasoning, content, tool calls, the end.

Every event holds in ``raw`` the exact part of the text that it stands for, tags and blank lines included: the
``raw`` of all events put together is the text. This file knows no grammar; ``parser.py`` makes the events.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True)
class TopLogprob:
    """A token that might have come, with the natural logarithm of its probability.

    ``piece`` is what it is called. A control token is no part of a text, whatever it is called.
    """

    id: int
    piece: bytes
    logprob: float
    is_control: bool = field(default=False, kw_only=True)

    @property
    def text(self) -> bytes:
        """What it adds to a text."""
        if self.is_control:
            return b""
        return self.piece


@dataclass(frozen=True)
class Token(TopLogprob):
    """A token that came. ``top`` are the likeliest at its place, if they were asked for."""

    top: tuple[TopLogprob, ...] = ()


@dataclass(frozen=True)
class Usage:
    """Tokens of a request: of the prompt, of these already in the cache, and generated ones.

    ``prompt_seconds`` is the time to the first token, ``seconds`` that for the others. ``drafted_tokens`` were
    evaluated on a guess, and ``accepted_tokens`` of them were right; ``speedup`` is how many times as fast the answer
    came as without guesses, by the time that single tokens took in it. None where nothing was guessed.
    """

    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    reasoning_tokens: int
    prompt_seconds: float
    seconds: float
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    speedup: float | None = None

    @property
    def tokens_per_second(self) -> float:
        """The rate of generation."""
        if self.seconds > 0:
            return self.completion_tokens / self.seconds
        return 0.0


@dataclass(frozen=True)
class Reasoning:
    """A piece of the thoughts; its text is empty where it stands for a tag alone."""

    text: str
    raw: str = ""


@dataclass(frozen=True)
class Content:
    """A piece of the answer. ``reason`` is set where it is a tool call that could not be read: why not.

    ``tokens`` are those that begin in it, if logprobs were asked for.
    """

    text: str
    raw: str = ""
    reason: str | None = None
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Rethought:
    """The thoughts were closed once more: all content and all calls that came before this were thoughts too.

    ``text`` is that part of the answer as a thought: one more block of them. The calls in it must not be run.
    """

    text: str
    raw: str = ""


@dataclass(frozen=True)
class ToolCallBegin:
    """A tool call has begun: the name of an offered tool, and an id of ours."""

    index: int
    id: str
    name: str
    raw: str = ""


@dataclass(frozen=True)
class ToolCallArguments:
    """A piece of the JSON text of a call's arguments, as the model wrote it."""

    index: int
    text: str
    raw: str = ""


@dataclass(frozen=True)
class ToolCallEnd:
    """A tool call has ended. ``repaired`` names what was wrong and put right, if anything was.

    ``failed`` says why the call must not be run: its text went wrong after arguments had been streamed, and they
    could not be completed. ``collect`` turns such a call back into content.
    """

    index: int
    repaired: str | None = None
    raw: str = ""
    failed: str | None = None


@dataclass(frozen=True)
class Finish:
    """The end of the text: "stop", "length", "tool_calls", or what the caller of ``StreamParser.finish`` gave.

    ``usage`` is what the answer took, where a model made it.
    """

    reason: str
    raw: str = ""
    usage: Usage | None = field(default=None, compare=False, kw_only=True)


Event: TypeAlias = Reasoning | Content | Rethought | ToolCallBegin | ToolCallArguments | ToolCallEnd | Finish


@dataclass(frozen=True)
class ToolCall:
    """One whole call; ``arguments`` is JSON text."""

    id: str
    name: str
    arguments: str
    repaired: str | None = None


@dataclass(frozen=True)
class Rejected:
    """The text of a tool call that could not be read, as it also stands in the content, and why."""

    text: str
    reason: str


@dataclass(frozen=True)
class Message:
    """A whole answer. ``content`` and ``reasoning_content`` are None where the model wrote none."""

    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    rejected: tuple[Rejected, ...] = ()
    finish_reason: str | None = None


@dataclass
class _Unended:
    """A call whose end has not come: its beginning, and the texts that follow."""

    begin: ToolCallBegin
    raw: list[str]
    arguments: list[str] = field(default_factory=list)

    def call(self, repaired: str | None = None) -> ToolCall:
        return ToolCall(self.begin.id, self.begin.name, "".join(self.arguments), repaired)


class _Collector:
    """The state of ``collect``: what the events so far make of a message."""

    def __init__(self) -> None:
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.calls: list[ToolCall] = []
        self.rejected: list[Rejected] = []
        self.finish_reason: str | None = None
        self.unended: dict[int, _Unended] = {}

    def add(self, event: Event) -> None:
        match event:
            case Reasoning():
                self.reasoning.append(event.text)
            case Content():
                self._add_content(event.text, event.reason)
            case Rethought():
                self.reasoning = [with_block("".join(self.reasoning), event.text)]
                self.content, self.calls, self.rejected = [], [], []
                self.unended = {}
            case Finish():
                self.finish_reason = event.reason
            case ToolCallBegin():
                self.unended[event.index] = _Unended(event, [event.raw])
            case ToolCallArguments():
                self.unended[event.index].arguments.append(event.text)
                self.unended[event.index].raw.append(event.raw)
            case ToolCallEnd():
                self._end(event)

    def _add_content(self, text: str, reason: str | None) -> None:
        self.content.append(text)
        if reason is not None:
            self.rejected.append(Rejected(text, reason))

    def _end(self, end: ToolCallEnd) -> None:
        call = self.unended.pop(end.index)
        if end.failed is None:
            self.calls.append(call.call(end.repaired))
            return
        text = "".join((*call.raw, end.raw))
        if not any(self.content):
            text = text.lstrip("\r\n")
        self._add_content(text, end.failed)


def with_block(thoughts: str, block: str) -> str:
    """Thoughts with one more block of them, a blank line between."""
    return "\n\n".join(filter(None, (thoughts, block)))


def collect(events: Iterable[Event]) -> Message:
    """The message that the events tell. A call that failed stands in the content, whole, with its tags.

    Thoughts that were closed several times are all that came before the last closing tag.
    """
    collector = _Collector()
    for event in events:
        collector.add(event)
    return Message(
        content="".join(collector.content) or None,
        reasoning_content="".join(collector.reasoning) or None,
        tool_calls=(*collector.calls, *(each.call() for each in collector.unended.values())),
        rejected=tuple(collector.rejected),
        finish_reason=collector.finish_reason,
    )
