"""The command ``chat``: its options reach the answer, and what is wrong is one line."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf import cli
from exaone4_gguf.commands.chat import chat_command
from exaone4_gguf.demo.conversations import CONVERSATIONS
from exaone4_gguf.runtime import exaone4 as chat_module
from tests.runtime.generate.drafting.guessing import Eager

Run = Callable[..., tuple[int, str, str]]

DICE = '''
faces = [3, 5] * 10

def roll_dice(sides: int) -> int:
    """Roll one die.

    Args:
        sides: How many sides the die has.
    """
    return faces.pop(0)
'''
"""A file with the demo's tool, which rolls 3 and 5."""


@pytest.fixture
def run(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``chat`` with the demo's model and something on stdin; exit code, stdout, stderr."""

    def run(*args: object, stdin: str = "", file: object = demo_gguf) -> tuple[int, str, str]:
        monkeypatch.setitem(cli.cli.commands, "chat", chat_command)
        monkeypatch.setattr(sys, "argv", ["exaone4-gguf", "chat", str(file), "-t", "1", *map(str, args)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What ``runtime.terminal.chat.chat`` is called with, instead of calling it."""
    arguments: dict[str, Any] = {}

    def instead(path: Path, prompt: str | None, **named: Any) -> int:
        arguments.update(named, path=path, prompt=prompt)
        return 0

    monkeypatch.setattr("exaone4_gguf.runtime.terminal.chat.chat", instead)
    return arguments


def test_thoughts_on_stderr_and_the_answer_on_stdout(run: Run) -> None:
    code, out, err = run("-p", "Which is bigger, 3.12 or 3.9?", "--reasoning", "--temp", "0", "-c", 512)
    assert (code, out) == (0, "3.9 is bigger: it is the same as 3.90, and that is more than 3.12.\n")
    assert err.startswith("<think>\nBoth numbers start with 3")
    assert "of 512" in err


def test_dice_are_rolled(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dice.py").write_text(DICE)
    code, out, err = run("-p", "Roll D6 twice!", "--tools", tmp_path / "dice.py", "--yes", "--temp", "0", "-c", 512)
    assert (code, out) == (0, "You rolled 3 and 5, 8 in total.\n")
    assert "roll_dice(sides=6) -> 3\nroll_dice(sides=6) -> 5\n" in err


def test_without_yes_nobody_allows_them(run: Run, tmp_path: Path) -> None:
    (tmp_path / "dice.py").write_text(DICE)
    code, _, err = run("--tools", tmp_path / "dice.py", "--temp", "0", "-c", 1024, stdin="Roll D6 twice!\n")
    assert code == 0
    assert err.count("not run: there is no terminal to ask") == 2


def test_guesses_change_no_text(run: Run, demo_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the model guessing for itself, and as much as may be, the status line tells how many were right."""
    monkeypatch.setattr(chat_module, "Pace", Eager)
    code, out, err = run("-p", "Hello!", "--temp", "0", "-c", 512, "--draft", demo_gguf, "--lookup")
    assert (code, out.strip()) == (0, CONVERSATIONS["greeting-en"].messages[1]["content"])
    assert re.search(r"cached · (\d+) of \d+ guesses right", err)


def test_json_on_demand(run: Run, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    file = tmp_path / "schema.json"
    file.write_text(json.dumps(schema))
    for option in (("-j", json.dumps(schema)), ("-jf", file)):
        code, out, _ = run("-p", "Hello!", "--temp", "0", "-c", 512, *option)
        assert code == 0
        assert json.loads(out)["ok"] in (True, False)


def test_options_have_llama_cpps_names(run: Run, told: dict[str, Any]) -> None:
    code, *_ = run(
        *("--temp", "0.5", "--top-k", "7", "--top-p", "0.9", "--min-p", "0.1", "--seed", "3", "-n", "9"),
        *("--presence-penalty", "1", "--frequency-penalty", "2", "--repeat-penalty", "1.1", "--preset", "korean"),
        *("--reasoning-budget", "20", "--reasoning-minimum", "5", "-ngl", "4", "-c", "99", "-sys", "Be brief."),
        *("-y", "--max-rounds", "3", "-p", "Hi", "--tools", "a.py", "-ctk", "q8_0", "-ctv", "Q4_0", "--rpc", "pi:1"),
        *("-md", "small.gguf", "-ngld", "0", "--draft-max", "5", "--lookup"),
    )
    assert code == 0
    assert told["options"] == {
        "temperature": 0.5,
        "top_k": 7,
        "top_p": 0.9,
        "min_p": 0.1,
        "seed": 3,
        "max_tokens": 9,
        "presence_penalty": 1.0,
        "frequency_penalty": 2.0,
        "repeat_penalty": 1.1,
        "preset": "korean",
        "reasoning": True,
        "reasoning_budget": 20,
        "reasoning_minimum": 5,
        "response_format": None,
    }
    loading = {"n_ctx": 99, "n_threads": 1, "n_gpu_layers": 4, "type_k": 8, "type_v": 2, "rpc": "pi:1"}
    drafting = {"draft": Path("small.gguf"), "draft_gpu_layers": 0, "draft_max": 5, "lookup": True}
    assert told["loading"] == loading | drafting
    assert (told["system"], told["prompt"], told["tools"]) == ("Be brief.", "Hi", Path("a.py"))
    assert (told["ask_before_calls"], told["max_rounds"]) == (False, 3)


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ((), {"reasoning": False}),
        (("--reasoning",), {"reasoning": True}),
        (("--reasoning-budget", "20", "--no-reasoning"), {"reasoning": False, "reasoning_budget": 20}),
        (("--reasoning-budget", "-1", "-n", "-1", "--seed", "-1"), {"reasoning": False}),
        (("--reasoning-budget", "0"), {"reasoning": True, "reasoning_budget": 0}),
        (("-j", "{}"), {"reasoning": False, "response_format": {"type": "json_object"}}),
    ],
)
def test_what_is_not_said(run: Run, told: dict[str, Any], args: tuple[str, ...], options: dict[str, Any]) -> None:
    run(*args)
    assert told["options"] == {"response_format": None, **options}
    assert told["ask_before_calls"]


def test_another_template(run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text("{{ raise_exception('mine') }}")
    code, _, err = run("-p", "Hi", "--chat-template-file", tmp_path / "t.jinja", "-c", 512)
    assert code == 2
    assert "mine" in err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "nothing to answer: give -p PROMPT, or text on stdin"),
        (("-p", "a", "--temp", "-1"), "temperature is -1.0"),
        (("-p", "a", "--preset", "wild"), "there is no preset 'wild'; one of: answer"),
        (("-p", "a", "--tools", "none.py"), "none.py: no such file"),
        (("-p", "a", "--tools", "broken.py"), "broken.py, line 2: SyntaxError"),
        (("-p", "a", "-j", "{"), "--json-schema: not JSON"),
        (("-p", "a", "-j", "[]"), "a schema is an object"),
        (("-p", "a", "-jf", "none.json"), "none.json: No such file"),
        (("-p", "a", "-j", "{}", "--tools", "broken.py"), "do not go together"),
        (("-p", "a", "--chat-template-file", "none"), "none: No such file"),
        (("-p", "a", "--chat-template-file", "/dev/null"), "/dev/null: an empty chat template"),
        (("-p", "a", "--max-rounds", "0"), "0 is not in the range"),
        (("-p", "a", "--draft", "none.gguf"), "none.gguf: no such file"),
        (("-p", "a", "--draft", "broken.py"), "broken.py: not a GGUF file"),
        (("-p", "a", "--draft-max", "49"), "49 is not in the range"),
        (("-p", "word " * 300, "-c", "256"), "more than the context of 256 takes"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Run, args: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken.py").write_text("x = 1\ndef f(:\n")
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"exaone4-gguf: .*\n", err)
    assert message in err


def test_what_is_no_model(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_text("text")
    for name, message in (("a.gguf", "not a GGUF file"), ("b.gguf", "no such file")):
        code, out, err = run("-p", "Hello!", file=tmp_path / name)
        assert (code, out, err) == (2, "", f"exaone4-gguf: {tmp_path / name}: {message}\n")


def test_importing_the_command_is_quick() -> None:
    script = "import exaone4_gguf.commands.chat, sys; print({'rich', 'numpy', 'jinja2', 'llama_cpp'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_a_cache_of_an_unknown_type(run: Run) -> None:
    code, out, err = run("-ctk", "q9", "-p", "Hi")
    assert (code, out) == (2, "")
    assert "'q9' is none of f32, f16" in err
