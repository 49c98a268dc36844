"""The JSON values that models write in place of a tool call, each put right by a function of its own.

Several calls are a tuple: lists are values like others until one is found to hold calls.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

from exaone4_gguf.runtime.partial_json.lenient import EVERYTHING, UnreadableError, read
from exaone4_gguf.runtime.tools.repair.texts import Offered, call
from exaone4_gguf.runtime.tools.tool import Tool


def _each(repair: Callable[[dict[str, Any], Offered], Any]) -> Callable[[Any, Offered], Any]:
    """Make the repair of one call one that takes it, or each of several."""

    @wraps(repair)
    def apply(value: Any, offered: Offered) -> Any:
        if not isinstance(value, tuple):
            if isinstance(value, dict):
                return repair(value, offered)
            return None
        better = [repair(item, offered) if isinstance(item, dict) else None for item in value]
        if all(item is None for item in better):
            return None
        return tuple(old if new is None else new for old, new in zip(value, better, strict=True))

    return apply


_WRAPPERS = ("tool_call", "tool_calls", "function_call", "function_calls", "calls")
_NAME_KEYS = ("function", "tool", "tool_name", "function_name", "action")
_ARGUMENT_KEYS = ("parameters", "params", "args", "input", "kwargs", "action_input", "function_args")
_LABELS = frozenset({"id", "type", "index"})
_NAME_IN_KEY = re.compile(r"name[\s_:=.-]*(.+)")
_MAX_CALLS = 128


def wrapped(value: Any, offered: Offered) -> Any:
    """The calls under a key that only says that they are calls."""
    if not isinstance(value, dict) or len(value) != 1:
        return None
    ((key, inner),) = value.items()
    if key in _WRAPPERS and key not in offered and isinstance(inner, dict | list):
        return inner
    return None


def list_of_calls(value: Any, offered: Offered) -> Any:
    """The entries of a list, as several calls."""
    if isinstance(value, list) and 0 < len(value) <= _MAX_CALLS:
        return tuple(value)
    return None


@_each
def nested_function(value: dict[str, Any], offered: Offered) -> Any:
    """The function within OpenAI's form of a call."""
    inner = value.get("function")
    if isinstance(inner, dict) and "name" not in value:
        return inner
    return None


@_each
def tool_as_key(value: dict[str, Any], offered: Offered) -> Any:
    """The name as the only key, with the arguments below it."""
    key = next(iter(value)) if len(value) == 1 else ""
    if key in offered:
        return call(key, value[key])
    return None


@_each
def name_in_key(value: dict[str, Any], offered: Offered) -> Any:
    """As before, with ``name`` run together with the name."""
    key = next(iter(value)) if len(value) == 1 else ""
    found = _NAME_IN_KEY.fullmatch(key)
    if found and found[1] in offered:
        return call(found[1], value[key])
    return None


@_each
def other_keys(value: dict[str, Any], offered: Offered) -> Any:
    """Keys that mean ``name`` and ``arguments``, as long as it is clear which."""
    name_key = _the_one("name", _NAME_KEYS, value)
    if not name_key or not isinstance(value[name_key], str) or value[name_key] not in offered:
        return None
    arguments_key = _the_one("arguments", _ARGUMENT_KEYS, value)
    if (name_key, arguments_key) in (("name", "arguments"), ("name", None)):
        return None
    keys = {name_key: "name"} | ({arguments_key: "arguments"} if arguments_key else {})
    return {keys.get(key, key): item for key, item in value.items()}


def _the_one(key: str, others: tuple[str, ...], value: dict[str, Any]) -> str | None:
    """The right key if it is there, else the only one of the others that is."""
    found = [key] if key in value else [other for other in others if other in value]
    if len(found) == 1:
        return found[0]
    return None


def _tool_of(value: dict[str, Any], offered: Offered) -> Tool | None:
    name = value.get("name")
    if isinstance(name, str):
        return offered.get(name)
    return None


@_each
def flat_arguments(value: dict[str, Any], offered: Offered) -> Any:
    """Arguments that stand beside the name."""
    tool = _tool_of(value, offered)
    beside = {key: item for key, item in value.items() if key != "name"}
    if tool is None or "arguments" in value or not beside or not beside.keys() <= tool.properties.keys():
        return None
    return call(tool.name, beside)


@_each
def no_arguments(value: dict[str, Any], offered: Offered) -> Any:
    """A call that leaves its arguments out, or has null there."""
    tool = _tool_of(value, offered)
    nothing_else = value.keys() - _LABELS <= {"name", "arguments"}
    if tool and nothing_else and value.get("arguments") is None:
        return call(tool.name, {})
    return None


@_each
def arguments_as_text(value: dict[str, Any], offered: Offered) -> Any:
    """The arguments as a string that holds JSON, as OpenAI's clients have them."""
    text = value.get("arguments")
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return None
    try:
        return value | {"arguments": read(text, EVERYTHING)}
    except UnreadableError:
        return None


@_each
def bare_argument(value: dict[str, Any], offered: Offered) -> Any:
    """A value in place of the arguments of a tool with one parameter; EXAONE's prompt allows it."""
    tool, argument = _tool_of(value, offered), value.get("arguments")
    if tool is None or len(tool.properties) != 1 or argument is None or isinstance(argument, dict):
        return None
    if isinstance(argument, str) and argument.lstrip().startswith("{"):
        return None
    return value | {"arguments": {next(iter(tool.properties)): argument}}
