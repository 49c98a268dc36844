"""What the user types: lines with editing and history, and messages of several lines."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

from exaone4_gguf.runtime.terminal.paste import bind, bracketed, line_with_pastes
from exaone4_gguf.runtime.terminal.screen import printable

readline: Any = None
with suppress(ImportError):  # Windows has none
    readline = importlib.import_module("readline")

PROMPT, CONTINUED = "> ", "... "
QUOTES = '"""'
MAX_HISTORY = 1000
_MAX_REMEMBERED = 10_000  # characters


class Keyboard:
    """Reads messages. ``line`` reads one line after a prompt, and raises EOFError at the end of all of them."""

    def __init__(self, line: Callable[[str], str] | None = None) -> None:
        self._line = line or _typed_line

    def read(self) -> str | None:
        """The next message, or None at the end (Ctrl-D). A backslash at a line's end, and quotes, continue it.

        Raises:
            KeyboardInterrupt: the user gave the message up.
        """
        try:
            first = self._line(PROMPT)
        except EOFError:
            return None
        if "\n" in first:  # pasted: it is whole, whatever it looks like
            return first
        if first.lstrip().startswith(QUOTES):
            return self._quoted(first.lstrip().removeprefix(QUOTES))
        return self._continued(first)

    def _continued(self, line: str) -> str:
        lines = [line]
        while lines[-1].endswith("\\"):
            lines[-1] = lines[-1][:-1]
            lines.append(self._next() or "")
        return "\n".join(lines)

    def _quoted(self, line: str) -> str:
        lines: list[str] = []
        following: str | None = line
        while following is not None and not following.rstrip().endswith(QUOTES):
            lines.append(following)
            following = self._next()
        lines.append((following or "").rstrip().removesuffix(QUOTES))
        return "\n".join(lines).strip("\n")

    def _next(self) -> str | None:
        try:
            return self._line(CONTINUED)
        except EOFError:
            return None


def _typed_line(prompt: str) -> str:
    """A line from the terminal. Where stdout is none, the prompt does not get into the answers."""
    if sys.stdin and sys.stderr and sys.stdout and sys.stdout.isatty():
        if _is_gnu() and sys.stdin.isatty():
            line = line_with_pastes(prompt, _edited)
        else:
            line = input(prompt)
        if readline is not None:
            _remember(line)
        return line
    reply = question(prompt)
    if reply is None:
        raise EOFError
    return reply


def _edited(prompt: str, text: str) -> str:
    """A line that begins with a text, which can be edited."""
    if text:
        readline.set_startup_hook(lambda: readline.insert_text(text))
    try:
        return input(prompt)
    finally:
        readline.set_startup_hook(None)


def _is_gnu() -> bool:
    """Whether there is GNU readline, and not libedit under its name."""
    return readline is not None and "libedit" not in (readline.__doc__ or "")


def question(text: str) -> str | None:
    """Ask on stderr, and read the reply, which the history does not keep; None at the end.

    A call that the question shows is the model's text, and must not control the terminal. A closed stream is None.
    """
    if sys.stderr is not None:
        sys.stderr.write(printable(text))
        sys.stderr.flush()
    line = sys.stdin.readline() if sys.stdin is not None else ""
    if line:
        return line.rstrip("\n")
    return None


def history_file() -> Path:
    """Where lines are kept between chats: the system's place for it, and under XDG_STATE_HOME where that is set."""
    return user_state_path("exaone4-gguf", appauthor=False) / "history"


@contextmanager
def editing(words: Iterable[str], history: Path | None = None) -> Iterator[None]:
    """Lines can be edited and found again while this lasts; Tab completes ``words`` at a line's beginning.

    The history is kept in a file of the user's alone; where that cannot be, there is none, without a word.

    Args:
        history: the file; without it, what is typed is kept nowhere.
    """
    if readline is None:
        yield
        return
    _complete(tuple(words))
    readline.set_auto_history(False)
    if _is_gnu():
        bind(readline)
    if history:
        with suppress(OSError):
            _load(history)
    try:
        with bracketed() if _is_gnu() and _at_terminal() else nullcontext():
            yield
    finally:
        if history:
            with suppress(OSError):
                _save(history)


def _at_terminal() -> bool:
    return bool(sys.stdin and sys.stdout and sys.stdin.isatty() and sys.stdout.isatty())


def _complete(words: tuple[str, ...]) -> None:
    def match(text: str, state: int) -> str | None:
        found = (word for word in words if text and word.startswith(text))
        return next(islice(found, state, None), None)

    readline.set_completer(match)
    readline.set_completer_delims(" \t\n")
    if _is_gnu():
        readline.parse_and_bind("tab: complete")
    else:
        readline.parse_and_bind("bind ^I rl_complete")


def _remember(line: str) -> None:
    """For the Up key; what is very long is not wanted again."""
    count = readline.get_current_history_length()
    if line.strip() and len(line) <= _MAX_REMEMBERED and line != readline.get_history_item(count):
        readline.add_history(line)


def _load(path: Path) -> None:
    readline.read_history_file(path)
    _each_line("\N{LINE SEPARATOR}", "\n")


def _save(path: Path) -> None:
    """A line of the file for each, of the user's alone; one of several lines is put together again when it is read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    readline.set_history_length(MAX_HISTORY)
    _each_line("\n", "\N{LINE SEPARATOR}")
    readline.write_history_file(path)
    _each_line("\N{LINE SEPARATOR}", "\n")


def _each_line(old: str, new: str) -> None:
    for i in range(readline.get_current_history_length()):
        line = readline.get_history_item(i + 1) or ""
        if old in line:
            readline.replace_history_item(i, line.replace(old, new))
