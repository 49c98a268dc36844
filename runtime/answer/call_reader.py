"""One tool call, from behind its opening tag to its end, while it is being written.

As long as the body is JSON, a closing tag inside a string belongs to the string, and the arguments are streamed as
they come, once the name is known to be a tool's. From the first character that JSON cannot have, the rest is held
back up to the next tag; then the table of repairs may find the call that was meant.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from enum import Enum, auto

from exaone4_gguf.format.tags import CALL, END_CALL, END_THINK, tag_at, tag_or_text
from exaone4_gguf.runtime.events import Content, Event, ToolCallArguments, ToolCallBegin, ToolCallEnd
from exaone4_gguf.runtime.partial_json.completion import completion, dump
from exaone4_gguf.runtime.partial_json.scanner import JsonScanner, Mark, Place
from exaone4_gguf.runtime.tools.repair.table import RecoveredCall, Recovery, recover
from exaone4_gguf.runtime.tools.repair.texts import Offered

_CUT_OFF = "the text ended inside the call"
_NOT_COMPLETED = "it went wrong inside arguments that had been given out already"
_NO_TOOLS = "not a call, and without tools to compare it with it cannot be repaired"


class Phase(Enum):
    """How far the call has come."""

    HEADER = auto()
    """JSON, held back: not yet the arguments, or not yet a tool's name."""
    ARGUMENTS = auto()
    """Inside the arguments, which are streamed."""
    TRAILER = auto()
    """JSON behind arguments that were streamed."""
    BROKEN = auto()
    """Not JSON any more; held back."""
    ENDED = auto()


class CallReader:
    """Reads one call. ``opening`` is the raw text of its tag with the blanks before it, ``shown`` the part of it
    that is content if this turns out not to be a call. Without ``offered`` any name is a tool's. Where ``tags`` has
    the one that closes thoughts, it is text in a string of a call that turns out right, and else ends the call.
    """

    def __init__(
        self,
        index: int,
        offered: Offered | None,
        new_id: Callable[[], str],
        opening: str,
        shown: str,
        tags: tuple[str, ...] = (CALL, END_CALL),
    ) -> None:
        self.phase = Phase.HEADER
        self.next_index = index
        self.succeeded = False
        self._offered = offered
        self._new_id = new_id
        self._shown = shown
        self._opening = opening
        self._tags = tags
        self._scanner = JsonScanner()
        self._events: list[Event] = []
        self._body: list[str] = []
        self._raw: list[str] = [opening]
        self._token: list[str] = []
        self._key = ""
        self._members: dict[str, str] = {}
        self._streamed: list[str] = []
        self._pending: list[str] = []
        self._junk: list[str] = []
        self._doubt: list[str] = []
        self._ahead: JsonScanner | None = None
        self._has_closing = False
        """A string holds the tag that closes thoughts: from there on nothing is certain before the call's end."""
        self._unread = ""

    @property
    def ended(self) -> bool:
        """Whether the call is over, and what ``feed`` gave back is not part of it."""
        return self.phase is Phase.ENDED

    def take_events(self) -> list[Event]:
        """What has come to be known since the last time."""
        events, self._events = self._events, []
        return events

    def feed(self, text: str) -> str:
        """Read on; the text that was not used: the beginning of a tag, or what follows the call once it has ended."""
        position = 0
        while position < len(text) and self.phase is not Phase.ENDED:
            tag, end = tag_or_text(text, position, self._tags)
            if tag is None:
                break
            self._push(text[position:end], tag)
            position = end
        return self._unread + text[position:]

    def finish(self, tail: str, *, cut_off: bool) -> str:
        """The text has ended, with ``tail`` not used; what is left to be read as content.

        ``cut_off`` says that the model would have gone on: then what it had not finished is not guessed.
        """
        if self._ahead:
            self._refute(tail)
        elif not self._in_string and not self._junk and END_CALL.startswith(tail):
            self._end("", tail, cut_off=cut_off)
        else:
            self._push(tail, "")
            self._end("", "", cut_off=cut_off)
        return self._unread

    @property
    def _in_string(self) -> bool:
        return self.phase is not Phase.BROKEN and self._scanner.in_string

    def _push(self, text: str, tag: str) -> None:
        if self._ahead:
            self._look_ahead(self._ahead, text)
        elif not tag:
            self._advance(text)
        elif self._in_string:
            self._ahead = self._scanner.copy()
            self._look_ahead(self._ahead, text)
        else:
            self._end(tag, tag, cut_off=False)

    # ---- a tag inside a string: does it belong to it, or did the model forget the quote?

    def _look_ahead(self, ahead: JsonScanner, text: str) -> None:
        """The string closes, and JSON goes on: the tag was text. It does not: the tag ended the call."""
        self._doubt.append(text)
        for char in text:
            if not ahead.scan(char):
                self._refute("")
                return
            if not ahead.in_string and char in ",:]}":
                self._accept(self._take_doubt())
                return

    def _accept(self, text: str) -> None:
        self._has_closing |= END_THINK in self._tags and END_THINK in text
        self._advance(text)

    def _refute(self, tail: str) -> None:
        text = self._take_doubt() + tail
        tag = tag_at(text, 0, self._tags) or ""
        self._end(tag, tag, cut_off=False)
        self._unread += text[len(tag) :]

    def _take_doubt(self) -> str:
        text, self._doubt, self._ahead = "".join(self._doubt), [], None
        return text

    # ---- JSON

    def _advance(self, text: str) -> None:
        position = 0
        while position < len(text) and self.phase is not Phase.BROKEN:
            stop = self._scanner.scan(text, position)
            self._take(text[position:stop])
            if self._scanner.mark:
                _ON_MARK[self._scanner.mark](self)
            elif stop < len(text):
                self.phase = Phase.BROKEN
            position = stop
        self._hold(text[position:])

    def _hold(self, text: str) -> None:
        if text:
            self._body.append(text)
            (self._junk if self._scanner.place is Place.DONE else self._raw).append(text)

    def _take(self, text: str) -> None:
        if not text:
            return
        self._body.append(text)
        if self.phase is Phase.ARGUMENTS:
            self._stream(text)
        else:
            self._raw.append(text)
            self._token.append(text)

    def _take_token(self) -> str:
        token, self._token = "".join(self._token), []
        return token

    def _on_key(self) -> None:
        self._key = json.loads(self._take_token().lstrip(" \t\r\n{,"))

    def _on_value_begin(self) -> None:
        first = self._take_token()[-1]
        self._token.append(first)
        if self._key == "arguments" and first == "{" and self._is_tool() and not self._has_closing:
            self._raw[-1] = self._raw[-1][:-1]
            self._begin(self._name(), self._take_raw())
            self.phase = Phase.ARGUMENTS
            self._stream(first)

    def _on_value_end(self) -> None:
        text = self._take_token()
        if self.phase is Phase.ARGUMENTS:
            self.phase = Phase.TRAILER
        if self._key in ("name", "arguments"):
            self._members[self._key] = text

    def _name(self) -> str:
        """The name that the body gives, "" if there is none."""
        name = self._members.get("name", "")
        if name.startswith('"'):
            return str(json.loads(name))
        return ""

    def _is_tool(self) -> bool:
        name = self._name()
        return bool(name) and (self._offered is None or name in self._offered)

    # ---- events

    def _take_raw(self) -> str:
        raw = "".join(self._pending) + "".join(self._raw)
        self._pending, self._raw = [], []
        return raw

    @property
    def _index(self) -> int:
        return self.next_index - 1

    def _begin(self, name: str, raw: str) -> None:
        self.next_index += 1
        self._events.append(ToolCallBegin(self._index, self._new_id(), name, raw))

    def _stream(self, text: str) -> None:
        """Give out a piece of the arguments, but not its end if that could turn out to be wrong."""
        if self._has_closing:
            self._pending.append(text)
            return
        uncertain = -1
        if self._scanner.after_comma or self._scanner.in_escape:
            uncertain = max(text.rfind("," if self._scanner.after_comma else "\\"), 0)
        certain = text[:uncertain] if uncertain >= 0 else text
        if certain:
            piece = "".join(self._pending) + certain
            self._pending = []
            self._streamed.append(piece)
            self._events.append(ToolCallArguments(self._index, piece, piece))
        if uncertain >= 0:
            self._pending.append(text[uncertain:])

    def _end(self, tag: str, closing: str, *, cut_off: bool) -> None:
        """The call ends at this tag ("" is the end of the text); ``closing`` is what of it belongs to the call."""
        if tag in (CALL, END_THINK):
            self._unread, closing = tag, ""
        whole = self._scanner.place is Place.DONE and self._is_tool() and self._members.get("arguments", "")[:1] == "{"
        if whole and not (self._junk and tag == END_CALL):
            self._end_whole(closing, None if tag == END_CALL else "missing_close_tag")
        else:
            self._end_wrong(closing, self._recovered(cut_off))
        self.phase = Phase.ENDED

    def _end_whole(self, closing: str, repaired: str | None) -> None:
        """The body was right. Text behind it without a closing tag is content."""
        if not self._streamed:
            body = "".join(self._raw[1:])
            self._raw = []
            self._begin(self._name(), self._opening)
            self._events.append(ToolCallArguments(self._index, self._members["arguments"], body))
        elif self._pending:
            rest, self._pending = "".join(self._pending), []
            self._events.append(ToolCallArguments(self._index, rest, rest))
        self._events.append(ToolCallEnd(self._index, repaired, self._take_raw() + closing))
        self._unread = "".join(self._junk) + self._unread
        self.succeeded = True

    def _recovered(self, cut_off: bool) -> Recovery:
        if cut_off and "arguments" not in self._members:
            return Recovery(reason=_CUT_OFF)
        if self._offered is None:
            return Recovery(reason=_NO_TOOLS)
        return recover("".join(self._body), self._offered)

    def _end_wrong(self, closing: str, recovery: Recovery) -> None:
        if self._streamed:
            self._end_streamed(closing, recovery)
        elif recovery.calls:
            first, *others = recovery.calls
            self._raw = []
            self._begin(first.name, self._opening)
            self._events.append(ToolCallArguments(self._index, dump(first.arguments), "".join(self._body)))
            self._end_recovered(closing, recovery, others)
        else:
            body = self._up_to_closing("".join(self._body) + closing)
            self._events.append(Content(self._shown + CALL + body, self._opening + body, recovery.reason))

    def _end_streamed(self, closing: str, recovery: Recovery) -> None:
        """Complete the arguments that were given out already, if they are a beginning of the recovered ones."""
        self._raw += self._junk
        first, *others = recovery.calls or (None,)
        rest = completion("".join(self._streamed), first.written) if first and first.name == self._name() else None
        if rest is None:
            failed = recovery.reason or _NOT_COMPLETED
            raw = self._up_to_closing(self._take_raw() + closing)
            self._events.append(ToolCallEnd(self._index, None, raw, failed))
            return
        if rest:
            self._events.append(ToolCallArguments(self._index, rest, ""))
        self._end_recovered(closing, recovery, [call for call in others if call])

    def _up_to_closing(self, text: str) -> str:
        """The text of what is no call: the tag that closes thoughts ends it, in strings too."""
        at = text.find(END_THINK) if END_THINK in self._tags else -1
        if at < 0:
            return text
        self._unread = text[at:] + self._unread
        return text[:at]

    def _end_recovered(self, closing: str, recovery: Recovery, others: Sequence[RecoveredCall]) -> None:
        """End the call, and give the others that its body held."""
        raw = self._take_raw()
        for call in others:
            self._events.append(ToolCallEnd(self._index, recovery.repaired, raw))
            raw = ""
            self._begin(call.name, "")
            self._events.append(ToolCallArguments(self._index, dump(call.arguments), ""))
        self._events.append(ToolCallEnd(self._index, recovery.repaired, raw + closing))
        self.succeeded = True


_ON_MARK = {
    Mark.KEY_END: CallReader._on_key,
    Mark.VALUE_BEGIN: CallReader._on_value_begin,
    Mark.VALUE_END: CallReader._on_value_end,
}
