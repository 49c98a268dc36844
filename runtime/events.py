"""What a model's text means, piece by piece: reasoning, content, tool calls, the end.

Every event holds in ``raw`` the exact part of the text that it stands for, tags and blank lines included: the
``raw`` of all events put together is the text. This file knows no grammar; ``parser.py`` makes the events.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TypeAlias, cast


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
        return b"" if self.is_control else self.piece


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
        return self.completion_tokens / self.seconds if self.seconds > 0 else 0.0


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
_Text: TypeAlias = Reasoning | Content | ToolCallArguments


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


def merged(events: Iterable[Event]) -> list[Event]:
    """The events with adjacent pieces of one kind joined: the same list, however the text was cut."""
    result: list[Event] = []
    for kind, group in groupby(events, key=_kind):
        same = list(group)
        result += same if kind is None else [_joined(cast("list[_Text]", same))]
    return result


def _kind(event: Event) -> tuple[type[Event], int] | None:
    """What must be equal for two pieces to be joined; None for an event that stands alone."""
    if isinstance(event, ToolCallArguments):
        return ToolCallArguments, event.index
    if isinstance(event, Reasoning) or (isinstance(event, Content) and event.reason is None):
        return type(event), 0
    return None


def _joined(pieces: Sequence[_Text]) -> _Text:
    joined = replace(pieces[0], text="".join(p.text for p in pieces), raw="".join(p.raw for p in pieces))
    if isinstance(joined, Content):
        return replace(joined, tokens=tuple(t for p in pieces if isinstance(p, Content) for t in p.tokens))
    return joined


@dataclass
class _Draft:
    """A call of which not all events have been seen."""

    begin: ToolCallBegin
    raw: list[str]
    arguments: list[str] = field(default_factory=list)

    def call(self, repaired: str | None) -> ToolCall:
        return ToolCall(self.begin.id, self.begin.name, "".join(self.arguments), repaired)


class _Collector:
    """Puts events together to a message."""

    def __init__(self) -> None:
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.calls: list[ToolCall] = []
        self.rejected: list[Rejected] = []
        self.finish_reason: str | None = None
        self._drafts: dict[int, _Draft] = {}

    def add(self, event: Event) -> None:
        match event:
            case Reasoning():
                self.reasoning.append(event.text)
            case Content():
                self._add_content(event)
            case Rethought():
                self._rethink(event.text)
            case Finish():
                self.finish_reason = event.reason
            case _:
                self._add_call(event)

    def _rethink(self, text: str) -> None:
        self.reasoning = [with_block("".join(self.reasoning), text)]
        self.content, self.calls, self.rejected = [], [], []
        self._drafts = {}

    def _add_content(self, event: Content) -> None:
        self.content.append(event.text)
        if event.reason is not None:
            self.rejected.append(Rejected(event.text, event.reason))

    def _add_call(self, event: ToolCallBegin | ToolCallArguments | ToolCallEnd) -> None:
        if isinstance(event, ToolCallBegin):
            self._drafts[event.index] = _Draft(event, [event.raw])
            return
        draft = self._drafts[event.index]
        draft.raw.append(event.raw)
        if isinstance(event, ToolCallArguments):
            draft.arguments.append(event.text)
        else:
            self._end(self._drafts.pop(event.index), event)

    def _end(self, draft: _Draft, end: ToolCallEnd) -> None:
        if end.failed is None:
            self.calls.append(draft.call(end.repaired))
        else:
            text = "".join(draft.raw)
            self._add_content(Content(text if any(self.content) else text.lstrip("\r\n"), reason=end.failed))

    def unended(self) -> Iterator[ToolCall]:
        """Calls whose end has not come, as they stand."""
        return (draft.call(None) for draft in self._drafts.values())


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
        tool_calls=(*collector.calls, *collector.unended()),
        rejected=tuple(collector.rejected),
        finish_reason=collector.finish_reason,
    )
