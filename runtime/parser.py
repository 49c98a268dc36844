"""The text of a model, as it comes, to typed events: reasoning, content, tool calls.

    text      = [reasoning] answer
    reasoning = ["<think>"] thoughts "</think>"     the opening tag is the prompt's or the model's, the closing one
                                                    may never come
    answer    = (content | "<tool_call>" call "</tool_call>")*

Tags count where the grammar has them and are plain text elsewhere: a call in the thoughts is a thought, and
``<think>`` in the middle of an answer is content. Line breaks next to a tag are in an event's ``raw`` and not in its
text. Held back is only what may still change its meaning: the beginning of a tag, line breaks that a tag may follow,
and in a call what ``call_reader.py`` names.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Any

from exaone4_gguf.runtime.call_reader import OPEN, CallReader, tag_at
from exaone4_gguf.runtime.events import Content, Event, Finish, Reasoning
from exaone4_gguf.runtime.tools import as_tools

THINK = "<think>"
END_THINK = "</think>"

# Text is read in chunks, so that taking the rest of it costs little.
_CHUNK = 1 << 16

_WORDS = re.compile(r"[^<\r\n]+")
_LINE_BREAKS = re.compile(r"[\r\n][ \t\r\n]*")
_MORE_BLANKS = re.compile(r"[ \t\r\n]+")


class State(Enum):
    """Where in the grammar the text is."""

    START = auto()
    """Before anything was written: thoughts may be opened."""
    THOUGHTS_START = auto()
    """Thoughts were opened: a second opening tag means nothing."""
    THOUGHTS = auto()
    ANSWER = auto()
    CALL = auto()
    FINISHED = auto()


_TAGS: dict[State, tuple[str, ...]] = {
    State.START: (THINK, OPEN),
    State.THOUGHTS_START: (THINK, END_THINK),
    State.THOUGHTS: (END_THINK,),
    State.ANSWER: (OPEN,),
}
_AFTER_TAG = {THINK: State.THOUGHTS_START, END_THINK: State.ANSWER, OPEN: State.CALL}
_AFTER_TEXT = {State.START: State.ANSWER, State.THOUGHTS_START: State.THOUGHTS}

# Finish reasons of a model that said all it wanted to say.
_OF_ITS_OWN = ("stop", "tool_calls")


def new_call_id() -> str:
    """A random id in the form that OpenAI's have."""
    return f"call_{secrets.token_hex(12)}"


class StreamParser:
    """Parses one answer: ``feed`` it the text in any pieces, then ``finish``.

    ``tools`` are those the model was offered, in any form ``as_tool`` takes: calls of others are content, and calls
    that are not what they should be are repaired with their schemas. With None every name is taken for a tool's, and
    nothing can be repaired. ``reasoning_open`` says that the prompt ended inside the thoughts.

    Raises:
        ToolError: one of ``tools`` is none.
    """

    def __init__(
        self,
        tools: Iterable[Any] | None = None,
        reasoning_open: bool = False,
        *,
        new_id: Callable[[], str] = new_call_id,
    ) -> None:
        self.state = State.THOUGHTS_START if reasoning_open else State.START
        self._offered = None if tools is None else {tool.name: tool for tool in as_tools(tools)}
        self._new_id = new_id
        self._events: list[Event] = []
        self._reader: CallReader | None = None
        self._calls = 0
        self._succeeded = False
        self._partial = ""
        self._blanks: list[str] = []
        self._after_tag = True

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
        while self._reader:
            rest = self._reader.finish(self._partial, cut_off=reason not in _OF_ITS_OWN)
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
            rest, waits = self._read_call(self._reader, text) if self._reader else self._read_text(text)
            if waits:
                self._partial = rest
            elif rest:
                stack.append(rest)

    def _read_call(self, reader: CallReader, text: str) -> tuple[str, bool]:
        """Read in a call: the text that was not used, and whether that waits for more."""
        rest = reader.feed(text)
        if not reader.ended:
            self._events += reader.take_events()
            return rest, True
        self._leave_call(reader)
        return rest, False

    def _leave_call(self, reader: CallReader) -> None:
        self._events += reader.take_events()
        self._reader, self.state = None, State.ANSWER
        self._calls = reader.next_index
        self._succeeded |= reader.succeeded
        self._after_tag = reader.succeeded

    def _read_text(self, text: str) -> tuple[str, bool]:
        """Read thoughts or an answer, up to a call: the text that was not used, and whether that waits for more."""
        position = 0
        while position < len(text):
            tag = tag_at(text, position, _TAGS[self.state]) if text[position] == "<" else ""
            if tag is None:
                return text[position:], True
            if tag:
                position += len(tag)
                self._tag(tag)
                if self._reader:
                    return text[position:], False
            else:
                position = self._read_piece(text, position)
        return "", True

    def _read_piece(self, text: str, position: int) -> int:
        blanks = (_MORE_BLANKS if self._blanks else _LINE_BREAKS).match(text, position)
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
        self._events.append(kind(shown, blanks + piece))

    def _shown(self, blanks: str) -> str:
        return blanks[max(blanks.rfind("\n"), blanks.rfind("\r")) + 1 :] if self._after_tag else blanks

    def _tag(self, tag: str) -> None:
        blanks = self._take_blanks()
        if tag == OPEN:
            self._reader = CallReader(self._calls, self._offered, self._new_id, blanks + tag, self._shown(blanks))
        else:
            self._events.append(Reasoning("", blanks + tag))
        self.state, self._after_tag = _AFTER_TAG[tag], True


class TextParser:
    """In place of a ``StreamParser`` where the text is no answer of a conversation: all of it is content."""

    def feed(self, text: str) -> list[Event]:
        """The text."""
        return [Content(text, text)] if text else []

    def finish(self, reason: str = "stop") -> list[Event]:
        """The end."""
        return [Finish(reason)]
