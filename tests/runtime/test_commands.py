"""The slash commands, one by one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.errors import CommandError, Exaone4Error
from exaone4_gguf.runtime.commands import COMMANDS, Next, run_command
from exaone4_gguf.runtime.screen import Screen
from exaone4_gguf.runtime.session import Session
from exaone4_gguf.runtime.toolbox import Toolbox
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
    assert told(f"/load {file}", session)[1] == "2 messages loaded\n"
    assert session.turns[0]["content"] == "Hello!"
    with pytest.raises(Exaone4Error):
        told(f"/load {tmp_path}", session)


def test_what_the_caller_does(session: Session) -> None:
    assert [told(text, session)[0] for text in ("/retry", "/exit")] == [Next.ANSWER_AGAIN, Next.LEAVE]
