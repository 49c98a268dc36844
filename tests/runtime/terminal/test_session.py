"""A conversation that goes on: retried, saved, loaded, and whole after every failure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.errors import ConversationError, MessageError, OutputError, RuntimeFailure
from exaone4_gguf.runtime.terminal.session import Session
from exaone4_gguf.runtime.tools.toolbox import Toolbox
from tests.scripted import Scripted, calls, roll_dice, says


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def session_with(*answers: Any, system: str | None = None) -> tuple[Session, Scripted]:
    model = Scripted(*answers)
    return Session(model.as_model(), Toolbox([roll_dice]), {"seed": 1}, system=system), model


def test_each_turn_knows_those_before() -> None:
    session, model = session_with(says("One"), says("Two"), system="Count.")
    session.ask("1")
    session.ask("2")
    system = {"role": "system", "content": "Count."}
    assert model.asked[1] == [system, user("1"), assistant("One "), user("2")]
    assert session.messages == [*model.asked[1], assistant("Two ")]
    assert model.options[1] == {"seed": 1}


def test_retry_answers_the_last_question_again() -> None:
    session, model = session_with(says("Zero"), calls('{"sides": 6}'), says("One"), says("Two"))
    session.ask("0")
    session.ask("1")
    session.retry()
    assert model.asked[-1] == [user("0"), assistant("Zero "), user("1")]
    assert session.turns[-1] == assistant("Two ")
    assert len(session.turns) == 4


def test_retry_needs_a_question() -> None:
    with pytest.raises(ConversationError, match="nothing to answer again"):
        session_with()[0].retry()


def test_a_turn_that_fails_changes_nothing() -> None:
    session, model = session_with(says("One"), [RuntimeFailure("no")], [RuntimeFailure("no")], says("Two"))
    session.ask("1")
    before = list(session.turns)
    with pytest.raises(RuntimeFailure):
        session.ask("2")
    with pytest.raises(RuntimeFailure):
        session.retry()
    assert session.turns == before
    session.ask("3")
    assert model.asked[-1] == [*before, user("3")]


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    session, _ = session_with(calls('{"sides": 6}'), says("다섯\ud83d"), system="한국어로")
    session.ask("굴려")
    file = tmp_path / "talk.json"
    session.save(file)
    session.save(file)
    assert [path.name for path in tmp_path.iterdir()] == ["talk.json"]
    assert json.loads(file.read_text(encoding="utf-8"))["messages"][0] == {"role": "system", "content": "한국어로"}
    loaded, _ = session_with()
    loaded.load(file)
    assert (loaded.system, len(loaded.turns)) == ("한국어로", 4)
    assert loaded.turns[:3] == session.turns[:3]


@pytest.mark.parametrize(
    ("text", "system", "n_turns"),
    [
        ('[{"role": "user", "content": "hi"}]', None, 1),
        ('{"model": "x", "messages": [{"role": "developer", "content": [{"type": "text", "text": "be"}]}]}', "be", 0),
    ],
)
def test_others_write_conversations_too(tmp_path: Path, text: str, system: str | None, n_turns: int) -> None:
    (tmp_path / "a.json").write_text(text)
    session, _ = session_with(system="old")
    session.load(tmp_path / "a.json")
    assert (session.system, len(session.turns)) == (system, n_turns)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (None, ConversationError, "No such file"),
        ("{", ConversationError, "a.json: not JSON: Expecting"),
        ("3", ConversationError, "holds no list of messages"),
        ('{"messages": {}}', ConversationError, "holds no list of messages"),
        ('[{"role": "user"}]', MessageError, r"messages\[0\].content: is missing"),
        ("[3]", MessageError, r"messages\[0\]"),
    ],
)
def test_what_is_no_conversation(tmp_path: Path, text: str | None, error: type[Exception], message: str) -> None:
    if text is not None:
        (tmp_path / "a.json").write_text(text)
    session, _ = session_with(system="old")
    with pytest.raises(error, match=message):
        session.load(tmp_path / "a.json")
    assert session.system == "old"


def test_another_file_is_not_replaced(tmp_path: Path) -> None:
    file = tmp_path / "thesis.txt"
    file.write_text("years of work")
    with pytest.raises(OutputError, match="it was not replaced"):
        session_with()[0].save(file)
    assert file.read_text() == "years of work"


def test_links_are_followed(tmp_path: Path) -> None:
    """The file behind a link is replaced, and one that is not there yet is made."""
    session, _ = session_with(says("One"))
    session.ask("1")
    (tmp_path / "folder").mkdir()
    link = tmp_path / "link.json"
    link.symlink_to("folder/talk.json")
    for _ in range(2):
        session.save(link)
        assert link.is_symlink()
        assert len(json.loads((tmp_path / "folder/talk.json").read_text())["messages"]) == 2
    (tmp_path / "round.json").symlink_to("round.json")
    with pytest.raises(OutputError, match=r"round.json"):
        session.save(tmp_path / "round.json")


def test_the_last_answer() -> None:
    session, _ = session_with(says("One"), calls('{"sides": 6}'), says("Two"))
    assert session.last_answer == ""
    session.ask("1")
    session.ask("2")
    assert session.last_answer == "Two "


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="No such file or directory"):
        session_with()[0].save(tmp_path / "none" / "a.json")
