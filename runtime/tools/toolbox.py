"""The functions that a model's calls run: taken from a Python file, allowed by the user, never raising.

What goes wrong is handed to the model as the call's result, ``{"error": ...}``; it can do better next time.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from exaone4_gguf.errors import ToolError
from exaone4_gguf.runtime.events import ToolCall
from exaone4_gguf.runtime.partial_json.completion import dump
from exaone4_gguf.runtime.partial_json.lenient import UnreadableError, read
from exaone4_gguf.runtime.tools.tool import Tool, as_tool, as_tools

Permit = Callable[[Tool, Mapping[str, Any]], str | None]
"""Says whether a call may run: None if so, else the reason why not, which the model is told."""


def allow(tool: Tool, arguments: Mapping[str, Any]) -> str | None:
    """Every call may run."""
    return None


def refuse(tool: Tool, arguments: Mapping[str, Any]) -> str | None:
    """None may: there is nobody to ask."""
    return "not run: there is no terminal to ask the user for permission (--yes runs tools without asking)"


class AskFirst:
    """The user decides on each call, or once for all calls of a tool.

    Args:
        question: puts a question, and returns the reply; None is the end of all replies.
    """

    def __init__(self, question: Callable[[str], str | None]) -> None:
        self._question = question
        self._always: set[str] = set()

    def __call__(self, tool: Tool, arguments: Mapping[str, Any]) -> str | None:
        """Ask, unless the user said always."""
        if tool.name in self._always:
            return None
        decision = self._decided(f"Run {as_call(tool.name, arguments)}? [y]es, [n]o, [a]lways: ")
        if decision == "always":
            self._always.add(tool.name)
        if decision == "no":
            return "not run: the user refused it"
        return None

    def _decided(self, text: str) -> str:
        while (reply := self._question(text)) is not None:
            for decision in ("yes", "no", "always"):
                if reply and decision.startswith(reply.strip().lower() or "?"):
                    return decision
        return "no"


class Toolbox:
    """Tools, and the permission to run them.

    Args:
        tools: functions, or what else ``as_tools`` takes; only functions can be run.
        permit: asked before each call, with arguments that fit.

    Raises:
        ToolError: one of them is no tool.
    """

    def __init__(self, tools: Iterable[Any] = (), permit: Permit = allow) -> None:
        self.tools = as_tools(tools)
        self._by_name = {tool.name: tool for tool in self.tools}
        self._permit = permit

    def run(self, call: ToolCall) -> str:
        """The result of a call as a message's content. Only Ctrl-C raises."""
        tool = self._by_name.get(call.name)
        if tool is None:
            return failure(f"there is no tool {call.name!r}")
        try:
            fitted = tool.fit(read(call.arguments))
        except UnreadableError as e:
            return failure(f"the arguments are not JSON: {e}")
        if fitted.problems:
            return failure(f"the arguments do not fit: {'; '.join(fitted.problems)}")
        refusal = self._permit(tool, fitted.arguments)
        if refusal is not None:
            return failure(refusal)
        return _run(tool, fitted.arguments)


def failure(reason: str) -> str:
    """A result that tells the model what went wrong."""
    return dump({"error": reason})


def as_call(name: str, arguments: Mapping[str, Any]) -> str:
    """A call as Python writes it, to be read by people."""
    return f"{name}({', '.join(f'{_as_keyword(key)}={dump(value)}' for key, value in arguments.items())})"


def _as_keyword(key: str) -> str:
    """The key as it is, or quoted where Python could not have it as a keyword."""
    if key.isidentifier():
        return key
    return dump(key)


def _run(tool: Tool, arguments: Mapping[str, Any]) -> str:
    """Run it; what it prints goes to stderr, because stdout is for answers."""
    try:
        with redirect_stdout(sys.stderr):
            value = tool.run(arguments)
            return _content(asyncio.run(value) if inspect.iscoroutine(value) else value)
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        return failure(_named(e))


def _content(value: Any) -> str:
    """Text as it is, JSON as JSON, anything else as ``str`` shows it."""
    if isinstance(value, str):
        return value
    try:
        json.dumps(value, allow_nan=False)
        return dump(value)
    except (TypeError, ValueError, RecursionError):
        return str(value)


def _named(error: BaseException) -> str:
    """The error in one line, with its kind."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return f"{type(error).__name__}: {' '.join(text.split())}".removesuffix(": ")


def load_tools(path: str | Path) -> tuple[Tool, ...]:
    """The public functions that a Python file defines, as tools; those it names in ``__all__``, if it has that.

    The file runs as a module, and can import its neighbours.

    Raises:
        ToolError: it cannot be read, fails when it runs (at which line), has no functions, or has some that cannot
            be described to the model: all of them are told.
    """
    path = Path(path)
    if not path.is_file():
        raise ToolError(f"{path}: {'it is a folder' if path.is_dir() else 'no such file'}")
    module = _imported(path)
    tools, problems = [], []
    for name, function in _functions(path, module):
        try:
            tools.append(_described(name, function))
        except ToolError as e:
            problems.append(str(e))
    if problems:
        raise ToolError(f"{path}{', ' if problems[0].startswith('line') else ': '}{'; '.join(problems)}")
    if not tools:
        raise ToolError(f"{path}: it defines no public functions")
    return as_tools(tools)


def _imported(path: Path) -> ModuleType:
    name = f"_tools_{path.stem}"
    location = path.resolve()
    spec = importlib.util.spec_from_file_location(name, location)
    if spec is None or spec.loader is None:
        raise ToolError(f"{path}: not a Python file (.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and type hints look for it
    folder = str(location.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as e:
        raise ToolError(f"{path}{_line(e, str(location))}: {_named(e)}") from None
    return module


def _line(error: BaseException, file: str) -> str:
    """Where in the file the error is: its own line for a syntax error, else the deepest one that ran."""
    if isinstance(error, SyntaxError) and error.filename == file:
        return f", line {error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    if lines:
        return f", line {lines[-1]}"
    return ""


def _functions(path: Path, module: ModuleType) -> Iterator[tuple[str, Any]]:
    """The names that may be tools, and what they name, None for nothing."""
    names = getattr(module, "__all__", None)
    if names is None:
        public = [(name, value) for name, value in vars(module).items() if not name.startswith("_")]
        yield from ((name, f) for name, f in public if inspect.isfunction(f) and f.__module__ == module.__name__)
        return
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ToolError(f"{path}: __all__ must be a list of names")
    yield from ((name, getattr(module, name, None)) for name in names)


def _described(name: str, function: Any) -> Tool:
    """Raises ToolError with the line that it is in, if there is one."""
    if not callable(function):
        raise ToolError(f"__all__ names {name!r}, which is no function in it")
    try:
        return as_tool(function)
    except ToolError as e:
        code = getattr(function, "__code__", None)
        raise ToolError(f"line {code.co_firstlineno}: {e}" if code else str(e)) from None
