"""Messages of one line and of several, and the history. A real terminal is in test_terminal.py."""

from __future__ import annotations

import io
import stat
import sys
from pathlib import Path

import pytest

from exaone4_gguf.runtime.terminal import keyboard
from exaone4_gguf.runtime.terminal.keyboard import CONTINUED, PROMPT, Keyboard, editing, history_file, question
from exaone4_gguf.runtime.tools.tool import Tool
from exaone4_gguf.runtime.tools.toolbox import AskFirst


def read_from(*lines: str) -> tuple[str | None, list[str]]:
    """What is read, and the prompts that were shown."""
    given, prompts = iter(lines), []

    def line(prompt: str) -> str:
        prompts.append(prompt)
        try:
            return next(given)
        except StopIteration:
            raise EOFError from None

    return Keyboard(line).read(), prompts


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["hello"], "hello"),
        (["a\\", "b\\", "c"], "a\nb\nc"),
        (["a\\"], "a\n"),
        (['"""', "a", "", "b", '"""'], "a\n\nb"),
        (['"""a', 'b"""'], "a\nb"),
        (['"""a"""'], "a"),
        (['"""', "a"], "a"),
        ([' """', "a\\", '  b"""  '], "a\\\n  b"),
        (["안녕\\", "하세요"], "안녕\n하세요"),
        ([], None),
    ],
)
def test_messages(lines: list[str], message: str | None) -> None:
    read, prompts = read_from(*lines)
    assert read == message
    assert prompts[0] == PROMPT
    assert set(prompts[1:]) <= {CONTINUED}


def test_a_question_is_on_stderr(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n\n"))
    assert [question("Well? ") for _ in range(3)] == ["y", "", None]
    assert capsys.readouterr() == ("", "Well? " * 3)


def test_a_question_controls_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    refusal = AskFirst(question)(Tool("run"), {"a": "\u202eb\x9b2J", "\x1b[2J": 1})
    assert refusal == "not run: the user refused it"
    err = capsys.readouterr().err
    assert "\\u202eb\\x9b2J" in err
    assert not {"\u202e", "\x9b", "\x1b"} & set(err)


def test_closed_streams_are_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert question("Well?") is None
    assert Keyboard().read() is None


def test_prompts_stay_out_of_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))
    typed = Keyboard()
    assert [typed.read(), typed.read()] == ["hello", None]
    assert capsys.readouterr() == ("", PROMPT * 2)


def test_where_the_history_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert history_file() == Path("/state/exaone4-gguf/history")
    for state in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", state)
        assert history_file() == Path.home() / ".local/state/exaone4-gguf/history"


def test_the_history_is_kept_for_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "history"
    with editing([], path):
        keyboard.readline.clear_history()
        keyboard.readline.add_history("안녕")
    assert "안녕" in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keyboard.readline.clear_history()
    with editing([], path):
        assert keyboard.readline.get_history_item(1) == "안녕"


def test_no_history_where_none_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with editing([], tmp_path / "file" / "history"):
        pass
    assert (tmp_path / "file").read_text() == ""


def test_tab_completes_commands(tmp_path: Path) -> None:
    with editing(["/retry", "/reset", "/help"], tmp_path / "history"):
        complete = keyboard.readline.get_completer()
        assert [complete("/re", i) for i in range(3)] == ["/retry", "/reset", None]
        assert complete("", 0) is None


def test_without_readline_it_goes_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(keyboard, "readline", None)
    with editing(["/help"], tmp_path / "history"):
        pass
    assert not (tmp_path / "history").exists()
