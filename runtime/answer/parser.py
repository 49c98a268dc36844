"""The text of a model, as it comes, to typed events: reasoning, content, tool calls.

    text      = [reasoning] answer
    reasoning = ["<think>"] thoughts "</think>" (answer "</think>")*
                                                    the opening tag is the prompt's or the model's, the closing one
                                                    may never come, or come again: then the answer up to it was thought
    answer    = (content | "<tool_call>" call "</tool_call>")*

Tags count where the grammar has them and are plain text elsewhere: a call in the thoughts is a thought, and
``<think>`` in the middle of an answer is content. But where thoughts never close, and the text ends with calls, they
are calls: see ``possible_calls.py``. Line breaks next to a tag are in an event's ``raw`` and not in its text. Held back
is only what may still change its meaning: the beginning of a tag, blanks that a tag may follow, such calls in thoughts,
and in a call what ``call_reader.py`` names.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from typing import Any

from exaone4_gguf.format.tags import CALL, END_CALL, END_THINK, THINK, tag_at
from exaone4_gguf.runtime.answer.call_reader import CallReader
from exaone4_gguf.runtime.answer.possible_calls import BLANKS, PossibleCalls
from exaone4_gguf.runtime.events import Content, Event, Finish, Reasoning, Rethought
from exaone4_gguf.runtime.tools.tool import as_tools

# Text is read in chunks, so that taking the rest of it costs little.
_CHUNK = 1 << 16

_WORDS = re.compile(r"[^<\r\n]+")
_LINE_BREAKS = re.compile(r"[\r\n][ \t\r\n]*")
_MORE_BLANKS = re.compile(r"[ \t\r\n]+")
_BREAKS_BEFORE = re.compile(r"^[ \t\r\n]*[\r\n]")


class State(Enum):
    """Where in the grammar the text is."""

    START = auto()
    """Before anything was written: thoughts may be opened."""
    THOUGHTS_START = auto()
    """Thoughts were opened: a second opening tag means nothing."""
    THOUGHTS = auto()
    POSSIBLE_CALLS = auto()
    """In thoughts, calls that the text may end with; held back."""
    ANSWER = auto()
    """For good: no thoughts were opened, or they close only once."""
    AFTER_THOUGHTS_START = auto()
    """Thoughts were closed: a second closing tag means nothing."""
    AFTER_THOUGHTS = auto()
    """An answer, if thoughts are not closed once more."""
    CALL = auto()
    CALL_AFTER_THOUGHTS = auto()
    """A call, if thoughts are not closed once more."""
    FINISHED = auto()


_THINKING = (State.THOUGHTS_START, State.THOUGHTS, State.POSSIBLE_CALLS)

_TAGS: dict[State, tuple[str, ...]] = {
    State.START: (THINK, CALL),
    State.THOUGHTS_START: (THINK, END_THINK, CALL),
    State.THOUGHTS: (END_THINK, CALL),
    State.ANSWER: (CALL,),
    State.AFTER_THOUGHTS_START: (END_THINK, CALL),
    State.AFTER_THOUGHTS: (END_THINK, CALL),
}
_AFTER_TEXT = {
    State.START: State.ANSWER,
    State.THOUGHTS_START: State.THOUGHTS,
    State.AFTER_THOUGHTS_START: State.AFTER_THOUGHTS,
}

# Finish reasons of a model that said all it wanted to say.
_OF_ITS_OWN = ("stop", "tool_calls")


def new_call_id() -> str:
    """A random id in the form that OpenAI's have."""
    return f"call_{secrets.token_hex(12)}"


class StreamParser:
    """Parses one answer: ``feed`` it the text in any pieces, then ``finish``.

    ``tools`` are those the model was offered, in any form ``as_tool`` takes: calls of others are content, and calls
    that are not what they should be are repaired with their schemas. With None every name is taken for a tool's, and
    nothing can be repaired. ``reasoning_open`` says that the prompt ended inside the thoughts. ``closes_once``: what
    follows the thoughts is the answer, whatever tags are in it, as a grammar holds the model to it.

    Raises:
        ToolError: one of ``tools`` is none.
    """

    def __init__(
        self,
        tools: Iterable[Any] | None = None,
        reasoning_open: bool = False,
        *,
        closes_once: bool = False,
        new_id: Callable[[], str] = new_call_id,
    ) -> None:
        self.state = State.THOUGHTS_START if reasoning_open else State.START
        self._offered = None if tools is None else {tool.name: tool for tool in as_tools(tools)}
        self._closes_once = closes_once
        self._new_id = new_id
        self._events: list[Event] = []
        self._reader: CallReader | None = None
        self._possible: PossibleCalls | None = None
        self._calls = 0
        self._succeeded = False
        self._partial = ""
        self._blanks: list[str] = []
        self._after_tag = True
        self._said: list[str] = []
        """The raw text since thoughts were closed, which may turn out to be thoughts."""

    @property
    def thinking(self) -> bool:
        """Whether thoughts are open."""
        return self.state in _THINKING

    def feed(self, text: str) -> list[Event]:
        """The events that this text, together with what came before, makes certain.

        Raises:
            RuntimeError: ``finish`` was called before.
        """
        if self.state is State.FINISHED:
            raise RuntimeError("the parser is finished; make a new one for each answer")
        self._read(text)
        return self._take_events()

    def finish(self, reason: str = "stop") -> list[Event]:
        """The events of what was held back, and a ``Finish``: for "stop" with "tool_calls" if there were any.

        A call that is not complete when the reason is another than "stop", say "length", is not guessed at.
        """
        of_its_own = reason in _OF_ITS_OWN
        if self._possible:
            self._leave_possible(self._possible, at_end=of_its_own and not self._partial)
        while self._reader:
            rest = self._reader.finish(self._partial, cut_off=not of_its_own)
            self._partial = ""
            self._leave_call(self._reader)
            self._read(rest)
        if self._partial:
            self._text(self._partial)
        if self._blanks and not self._after_tag:
            self._text("")
        reason = "tool_calls" if self._succeeded and reason == "stop" else reason
        self._events.append(Finish(reason, self._take_blanks()))
        self.state = State.FINISHED
        return self._take_events()

    def _take_events(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _take_blanks(self) -> str:
        blanks, self._blanks = "".join(self._blanks), []
        return blanks

    def _read(self, text: str) -> None:
        stack = [text]
        while stack:
            text = stack.pop()
            if len(text) > _CHUNK:
                stack.append(text[_CHUNK:])
            text, self._partial = self._partial + text[:_CHUNK], ""
            rest, waits = self._step(text)
            if waits:
                self._partial = rest
            elif rest:
                stack.append(rest)

    def _step(self, text: str) -> tuple[str, bool]:
        """Read on, up to a border: the text that was not used, and whether that waits for more."""
        if self._reader:
            return self._read_call(self._reader, text)
        if self._possible:
            return self._read_possible(self._possible, text)
        return self._read_text(text)

    def _read_call(self, reader: CallReader, text: str) -> tuple[str, bool]:
        rest = reader.feed(text)
        if not reader.ended:
            self._give(reader.take_events())
            return rest, True
        self._leave_call(reader)
        return rest, False

    def _leave_call(self, reader: CallReader) -> None:
        self._reader = None
        if self.state is State.CALL_AFTER_THOUGHTS:
            self.state = State.AFTER_THOUGHTS
        else:
            self.state = State.ANSWER
        self._give(reader.take_events())
        self._calls = reader.next_index
        self._succeeded |= reader.succeeded
        self._after_tag = reader.succeeded

    def _read_possible(self, possible: PossibleCalls, text: str) -> tuple[str, bool]:
        rest = possible.feed(text)
        if possible.ended:
            self._leave_possible(possible, at_end=False)
        return rest, not possible.ended

    def _leave_possible(self, possible: PossibleCalls, *, at_end: bool) -> None:
        """What was held back is calls if it is whole and the end, and else a thought."""
        self._possible = None
        if at_end and possible.are_whole:
            self.state = State.ANSWER
            calls = possible.text.rstrip(BLANKS)
            self._read(calls)
            self._blanks.append(possible.text[len(calls) :])
        else:
            self.state = State.THOUGHTS
            self._read_pieces(possible.text)

    def _read_pieces(self, text: str) -> None:
        """Read what has no tags that count."""
        position = 0
        while position < len(text):
            position = self._read_piece(text, position)

    def _read_text(self, text: str) -> tuple[str, bool]:
        position = 0
        while position < len(text):
            tag = tag_at(text, position, _TAGS[self.state]) if text[position] == "<" else ""
            if tag is None:
                return text[position:], True
            if tag and self._tag(tag):
                position += len(tag)
                if self._reader or self._possible:
                    return text[position:], False
            else:
                position = self._read_piece(text, position)
        return "", True

    def _read_piece(self, text: str, position: int) -> int:
        any_blanks = self._blanks or self.state is State.AFTER_THOUGHTS_START
        blanks = (_MORE_BLANKS if any_blanks else _LINE_BREAKS).match(text, position)
        if blanks:
            self._blanks.append(blanks[0])
            return blanks.end()
        words = _WORDS.match(text, position)
        end = words.end() if words else position + 1
        self._text(text[position:end])
        return end

    def _text(self, piece: str) -> None:
        """Give out text, with the blanks before it. Behind a tag only the indent of its line belongs to it."""
        blanks = self._take_blanks()
        shown = self._shown(blanks) + piece
        self._after_tag = False
        self.state = _AFTER_TEXT.get(self.state, self.state)
        kind = Reasoning if self.state is State.THOUGHTS else Content
        self._give([kind(shown, blanks + piece)])

    def _shown(self, blanks: str) -> str:
        if self._after_tag:
            return blanks[max(blanks.rfind("\n"), blanks.rfind("\r")) + 1 :]
        return blanks

    def _give(self, events: Sequence[Event]) -> None:
        self._events += events
        if self.state in (State.AFTER_THOUGHTS, State.CALL_AFTER_THOUGHTS):
            self._said += [event.raw for event in events]

    def _tag(self, tag: str) -> bool:
        """What a tag does; False if it is text after all."""
        if tag == CALL:
            return self._open_call()
        blanks = self._take_blanks()
        if tag == THINK:
            self._events.append(Reasoning("", blanks + tag))
            self.state = State.THOUGHTS_START
        else:
            self._close_thoughts(blanks + tag)
        self._after_tag = True
        return True

    def _close_thoughts(self, raw: str) -> None:
        """What was said since they were closed before was thought: the text of that block, as of any other."""
        block = _BREAKS_BEFORE.sub("", "".join(self._said))
        self._events.append(Rethought(block, raw) if self._said else Reasoning("", raw))
        self._said, self._succeeded = [], False
        self.state = State.ANSWER if self._closes_once else State.AFTER_THOUGHTS_START

    def _open_call(self) -> bool:
        if not self.thinking:
            self._begin_call()
        elif self._offered:
            self._possible = PossibleCalls(self._offered)
            self.state = State.POSSIBLE_CALLS
        else:
            return False
        return True

    def _begin_call(self) -> None:
        closes = self.state in (State.AFTER_THOUGHTS_START, State.AFTER_THOUGHTS)
        tags = (CALL, END_CALL, END_THINK) if closes else (CALL, END_CALL)
        blanks = self._take_blanks()
        self._reader = CallReader(self._calls, self._offered, self._new_id, blanks + CALL, self._shown(blanks), tags)
        self.state = State.CALL_AFTER_THOUGHTS if closes else State.CALL
        self._after_tag = True


class TextParser:
    """In place of a ``StreamParser`` where the text is no answer of a conversation: all of it is content."""

    thinking = False

    def feed(self, text: str) -> list[Event]:
        """The text."""
        if text:
            return [Content(text, text)]
        return []

    def finish(self, reason: str = "stop") -> list[Event]:
        """The end."""
        return [Finish(reason)]
