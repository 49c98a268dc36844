"""A plain Python function as the schema of a tool, and a call's JSON arguments as what the function expects."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

from exaone4_gguf.format.nesting import SCHEMA_LEVELS

_SIMPLE: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    None: {"type": "null"},
    type(None): {"type": "null"},
    list: {"type": "array"},
    dict: {"type": "object"},
    Any: {},
}
_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_UNIONS = (typing.Union, types.UnionType)
_LISTS = (list, Sequence)
_MAPPINGS = (dict, Mapping)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Return|Raises|Yields|Examples?|Notes?):\s*$")
_ARGUMENT = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")


class UnsupportedHint(TypeError):
    """A type hint that JSON has no counterpart for; ``tools.py`` says which parameter has it."""


def function_schema(function: Callable[..., Any]) -> tuple[str, dict[str, Any]]:
    """The description and the parameters' JSON schema, from the docstring (Google's style) and the type hints.

    Raises:
        UnsupportedHint: a parameter has no type hint, one that JSON has no counterpart for, or cannot be named
            in a call. All such parameters are told.
        ValueError: it has no signature.
    """
    description, about = parse_docstring(inspect.getdoc(whole(function)) or "")
    parameters = inspect.signature(function).parameters
    hints = _hints(function)
    properties: dict[str, Any] = {}
    required, problems = [], []
    for name, parameter in parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            continue
        try:
            properties[name] = _described(_parameter_schema(parameter, hints), about.get(name))
        except UnsupportedHint as e:
            problems.append(f"parameter {name!r}{e}")
            continue
        if parameter.default is inspect.Parameter.empty:
            required.append(name)
        else:
            properties[name] |= _default(parameter.default)
    if problems:
        raise UnsupportedHint("; ".join(problems))
    return description, {"type": "object", "properties": properties, "required": required}


def whole(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of which some arguments are given already (``functools.partial``), or itself."""
    if isinstance(function, functools.partial):
        return whole(function.func)
    return function


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether the function can be called with an argument of that name."""
    parameters = inspect.signature(function).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return True
    return name in parameters and parameters[name].kind in _NAMED


def call_function(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """Call it with JSON arguments, those hinted as an Enum or a dataclass made to one. It may raise anything."""
    hints = _hints(function)
    return function(**{name: _converted(hints.get(name, Any), value) for name, value in arguments.items()})


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    function = whole(function)
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception as e:  # they are expressions, and may raise anything
        raise UnsupportedHint(f"its type hints cannot be read ({_in_one_line(e)})") from e


def _parameter_schema(parameter: inspect.Parameter, hints: Mapping[str, Any]) -> dict[str, Any]:
    """Raises UnsupportedHint with what comes behind the parameter's name in a message."""
    if parameter.kind not in _NAMED:
        raise UnsupportedHint(f" has no name in a call: {parameter} is positional only")
    if parameter.name not in hints:
        raise UnsupportedHint(" has no type hint")
    try:
        return hint_schema(hints[parameter.name], 0)
    except UnsupportedHint as e:
        raise UnsupportedHint(f": {e}") from None
    except Exception as e:  # a hint can be any object, and do anything when it is looked at
        raise UnsupportedHint(f": its type hint cannot be read ({_in_one_line(e)})") from e


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _described(schema: dict[str, Any], description: str | None) -> dict[str, Any]:
    if description:
        return schema | {"description": description}
    return schema


def _default(value: Any) -> dict[str, Any]:
    value = value.value if isinstance(value, Enum) else value
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return {}
    if value is None:
        return {}
    return {"default": value}


def hint_schema(hint: Any, depth: int) -> dict[str, Any]:
    """The JSON schema of one type hint.

    Raises:
        UnsupportedHint: JSON has no counterpart for it, or it contains itself.
    """
    if depth > SCHEMA_LEVELS // 4:
        raise UnsupportedHint("the type contains itself")
    simple = next((schema for known, schema in _SIMPLE.items() if hint is known), None)
    if simple is not None:
        return dict(simple)
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is not None:
        return _generic_schema(hint, origin, parts, depth + 1)
    return _class_schema(hint, depth + 1)


def _generic_schema(hint: Any, origin: Any, parts: tuple[Any, ...], depth: int) -> dict[str, Any]:
    if origin is typing.Annotated:
        notes = [note for note in parts[1:] if isinstance(note, str)]
        return _described(hint_schema(parts[0], depth), notes[0] if notes else None)
    if origin is typing.Literal:
        return _choices(parts)
    if origin in _UNIONS:
        return _union(parts, depth)
    if origin in _LISTS:
        return {"type": "array", **({"items": hint_schema(parts[0], depth)} if parts else {})}
    if origin in _MAPPINGS and not parts:
        return {"type": "object"}
    if origin in _MAPPINGS and parts[0] is str:
        return {"type": "object", "additionalProperties": hint_schema(parts[1], depth)}
    raise UnsupportedHint(f"the type hint {hint} has no counterpart in JSON")


def _choices(values: Sequence[Any]) -> dict[str, Any]:
    if not values or not all(type(value) in _JSON_TYPES for value in values):
        raise UnsupportedHint(f"the choices {list(values)} are not all strings, numbers, booleans or None")
    kinds = list(dict.fromkeys(_JSON_TYPES[type(value)] for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": list(values)}


def _union(parts: tuple[Any, ...], depth: int) -> dict[str, Any]:
    branches = [hint_schema(part, depth) for part in parts]
    if all(branch.keys() == {"type"} for branch in branches):
        return {"type": [branch["type"] for branch in branches]}
    return {"anyOf": branches}


def _class_schema(hint: Any, depth: int) -> dict[str, Any]:
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _choices([member.value for member in hint])
    if typing.is_typeddict(hint):
        return _typed_dict_schema(hint, depth)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        required = {f.name for f in dataclasses.fields(hint) if _has_no_default(f)}
        return _fields_schema(typing.get_type_hints(hint, include_extras=True), required, depth)
    raise UnsupportedHint(f"the type hint {getattr(hint, '__name__', hint)} has no counterpart in JSON")


def _typed_dict_schema(hint: Any, depth: int) -> dict[str, Any]:
    """Python does not see NotRequired in annotations that are strings, so ``__required_keys__`` is not enough."""
    hints = typing.get_type_hints(hint, include_extras=True)
    optional = {name for name, inner in hints.items() if typing.get_origin(inner) is typing.NotRequired}
    explicit = {name for name, inner in hints.items() if typing.get_origin(inner) is typing.Required}
    return _fields_schema(hints, hint.__required_keys__ - optional | explicit, depth)


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _fields_schema(hints: Mapping[str, Any], required: typing.AbstractSet[str], depth: int) -> dict[str, Any]:
    properties = {name: hint_schema(_without_qualifier(hint), depth) for name, hint in hints.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name in required],
        "additionalProperties": False,
    }


def _without_qualifier(hint: Any) -> Any:
    """The type in TypedDict's Required[...] and NotRequired[...]."""
    if typing.get_origin(hint) in (typing.Required, typing.NotRequired):
        return typing.get_args(hint)[0]
    return hint


def _converted(hint: Any, value: Any) -> Any:
    """The value as the hint's own kind where that is a class of Python's; anything else stays as it is."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _converted(parts[0], value)
    if origin in _UNIONS:
        return _converted_to_one(parts, value)
    if origin in _LISTS and parts and isinstance(value, list):
        return [_converted(parts[0], item) for item in value]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        hints = typing.get_type_hints(hint, include_extras=True)
        return hint(**{key: _converted(hints[key], item) for key, item in value.items()})
    return value


def _converted_to_one(parts: tuple[Any, ...], value: Any) -> Any:
    for part in parts:
        try:
            converted = _converted(part, value)
        except (ValueError, TypeError, KeyError):
            continue
        if converted is not value:
            return converted
    return value


def parse_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description, which is what stands before the first section, and what ``Args:`` says of each name."""
    description: list[str] = []
    arguments: dict[str, str] = {}
    section, name = "", ""
    for line in text.splitlines():
        heading = _SECTION.match(line)
        if heading:
            section, name = heading[1], ""
        elif not section:
            description.append(line)
        elif section in ("Args", "Arguments", "Parameters"):
            name = _read_argument(line, name, arguments)
    return "\n".join(description).strip(), arguments


def _read_argument(line: str, name: str, arguments: dict[str, str]) -> str:
    """Note what a line of the section says; the name it is about. Deeper lines continue the one before."""
    indent = len(line) - len(line.lstrip())
    entry = _ARGUMENT.match(line.strip())
    if entry and (not name or indent <= 4):
        arguments[entry[1]] = entry[2]
        return entry[1]
    if name and line.strip():
        arguments[name] = f"{arguments[name]} {line.strip()}".strip()
    return name
