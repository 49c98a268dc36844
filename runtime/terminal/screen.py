"""How a chat looks: answers on stdout, thoughts and everything else on stderr.

On a terminal answers are Markdown and the rest is dim. What turns out to be a thought is moved there; on a stdout that
is no terminal, an answer with thoughts is written when it is complete. With NO_COLOR, on a dumb terminal and in a pipe,
the text is as the model wrote it, and tags surround the thoughts. What the model or a tool says never controls a
terminal.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from enum import Enum, auto
from io import StringIO, TextIOWrapper
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from exaone4_gguf.errors import CommandError
from exaone4_gguf.runtime.events import Content, Event, Reasoning, Rethought, ToolCall, ToolCallEnd
from exaone4_gguf.runtime.partial_json.lenient import UnreadableError, read
from exaone4_gguf.runtime.prompt.messages import normalized
from exaone4_gguf.runtime.terminal.markdown_stream import MarkdownStream
from exaone4_gguf.runtime.terminal.turn import OUT_OF_ROUNDS, Turn
from exaone4_gguf.runtime.tools.toolbox import as_call

_DIM, _RESET = "\x1b[2m", "\x1b[0m"

_MAX_SHOWN = 300
"""Characters of a call or its result; the model is told all of it."""

_VISIBLE: dict[int, str | None] = {
    **{code: chr(0x2400 + code) for code in range(0x20)},  # Unicode's pictures of them
    ord("\t"): "\t",
    ord("\n"): "\n",
    ord("\r"): None,
    0x7F: "\u2421",
    **{code: f"\\x{code:02x}" for code in range(0x80, 0xA0)},
    **{code: f"\\u{code:04x}" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A))},  # change the direction
}


def printable(text: str) -> str:
    """The text with its control characters made visible, so that a terminal obeys none of them."""
    return text.translate(_VISIBLE)


def has_style(stream: TextIO) -> bool:
    """Whether the stream is a terminal that wants colours."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "unknown")


class _Nowhere(StringIO):
    """In place of a stream that was closed before the program began, which is None."""

    def write(self, text: str) -> int:
        """Forget it."""
        return len(text)


class _Plain:
    """Text as it comes, one newline at its end."""

    def __init__(self, stream: TextIO, style: str = "") -> None:
        self._stream, self._style = stream, style
        self._last = ""

    def write(self, text: str) -> None:
        self._last = text[-1:] or self._last
        if self._style:
            text = f"{self._style}{text}{_RESET}"
        self._stream.write(text)
        self._stream.flush()

    def end(self) -> None:
        if self._last not in ("", "\n"):
            self.write("\n")


class _Phase(Enum):
    """What is being said."""

    NOTHING = auto()
    THOUGHTS = auto()
    ANSWER = auto()


class Screen:
    """Shows turns as they come (a ``View``), and tells the user what there is to tell."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out, self._err = out or sys.stdout or _Nowhere(), err or sys.stderr or _Nowhere()
        for stream in (self._out, self._err):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")  # what the terminal's encoding has not
        self._out_style, self._err_style = has_style(self._out), has_style(self._err)
        self._notes = Console(file=self._err, highlight=False, color_system="auto" if self._err_style else None)
        self._phase = _Phase.NOTHING
        self._text: MarkdownStream | _Plain = _Plain(self._out)
        self._thought = False
        """The answer has thoughts, which may turn out to go on."""
        self._n_pieces = 0
        """How many times something was said since thoughts were closed, with other things between."""
        self._can_move = self._out.isatty() and (self._out_style or self._err.isatty())
        self._held: list[Content] = []

    def event(self, event: Event) -> None:
        """Show the next event of an answer; calls are shown when they have run."""
        match event:
            case Reasoning(text):
                self._thought = True
                self._think(text)
            case Rethought(text):
                self._rethink(text)
            case Content() if self._thought and not self._can_move:
                self._held.append(event)
            case Content():
                self._say(event)
            case ToolCallEnd(failed=str(reason)):
                self._rejected(reason)

    def answered(self) -> None:
        """The answer has ended."""
        held, self._held = self._held, []
        for content in held:
            self._say(content)
        self._enter(_Phase.NOTHING)
        self._thought, self._n_pieces = False, 0

    def _think(self, text: str) -> None:
        if text:
            self._enter(_Phase.THOUGHTS)
            self._text.write(_shown(text, self._err))

    def _say(self, content: Content) -> None:
        if content.text:
            self._enter(_Phase.ANSWER)
            self._text.write(_shown(content.text, self._out))
        if content.reason is not None:
            self._rejected(content.reason)

    def _rethink(self, text: str) -> None:
        """Move what was said to the thoughts."""
        self._held = []
        if self._n_pieces and not self._take_back():
            self._leave_above()
            return
        if self._phase is _Phase.THOUGHTS:
            self._text.write("\n\n")
        self._think(text)

    def _leave_above(self) -> None:
        """What stays on the terminal gets the end that thoughts have."""
        self._enter(_Phase.NOTHING)
        self._n_pieces = 0
        if self._err_style:
            self.note("what stands above was thought")
        self._after_thoughts()

    def _take_back(self) -> bool:
        """Erase what was said; False if it stays."""
        if self._phase is not _Phase.ANSWER or self._n_pieces != 1:
            return False
        if not isinstance(self._text, MarkdownStream) or not self._text.take_back():
            return False
        self._phase, self._n_pieces = _Phase.NOTHING, 0
        return True

    def called(self, call: ToolCall, result: str) -> None:
        """Show a call and its result."""
        self.note(f"{shortened(_as_call(call))} -> {shortened(result)}")

    def conversation(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Show what was said, each message in a line."""
        for message in normalized(messages):
            text = message["content"]
            called = [call["function"]["name"] for call in message.get("tool_calls", ())]
            if called and not text:
                text = f"calls {', '.join(called)}"
            self.note(f"{message['role']}: {shortened(printable(str(text or '')))}")

    def copy(self, text: str) -> None:
        """Put the text into the clipboard of the terminal (OSC 52).

        Raises:
            CommandError: there is no terminal.
        """
        terminal = next((stream for stream in (self._out, self._err) if stream.isatty()), None)
        if terminal is None:
            raise CommandError("there is no terminal, whose clipboard it could be")
        encoded = base64.b64encode(text.encode("utf-8", "replace")).decode()
        terminal.write(f"\x1b]52;c;{encoded}\x07")
        terminal.flush()

    def status(self, turn: Turn, n_ctx: int) -> None:
        """What the turn took, in a line."""
        if turn.usages:
            self.note(status_line(turn, n_ctx))

    def note(self, text: str = "") -> None:
        """Tell the user something, on stderr."""
        self._tell(text, "dim")

    def error(self, text: str) -> None:
        """Tell the user what went wrong, in one line."""
        self._tell(" ".join(text.splitlines()), "red")

    def rows(self, rows: Iterable[tuple[str, str]]) -> None:
        """Tell the user what things mean, one in a row."""
        table = Table.grid(padding=(0, 2))
        for term, meaning in rows:
            table.add_row(Text(term, "bold", overflow="fold"), Text(meaning, "dim"))
        self._notes.print(table)

    def _tell(self, text: str, style: str) -> None:
        """Wrapped at words on a terminal, one line elsewhere."""
        self._notes.print(Text(_shown(text, self._err), style), soft_wrap=not self._err.isatty())

    def _rejected(self, reason: str) -> None:
        self._enter(_Phase.NOTHING)
        self.note(f"a tool call could not be read: {reason}")

    def _enter(self, phase: _Phase) -> None:
        """End what is being said, and begin something else."""
        if phase is self._phase:
            return
        self._text.end()
        if self._phase is _Phase.THOUGHTS:
            self._after_thoughts()
        self._phase = phase
        if phase is _Phase.ANSWER:
            self._n_pieces += 1
            self._text = _Plain(self._out)
            if self._out_style:
                self._text = MarkdownStream(Console(file=self._out, force_terminal=True, highlight=False))
        elif phase is _Phase.THOUGHTS and self._err_style:
            self._text = _Plain(self._err, _DIM)
        elif phase is _Phase.THOUGHTS:
            self._text = _Plain(self._err)
            self._err.write("<think>\n")

    def _after_thoughts(self) -> None:
        """A border between thoughts and answer: the style alone, and a blank line, or a tag."""
        border = "</think>\n\n"
        if self._err_style:
            border = "\n"
        self._err.write(border)
        self._err.flush()


def shortened(text: str) -> str:
    """The text in one line that is not too long."""
    line = " ".join(text.split())
    if len(line) <= _MAX_SHOWN:
        return line
    return f"{line[:_MAX_SHOWN]}… ({len(line):,} characters)"


def status_line(turn: Turn, n_ctx: int) -> str:
    """Tokens, their rate, the time to the first, and how full the context is."""
    first, last = turn.usages[0], turn.usages[-1]
    n_tokens = sum(usage.completion_tokens for usage in turn.usages)
    seconds = sum(usage.seconds for usage in turn.usages)
    rate = n_tokens / seconds if seconds else 0
    used = last.prompt_tokens + last.completion_tokens
    parts = [
        f"{n_tokens:,} tokens",
        f"{rate:.1f} tokens/s",
        f"first after {first.prompt_seconds:.2f} s",
        f"context {used:,} of {n_ctx:,} ({used / n_ctx:.0%})",
        f"{last.cached_tokens:,} cached",
    ]
    drafted = sum(usage.drafted_tokens for usage in turn.usages)
    if drafted:
        accepted = sum(usage.accepted_tokens for usage in turn.usages)
        without = sum(usage.seconds * (usage.speedup or 1.0) for usage in turn.usages)
        parts.append(f"{accepted:,} of {drafted:,} guesses right, {without / seconds:.1f} times as fast")
    if turn.finish_reason in _ENDINGS:
        parts.insert(0, _ENDINGS[turn.finish_reason])
    return f"[{' · '.join(parts)}]"


_ENDINGS = {"length": "cut off", "cancelled": "stopped", OUT_OF_ROUNDS: "too many rounds of tool calls"}


def _shown(text: str, stream: TextIO) -> str:
    if stream.isatty():
        return printable(text)
    return text


def _as_call(call: ToolCall) -> str:
    with suppress(UnreadableError):
        arguments = read(call.arguments)
        if isinstance(arguments, dict):
            return as_call(call.name, arguments)
    return f"{call.name}({call.arguments})"
