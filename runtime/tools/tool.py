"""The tools a model may call: what it is told of them, and whether the arguments it gives fit."""

from __future__ import annotations

import functools
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from exaone4_gguf.errors import ToolError
from exaone4_gguf.runtime.events import Message, ToolCall
from exaone4_gguf.runtime.partial_json.completion import dump
from exaone4_gguf.runtime.partial_json.lenient import UnreadableError, read
from exaone4_gguf.runtime.schema.check import problems_of
from exaone4_gguf.runtime.schema.coerce import coerce as coerced
from exaone4_gguf.runtime.schema.form import schema_problem
from exaone4_gguf.runtime.schema.json_types import Schema, is_types, shortened, types_of
from exaone4_gguf.runtime.schema.reading import standard
from exaone4_gguf.runtime.tools.from_function import UnsupportedHint, call_function, function_schema, takes, whole

__all__ = ["Fitted", "Tool", "ToolError", "as_tool", "as_tools", "check_arguments", "coerce", "with_coerced_arguments"]

_log = logging.getLogger(__name__)

# The template writes the name between quotes, as it is.
_NAME = re.compile(r"[^\s\"'\\<>{}]{1,128}")
_NO_PARAMETERS: Schema = {"type": "object", "properties": {}}


@dataclass(frozen=True)
class Fitted:
    """Arguments with their types as the schema wants them, and what is wrong with them all the same."""

    arguments: Any
    problems: list[str]


@dataclass(frozen=True)
class Tool:
    """A function the model may call. ``parameters`` is a JSON schema, with the types of JSON or of any language;
    ``function`` is there if we can run it, ``given`` if it was described by a dictionary.
    """

    name: str
    description: str = ""
    parameters: Schema = field(default_factory=lambda: dict(_NO_PARAMETERS))
    function: Callable[..., Any] | None = None
    given: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)

    def to_openai(self) -> dict[str, Any]:
        """The tool as OpenAI's clients write it, which is what the chat template prints: as it was given, if it was."""
        if self.given is not None:
            return dict(self.given)
        described = {"description": self.description} if self.description else {}
        function = {"name": self.name, **described, "parameters": dict(self.parameters)}
        return {"type": "function", "function": function}

    @functools.cached_property
    def schema(self) -> Schema:
        """What ``parameters`` mean, in JSON Schema's own words: calls are checked against it, and held to it."""
        meant = standard(self.parameters, _note_unknown)
        if not isinstance(meant, dict) or not is_types(meant.get("type", "object")):
            return cast(Schema, meant)
        if "object" in (types_of(meant) or ["object"]):
            return {**meant, "type": "object"}
        return meant

    @functools.cached_property
    def problem(self) -> str | None:
        """What is wrong with the parameters, at which key; None if nothing is."""
        problem = _json_problem(self.parameters) or schema_problem(self.schema)
        if problem is None and self.schema.get("type") != "object":
            problem = f"parameters.type must be 'object', not {shortened(self.parameters['type'])!r}"
        return problem

    @property
    def properties(self) -> Mapping[str, Any]:
        """The schema of each parameter, in the order they were given."""
        named: Mapping[str, Any] = self.schema.get("properties", {})
        return named

    def fit(self, arguments: Any) -> Fitted:
        """The arguments coerced to the schema, and checked against it and against the function's own names."""
        if not isinstance(arguments, dict):
            return Fitted(arguments, [f"{shortened(arguments)!r} is not an object"])
        fitted = coerced(self.schema, arguments)
        return Fitted(fitted, problems_of(self.schema, fitted) + self._unknown(fitted))

    def _unknown(self, arguments: Mapping[str, Any]) -> list[str]:
        if self.function is None or self.schema.get("additionalProperties") is False:
            return []
        return [f"{name}: unknown argument" for name in arguments if not takes(self.function, name)]

    def run(self, arguments: Mapping[str, Any]) -> Any:
        """Call the function with arguments that ``fit`` let pass. It may raise anything.

        Raises:
            ToolError: the tool is a description only.
        """
        if self.function is None:
            raise ToolError(f"tool {self.name!r} has no function to run")
        return call_function(self.function, arguments)


def as_tool(obj: Any) -> Tool:
    """A tool from OpenAI's dictionary (whole, or the inner one alone), from a Python function, or as it is.

    Raises:
        ToolError: it is none of these, its schema means nothing (at which key), or the function has a parameter
            that cannot be described (which, and why).
    """
    if isinstance(obj, Tool):
        tool = obj
    elif isinstance(obj, Mapping):
        tool = _from_mapping(obj)
    elif callable(obj) and not isinstance(obj, type):
        tool = _from_function(obj)
    else:
        raise ToolError(f"{shortened(obj)!r} is not a tool: give a function, or OpenAI's dictionary of one")
    if tool.problem:
        raise ToolError(f"tool {tool.name!r}: {tool.problem}")
    return tool


def as_tools(objects: Iterable[Any]) -> tuple[Tool, ...]:
    """All of them, with different names.

    Raises:
        ToolError: as ``as_tool``, or two have one name.
    """
    tools = tuple(as_tool(obj) for obj in objects)
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise ToolError(f"two tools are called {name!r}")
    return tools


def check_arguments(schema: Schema, value: Any) -> list[str]:
    """What is wrong with a value: one line for each problem, none if it fits what the schema means."""
    return problems_of(standard(schema), value)


def coerce(schema: Schema, value: Any) -> Any:
    """The value with the types that the schema means, see ``runtime.schema.coerce``."""
    return coerced(standard(schema), value)


def _from_mapping(obj: Mapping[str, Any]) -> Tool:
    if obj.get("type", "function") != "function":
        raise ToolError(f"a tool has the type {shortened(obj['type'])!r}; only 'function' is known")
    if "function" in obj:
        inner = obj["function"]
    else:
        inner = {key: value for key, value in obj.items() if key != "type"}
    if not isinstance(inner, Mapping):
        raise ToolError(f"a tool's 'function' must be an object, not {shortened(inner)}")
    name = _checked_name(inner.get("name"))
    description = inner.get("description") or ""
    if not isinstance(description, str):
        raise ToolError(f"tool {name!r}: description must be a string, not {shortened(description)}")
    given = obj if "function" in obj else {"type": "function", "function": inner}
    parameters: Any = inner.get("parameters")
    if not parameters and not isinstance(parameters, bool | list):
        parameters = dict(_NO_PARAMETERS)
    return Tool(name, description, parameters, given=given)


def _checked_name(name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ToolError(
            f"a tool's name must be a short text without blanks, quotes or brackets, not {shortened(name)!r}"
        )
    return name


def _json_problem(schema: Any) -> str | None:
    try:
        json.dumps(schema, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as e:
        return f"parameters cannot be written as JSON ({e})"
    return None


_MAX_NOTED = 100
_noted: set[str] = set()


def _note_unknown(word: str) -> None:
    """Once for each type, and for no more of them than anyone reads."""
    if word not in _noted and len(_noted) < _MAX_NOTED:
        _noted.add(word)
        _log.warning("the type %r of a tool's parameter is not known; it is taken for anything", shortened(word))


def _from_function(function: Callable[..., Any]) -> Tool:
    name = getattr(whole(function), "__name__", type(function).__name__)
    try:
        description, parameters = function_schema(function)
    except (UnsupportedHint, ValueError, TypeError) as e:
        raise ToolError(f"function {name!r}: {e}") from e
    return Tool(_checked_name(name), description, parameters, function)


def with_coerced_arguments(message: Message, tools: Iterable[Tool]) -> Message:
    """The message with the arguments of its calls as the tools' schemas have their types.

    A call that was streamed keeps what the model wrote, say "6" for an integer; here it becomes 6, and the call's
    ``repaired`` names ``coerced_types``. Arguments that do not fit all the same stay as they are.
    """
    by_name = {tool.name: tool for tool in tools}
    calls = tuple(
        _coerced_call(call, by_name[call.name]) if call.name in by_name else call for call in message.tool_calls
    )
    return replace(message, tool_calls=calls)


def _coerced_call(call: ToolCall, tool: Tool) -> ToolCall:
    try:
        written = read(call.arguments)
    except UnreadableError:
        return call
    fitted = tool.fit(written)
    if fitted.problems or dump(fitted.arguments) == dump(written):
        return call
    repaired = "+".join(filter(None, (call.repaired, "coerced_types")))
    return replace(call, arguments=dump(fitted.arguments), repaired=repaired)
