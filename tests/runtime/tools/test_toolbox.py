"""Tools from a file, run with permission, their errors as results."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.errors import ToolError
from exaone4_gguf.runtime.events import ToolCall
from exaone4_gguf.runtime.tools.tool import Tool
from exaone4_gguf.runtime.tools.toolbox import AskFirst, Toolbox, as_call, load_tools, refuse
from tests.scripted import roll_dice

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a file of tools."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text: str) -> Path:
        path = tmp_path / "my_tools.py"
        path.write_text(text)
        return path

    return write


def run(function: Callable[..., Any], arguments: str = "{}") -> str:
    return Toolbox([function]).run(ToolCall("id", function.__name__, arguments))


def test_a_call_is_fitted_and_run() -> None:
    assert run(roll_dice, '{"sides": "6"}') == "5"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ("{}", "do not fit: sides"),
        ('{"sides": "many"}', "do not fit: sides"),
        ('{"sides": 6, "colour": 1}', "colour: unknown argument"),
        ("6", "is not an object"),
        ("{", "not JSON"),
    ],
)
def test_wrong_arguments_are_told_to_the_model(arguments: str, error: str) -> None:
    assert error in json.loads(run(roll_dice, arguments))["error"]


def test_an_unknown_tool_is_told_to_the_model() -> None:
    assert "no tool 'fly'" in Toolbox([roll_dice]).run(ToolCall("id", "fly", "{}"))


def result_of(value: Any) -> str:
    def give() -> Any:
        return value

    return run(give)


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("3.10", "3.10"),
        ("안녕", "안녕"),
        (None, "null"),
        ({"a": [1, "둘"]}, '{"a": [1, "둘"]}'),
        (math.inf, "inf"),
        ({1}, "{1}"),
        (Path("a"), "a"),
        (b"\x00", "b'\\x00'"),
    ],
)
def test_results_become_text(value: Any, content: str) -> None:
    assert result_of(value) == content


def test_an_endless_result_becomes_text() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert result_of(loop) == "[[...]]"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ZeroDivisionError("by\nzero"), "ZeroDivisionError: by zero"),
        (SystemExit(), "SystemExit"),
        (KeyError("a"), "'a'"),
    ],
)
def test_errors_are_told_to_the_model(error: BaseException, told: str) -> None:
    def fail() -> None:
        raise error

    assert told in json.loads(run(fail))["error"]


def test_ctrl_c_passes() -> None:
    def wait() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(wait)


def test_coroutines_run_and_prints_stay_out_of_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    async def later() -> int:
        print("thinking")
        return 7

    assert run(later) == "7"
    assert capsys.readouterr() == ("", "thinking\n")


def test_nobody_to_ask() -> None:
    assert "--yes" in Toolbox([roll_dice], refuse).run(ToolCall("id", "roll_dice", '{"sides": 6}'))


@pytest.mark.parametrize(
    ("replies", "ran"),
    [
        (["y", "n"], [True, False]),
        (["YES", " no "], [True, False]),
        (["a"], [True, True]),
        (["", "what", "always"], [True, True]),
        ([None, None], [False, False]),
    ],
)
def test_the_user_is_asked(replies: list[str | None], ran: list[bool]) -> None:
    given = iter(replies)
    asked: list[str] = []

    def question(text: str) -> str | None:
        asked.append(text)
        return next(given)

    toolbox = Toolbox([roll_dice], AskFirst(question))
    results = [toolbox.run(ToolCall("id", "roll_dice", '{"sides": 6}')) for _ in range(2)]
    assert [result == "5" for result in results] == ran
    assert asked[0] == "Run roll_dice(sides=6)? [y]es, [n]o, [a]lways: "
    assert list(given) == []


def test_calls_are_written_as_python_writes_them() -> None:
    assert as_call("f", {"a": "둘", "b": [1]}) == 'f(a="둘", b=[1])'


def test_a_key_that_is_no_keyword_is_quoted() -> None:
    assert as_call("f", {"a=1)\n$ ": 2}) == 'f("a=1)\\n$ "=2)'


def names(tools: tuple[Tool, ...]) -> list[str]:
    return [tool.name for tool in tools]


def test_the_public_functions_of_a_file(write: Write) -> None:
    file = write(
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom json import dumps\n"
        "@dataclass\nclass Place:\n    name: str\n"
        "def visit(place: Place) -> str:\n    '''Go there.'''\n    return place.name\n"
        "def _hidden() -> None: ...\nprint('loaded')\n"
    )
    tools = load_tools(file)
    assert names(tools) == ["visit"]
    assert Toolbox(tools).run(ToolCall("id", "visit", '{"place": {"name": "Seoul"}}')) == "Seoul"


def test_all_names_the_tools(write: Write) -> None:
    assert names(load_tools(write("from os import getcwd\n__all__ = ['getcwd']\ndef other() -> None: ...\n"))) == [
        "getcwd"
    ]


def test_a_file_imports_its_neighbours(write: Write, tmp_path: Path) -> None:
    (tmp_path / "neighbour_of_tools.py").write_text("N = 3\n")
    file = write("def n() -> int:\n    import neighbour_of_tools\n    return neighbour_of_tools.N\n")
    assert Toolbox(load_tools(file)).run(ToolCall("id", "n", "{}")) == "3"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef f(:\n", r"my_tools.py, line 2: SyntaxError: invalid syntax"),
        ("\n\nimport no_such_module\n", r"line 3: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def g():\n    1 / 0\n\ng()\n", r"line 2: ZeroDivisionError"),
        ("import sys\nsys.exit('bye')\n", r"line 2: SystemExit: bye"),
        ("\ndef f(x): ...\n", r"line 2: function 'f': parameter 'x' has no type hint"),
        ("__all__ = ['f']\n", r"__all__ names 'f', which is no function"),
        (
            "def f(x): ...\ndef g(a, *b: int, c: set[int] = set()): ...\ndef h() -> int: ...\n",
            r"my_tools.py, line 1: function 'f': parameter 'x' has no type hint; "
            r"line 2: function 'g': parameter 'a' has no type hint; parameter 'b' has no name in a call: .*; "
            r"parameter 'c': the type hint set\[int\] has no counterpart in JSON$",
        ),
        ("__all__ = ['a', 'f', 'b']\ndef f(x): ...\n", r"names 'a', .*; line 2: function 'f': .*; __all__ names 'b'"),
        ("__all__ = 5\n", r"my_tools.py: __all__ must be a list of names"),
        ("def f(x: '1 / 0'): ...\n", r"line 1: function 'f': its type hints cannot be read \(ZeroDivisionError"),
        ("x = 1\n", r"my_tools.py: it defines no public functions"),
        ("x = '\0'\n", r"my_tools.py: \w+: source code string cannot contain null bytes"),
    ],
)
def test_a_broken_file_is_one_line(write: Write, text: str, message: str) -> None:
    with pytest.raises(ToolError, match=message) as raised:
        load_tools(write(text))
    assert "\n" not in str(raised.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("")
    for path, message in ((tmp_path, "a folder"), (tmp_path / "b.py", "no such file"), (tmp_path / "a.txt", "not a P")):
        with pytest.raises(ToolError, match=message):
            load_tools(path)
