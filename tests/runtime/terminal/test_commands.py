"""The slash commands, one by one."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.errors import CommandError, Exaone4Error
from exaone4_gguf.runtime.terminal.commands import COMMANDS, Next, run_command
from exaone4_gguf.runtime.terminal.screen import Screen
from exaone4_gguf.runtime.terminal.session import Session
from exaone4_gguf.runtime.tools.toolbox import Toolbox
from tests.scripted import Scripted, roll_dice, says


@pytest.fixture
def session() -> Session:
    return Session(Scripted(says("Hi")).as_model(), Toolbox([roll_dice]), {})


def told(text: str, session: Session) -> tuple[Next | None, str]:
    """What follows, and what the user is told."""
    err = io.StringIO()
    return run_command(text, session, Screen(io.StringIO(), err)), err.getvalue()


def test_help_lists_the_table(session: Session) -> None:
    following, text = told("/help", session)
    assert following is Next.READ
    for name, command in COMMANDS.items():
        assert f"/{name} {command.takes}".strip() in text
        assert command.about in text
    assert "Ctrl-D" in text


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("/reasoning", {}, "off"),
        ("/reasoning on", {"reasoning": True}, "on"),
        ("/Reasoning  OFF ", {"reasoning": False}, "off"),
        ("/reasoning budget 20", {"reasoning": True, "reasoning_budget": 20}, "on, for at most 20 tokens"),
        ("/reasoning budget off", {"reasoning_budget": None}, "off"),
    ],
)
def test_reasoning(session: Session, text: str, options: dict[str, Any], words: str) -> None:
    assert told(text, session) == (Next.READ, f"reasoning is {words}\n")
    assert session.options == options


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("/reasoning maybe", "write /reasoning on"),
        ("/reasoning budget", "write /reasoning on"),
        ("/reasoning budget -1", "write /reasoning on"),
        ("/nothing", "there is no /nothing; /help lists"),
        ("/", "there is no /;"),
        ("/save", "which file"),
        ("/load ", "which file"),
        ("/load ~nobody_of_that_name/a", "~nobody_of_that_name/a: "),
    ],
)
def test_wrong_ones(session: Session, text: str, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        told(text, session)


@pytest.mark.parametrize("text", ["hello", "/etc/passwd is a file", " /help", "", "1/2", "/도움말"])
def test_messages_are_no_commands(session: Session, text: str) -> None:
    assert told(text, session) == (None, "")


def test_tools(session: Session) -> None:
    assert told("/tools", session)[1].split() == ["roll_dice(sides)", "Roll", "one", "die."]
    session.toolbox = Toolbox()
    assert "no tools; --tools FILE.py" in told("/tools", session)[1]


def test_system(session: Session) -> None:
    assert told("/system", session)[1] == "no system prompt\n"
    assert told("/system 짧게 답해\n둘", session)[1] == "system: 짧게 답해\n둘\n"
    assert session.system == "짧게 답해\n둘"
    told("/system -", session)
    assert session.system is None


def test_save_reset_and_load(session: Session, tmp_path: Path) -> None:
    session.ask("Hello!")
    file = tmp_path / "my talk.json"
    assert told(f"/save {file}", session)[1] == "2 messages saved\n"
    assert told("/reset", session) == (Next.READ, "a new conversation\n")
    assert session.turns == []
    assert told(f"/load {file}", session)[1] == "2 messages loaded\nuser: Hello!\nassistant: Hi\n"
    assert session.turns[0]["content"] == "Hello!"
    with pytest.raises(Exaone4Error):
        told(f"/load {tmp_path}", session)


def test_a_file_that_is_there_is_not_replaced_unless_told(session: Session, tmp_path: Path) -> None:
    file = tmp_path / "talk.json"
    told(f"/save {file}", session)
    before = file.read_text()
    session.ask("Hello!")
    with pytest.raises(CommandError, match=r"it is there already; /save! .*talk.json replaces it"):
        told(f"/save {file}", session)
    assert file.read_text() == before
    assert told(f"/save! {file}", session) == (Next.READ, "2 messages saved\n")
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(Exaone4Error, match="it was not replaced"):
        told(f"/save! {tmp_path / 'thesis.txt'}", session)


def test_what_is_loaded_is_shown(session: Session, tmp_path: Path) -> None:
    """The last messages, a line each, and nothing in them controls the terminal."""
    call = {"id": "1", "type": "function", "function": {"name": "roll_dice", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "first"},
        *[{"role": "user", "content": f"number {i}"} for i in range(3)],
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "5"},
        {"role": "assistant", "content": "line\n\x1b[2Jtwo " + "long " * 100},
    ]
    file = tmp_path / "talk.json"
    file.write_text(json.dumps(messages))
    lines = told(f"/load {file}", session)[1].splitlines()
    assert lines[0] == "7 messages loaded"
    assert lines[1:6] == [*(f"user: number {i}" for i in range(3)), "assistant: calls roll_dice", "tool: 5"]
    assert lines[6].startswith("assistant: line ")
    assert lines[6].endswith("characters)")
    assert len(lines) == 7
    assert "\x1b" not in "".join(lines)


class Tty(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        """It is one."""
        return True


def test_copy(session: Session) -> None:
    """OSC 52: the text in base64."""
    answer = "Run 이것:\n\n```sh\nls  -l\n```\n"
    session.turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": answer}]
    for command, text in (("/copy", answer), ("/copy code", "ls  -l")):
        out, err = Tty(), io.StringIO()
        run_command(command, session, Screen(out, err))
        assert out.getvalue() == f"\x1b]52;c;{base64.b64encode(text.encode()).decode()}\x07"
        assert err.getvalue() == f"{len(text)} characters given to the terminal's clipboard\n"
    session.turns = []
    for command, message in (
        ("/copy", "there is no answer to copy"),
        ("/copy code", "there is no code in the last answer"),
        ("/copy all", "write /copy"),
    ):
        with pytest.raises(CommandError, match=message):
            told(command, session)
    session.turns = [{"role": "assistant", "content": "a"}]
    with pytest.raises(CommandError, match="no terminal"):
        told("/copy", session)


def test_what_the_caller_does(session: Session) -> None:
    assert [told(text, session)[0] for text in ("/retry", "/exit")] == [Next.ANSWER_AGAIN, Next.LEAVE]
