"""What is on stdout, what on stderr, and how it looks on a terminal and in a pipe."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import replace

import pytest

from exaone4_gguf.runtime.events import Content, Event, Finish, Reasoning, Rethought, ToolCall, ToolCallEnd
from exaone4_gguf.runtime.terminal.screen import Screen, has_style, printable, shortened, status_line
from exaone4_gguf.runtime.terminal.turn import OUT_OF_ROUNDS, Turn
from tests.scripted import USAGE

DIM, RESET = "\x1b[2m", "\x1b[0m"
THOUGHTFUL = (Reasoning("It is "), Reasoning("so."), Reasoning("", "</think>"), Content("**Yes**"), Content("."))


class Stream(io.StringIO):
    """A stream that may be a terminal."""

    def __init__(self, terminal: bool = False) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        """As it was made."""
        return self._terminal


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def shown(events: Sequence[Event], out_terminal: bool = False, err_terminal: bool = False) -> tuple[str, str]:
    out, err = Stream(out_terminal), Stream(err_terminal)
    screen = Screen(out, err)
    for event in events:
        screen.event(event)
    screen.answered()
    return out.getvalue(), err.getvalue()


def test_in_pipes_the_text_is_as_it_was_written() -> None:
    assert shown(THOUGHTFUL) == ("**Yes**.\n", "<think>\nIt is so.\n</think>\n\n")
    assert shown([Content("a\x1b[31m\tb\n"), Finish("stop")]) == ("a\x1b[31m\tb\n", "")


def test_on_a_terminal_thoughts_are_dim_and_the_answer_is_markdown() -> None:
    out, err = shown(THOUGHTFUL, out_terminal=True, err_terminal=True)
    assert err == f"{DIM}It is {RESET}{DIM}so.{RESET}{DIM}\n{RESET}\n"
    assert "\x1b[1mYes\x1b[0m." in out
    assert "**" not in out.rpartition("\x1b[2K")[2]


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_without_style(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert not has_style(Stream(terminal=True))
    assert shown(THOUGHTFUL, True, True) == ("**Yes**.\n", "<think>\nIt is so.\n</think>\n\n")


def test_only_one_of_them_is_a_terminal() -> None:
    assert shown(THOUGHTFUL, err_terminal=True)[0] == "**Yes**.\n"
    assert "\x1b" not in shown(THOUGHTFUL, out_terminal=True)[1]


@pytest.mark.parametrize("bad", ["\x1b]0;owned\x07", "\x9b31m", "\x08", "\x7f", "\u202e", "\x1b[2J"])
def test_no_text_controls_a_terminal(bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = [
        Reasoning(f"a{bad}"),
        Content(f"b{bad} c", reason=f"why{bad}"),
        ToolCallEnd(0, failed=f"no{bad}"),
    ]
    monkeypatch.setenv("NO_COLOR", "1")
    assert bad not in "".join(shown(events, True, True))
    monkeypatch.delenv("NO_COLOR")
    out, err = Stream(True), Stream(True)
    screen = Screen(out, err)
    for event in events:
        screen.event(event)
    screen.called(ToolCall("id", f"f{bad}", f'{{"a": "{bad}"}}'), f"result{bad}")
    screen.note(bad)
    screen.error(bad)
    assert bad not in out.getvalue() + err.getvalue()


def test_control_characters_are_made_visible() -> None:
    assert printable("a\x1b\x07\x7f\x9b\u202e\t\r\n한") == "a␛␇␡\\x9b\\u202e\t\n한"


def test_a_call_that_could_not_be_read_is_told() -> None:
    out, err = shown([Content("<tool_call>x</tool_call>", reason="not JSON"), Content("more")])
    assert (out, err) == ("<tool_call>x</tool_call>\nmore\n", "a tool call could not be read: not JSON\n")


def test_calls_are_shown_in_one_line() -> None:
    screen = Screen(Stream(), err := Stream())
    screen.called(ToolCall("id", "f", '{"a": "둘"}'), "one\ntwo")
    screen.called(ToolCall("id", "f", "nonsense"), "x" * 1000)
    assert err.getvalue() == f'f(a="둘") -> one two\nf(nonsense) -> {"x" * 300}… (1,000 characters)\n'
    assert shortened("short") == "short"


def test_the_status_line() -> None:
    turn = Turn(usages=[USAGE, USAGE])
    line = "[40 tokens · 10.0 tokens/s · first after 0.25 s · context 120 of 1,000 (12%) · 90 cached]"
    assert status_line(turn, 1000) == line
    for reason, words in (("length", "cut off"), ("cancelled", "stopped"), (OUT_OF_ROUNDS, "too many rounds")):
        turn.finish_reason = reason
        assert words in status_line(turn, 1000)


def test_the_status_line_tells_of_guesses() -> None:
    """Two answers of two seconds, one twice as fast as without guesses, one without any."""
    guessed = replace(USAGE, drafted_tokens=1200, accepted_tokens=1020, speedup=2.0)
    assert status_line(Turn(usages=[guessed, USAGE]), 1000).endswith(
        " · 90 cached · 1,020 of 1,200 guesses right, 1.5 times as fast]"
    )


def test_notes_wrap_on_terminals_alone() -> None:
    for terminal, lines in ((True, 2), (False, 1)):
        screen = Screen(Stream(), err := Stream(terminal))
        screen.note("word " * 20)
        assert err.getvalue().count("\n") == lines


def test_an_error_is_one_line() -> None:
    screen = Screen(Stream(), err := Stream())
    screen.error("one\ntwo [bold]")
    assert err.getvalue() == "one two [bold]\n"


def test_a_narrow_encoding_is_no_error() -> None:
    buffer = io.BytesIO()
    out = io.TextIOWrapper(buffer, encoding="ascii", write_through=True)
    Screen(out, Stream()).event(Content("안 a"))
    assert buffer.getvalue() == b"? a"


AGAIN: tuple[Event, ...] = (
    *(Reasoning("First."), Reasoning("", "</think>"), Content("So **it"), Content("** is.\n\n- a\n- b")),
    Rethought("So **it** is.\n\n- a\n- b", "\n</think>"),
    *(Content("Yes"), Content(".")),
)
"""Thoughts that go on after they were closed."""


def test_stdout_has_no_thoughts_however_late_they_are_known() -> None:
    thoughts = "<think>\nFirst.\n\nSo **it** is.\n\n- a\n- b\n</think>\n\n"
    assert shown(AGAIN) == ("Yes.\n", thoughts)
    assert shown(AGAIN, err_terminal=True)[0] == "Yes.\n"
    assert shown(AGAIN[:-2]) == ("", thoughts)


def test_what_was_thought_is_moved_on_a_terminal() -> None:
    """As a screen shows it in the end: dim on stderr, and gone from the answer."""
    both = Stream(True)
    screen = Screen(both, both)
    for event in AGAIN:
        screen.event(event)
    screen.answered()
    assert on_screen(both.getvalue()) == ["First.", "", "So **it** is.", "", "- a", "- b", "", "Yes."]
    assert f"{DIM}So **it** is.\n\n- a\n- b{RESET}" in both.getvalue()


def test_what_has_scrolled_off_is_said_to_be_thoughts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "10")
    long = "".join(f"paragraph {i}\n\n" for i in range(20))
    out, err = shown([Reasoning("First."), Content(long), Rethought(long), Content("Yes.")], True, True)
    assert "what stands above was thought" in err
    assert "paragraph 0" in out
    assert "paragraph" not in err


def test_on_a_terminal_without_style_a_tag_ends_what_was_thought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    both = Stream(True)
    screen = Screen(both, both)
    for event in AGAIN:
        screen.event(event)
    screen.answered()
    assert both.getvalue() == "<think>\nFirst.\n</think>\n\nSo **it** is.\n\n- a\n- b\n</think>\n\nYes.\n"


def on_screen(written: str) -> list[str]:
    """The lines that a terminal shows which obeys moves up, to the left, and the emptying of a line."""
    lines, row, column = [""], 0, 0
    for move, text in re.findall(r"(\x1b\[[?\d;]*[a-zA-Z]|\r|\n)|([^\x1b\r\n]+)", written):
        if move == "\r":
            column = 0
        elif move == "\n":
            row, column = row + 1, 0
        elif move.endswith("A"):
            row -= int(move[2:-1])
        elif move == "\x1b[2K":
            lines[row] = ""
        elif text:
            lines[row] = lines[row][:column].ljust(column) + text + lines[row][column + len(text) :]
            column += len(text)
        assert row >= 0
        lines += [""] * (row + 1 - len(lines))
    return [line.rstrip() for line in "\n".join(line.rstrip() for line in lines).rstrip("\n").split("\n")]
