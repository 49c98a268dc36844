"""What is pasted into a line that is being typed: one message, whatever is in it.

A terminal in bracketed-paste mode puts markers around what is pasted. GNU readline could read it by itself, but then
a marker that is lost takes the keyboard away for good, CRLF becomes two newlines, and a NUL ends the line. So the
first marker is bound to keys that leave readline; the paste is read here, byte by byte up to the second marker, and
readline goes on with a line that holds it. https://invisible-island.net/xterm/ctlseqs/ctlseqs.html (bracketed paste)
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from rich.cells import cell_len

BEGIN, END = b"\x1b[200~", b"\x1b[201~"

_HERE = "\U000ffffd"
"""Where in a line something is pasted: the last character but two of a private plane, which nobody types."""

_SILENCE = 2.0
"""Seconds after which a paste is taken to have ended, though its marker did not come."""


def bind(readline: Any) -> None:
    """Have GNU readline leave where something is pasted."""
    keys = "".join(f"\\{byte:03o}" for byte in _HERE.encode())
    readline.parse_and_bind(f'"\\e[200~": "{keys}\\C-m"')
    readline.parse_and_bind('"\\e[201~": ""')  # one that came too late


@contextmanager
def bracketed() -> Iterator[None]:
    """The terminal marks what is pasted while this lasts, also what is pasted while nobody reads."""
    if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
        yield
        return
    _send("\x1b[?2004h")
    try:
        yield
    finally:
        _send("\x1b[?2004l")


def line_with_pastes(prompt: str, read: Callable[[str, str], str]) -> str:
    """A line, and all that was pasted into it.

    Args:
        read: reads a line after a prompt, beginning with a text that can be edited.

    Raises:
        EOFError, KeyboardInterrupt: as ``read``, or while something is being pasted.
    """
    with _unbuffered():
        line = read(prompt, "")
        while _HERE in line:
            before, _, after = line.partition(_HERE)
            with _unechoed():
                _erase(prompt + line)  # and what came before the echo was off
                text = pasted(sys.stdin.fileno())
            line = read(prompt, before + text + after)
    return line


def pasted(source: int) -> str:
    """What comes from a terminal up to the marker, with newlines of one kind, and no NUL, which no line can hold."""
    raw = bytearray()
    while not raw.endswith(END) and select.select([source], [], [], _SILENCE)[0]:
        piece = os.read(source, len(END) - _begun(raw))
        if not piece:
            break
        raw += piece
    text = raw.removesuffix(END).decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def _begun(raw: bytearray) -> int:
    """How much of the marker the end of this may be: what follows the marker must not be read."""
    return next((n for n in range(len(END) - 1, 0, -1) if raw.endswith(END[:n])), 0)


def _erase(shown: str) -> None:
    """Take away the line that readline has left, and show nothing of what is coming."""
    columns = max(1, os.get_terminal_size(sys.stdout.fileno()).columns)
    rows = sum(cell_len(line.expandtabs()) // columns + 1 for line in shown.split("\n"))
    _send(f"\x1b[{rows}A\r\x1b[J")


def _send(text: str) -> None:
    with contextlib.suppress(OSError):
        sys.stdout.write(text)
        sys.stdout.flush()


def _unbuffered() -> AbstractContextManager[None]:
    """The terminal hands on each byte as it is, also in the moment between readline and the paste."""
    import termios

    now = termios.tcgetattr(sys.stdin.fileno())
    now[0] &= ~(termios.ICRNL | termios.INLCR | termios.IGNCR)
    now[3] &= ~termios.ICANON
    now[6][termios.VMIN], now[6][termios.VTIME] = 1, 0
    return _terminal_as(now)


def _unechoed() -> AbstractContextManager[None]:
    """The terminal shows nothing of what comes. Not while readline reads, which then shows nothing either."""
    import termios

    now = termios.tcgetattr(sys.stdin.fileno())
    now[3] &= ~termios.ECHO
    return _terminal_as(now)


@contextmanager
def _terminal_as(now: list[Any]) -> Iterator[None]:
    import termios

    source = sys.stdin.fileno()
    before = termios.tcgetattr(source)
    try:
        termios.tcsetattr(source, termios.TCSADRAIN, now)
        yield
    finally:
        termios.tcsetattr(source, termios.TCSADRAIN, before)
