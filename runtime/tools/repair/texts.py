"""The texts that models write in place of a JSON tool call, each read by a function of its own.

Every function takes the body, an ``Unread`` text, and gives the call (or calls) it holds as values, or None where
the text is of another form. Whether the tool exists and the arguments fit is for ``repairs.py`` to check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from exaone4_gguf.runtime.partial_json.lenient import EVERYTHING, Loose, LooseReader, UnreadableError, read
from exaone4_gguf.runtime.tools.tool import Tool

Offered: TypeAlias = Mapping[str, Tool]


@dataclass(frozen=True)
class Unread:
    """The text of a body that nothing has made sense of yet."""

    text: str


def reread(text: str) -> Any:
    """The value of a JSON text, or the text unread."""
    try:
        return read(text)
    except UnreadableError:
        return Unread(text)


def call(name: str, arguments: Any) -> dict[str, Any]:
    """A call as it should be."""
    return {"name": name, "arguments": arguments}


_FENCE = "```"
_LANGUAGE = re.compile(r"[\w-]*+")


def code_fence(value: Any, offered: Offered) -> Any:
    """What stands in a Markdown code fence."""
    parts = value.text.split(_FENCE) if isinstance(value, Unread) else []
    if len(parts) != 3 or parts[0].strip() or parts[2].strip():
        return None
    return reread(_LANGUAGE.sub("", parts[1], count=1))


def loosely(allowed: Loose) -> Callable[[Any, Offered], Any]:
    """A repair that reads an object or a list with these liberties."""

    def apply(value: Any, offered: Offered) -> Any:
        if not isinstance(value, Unread) or value.text.lstrip()[:1] not in ("{", "["):
            return None
        try:
            return read(value.text, allowed)
        except UnreadableError:
            return None

    return apply


# Blanks and names are matched possessively (*+): giving some of them back never helps, and costs quadratic time.
_ARG_NAME = re.compile(r"\s*+([^\s<]++)\s*+(?=<arg_key>)")
_ARG = re.compile(r"<arg_key>([^<]*+)</arg_key>\s*+<arg_value>(.*?)</arg_value>\s*+", re.DOTALL)
_FUNCTION = re.compile(r"\s*+<function=([^\s<>]++)>\s*+")
_PARAMETER = re.compile(r"<parameter=([^\s<>]++)>\n?(.*?)\n?</parameter>\s*+(?:</function>\s*+\Z)?", re.DOTALL)


def arg_tags(value: Any, offered: Offered) -> Any:
    """The name, then ``<arg_key>`` and ``<arg_value>`` in turns."""
    return _tagged(value, offered, _ARG_NAME, _ARG)


def function_tags(value: Any, offered: Offered) -> Any:
    """``<function=name>``, then ``<parameter=name>`` for each argument."""
    return _tagged(value, offered, _FUNCTION, _PARAMETER)


def _tagged(value: Any, offered: Offered, name: re.Pattern[str], argument: re.Pattern[str]) -> Any:
    """A call that is a name and then nothing but tagged arguments."""
    found = name.match(value.text) if isinstance(value, Unread) else None
    if not found or found[1] not in offered:
        return None
    arguments = _tagged_arguments(argument, value.text, found.end())
    if arguments:
        return call(found[1], arguments)
    return None


def _tagged_arguments(pattern: re.Pattern[str], text: str, position: int) -> dict[str, str] | None:
    arguments: dict[str, str] = {}
    while position < len(text):
        found = pattern.match(text, position)
        if not found or found[1].strip() in arguments:
            return None
        arguments[found[1].strip()] = found[2]
        position = found.end()
    return arguments


_ATTRIBUTES = re.compile(r'\s*+\{?\s*+(?:"([^"]*+)")?\s*+name\s*+=\s*+"([^"]++)"[\s,]*+arguments\s*+=')
_REST = re.compile(r"[\s}]*")


def attributes(value: Any, offered: Offered) -> Any:
    """``{"tool" name="tool" arguments={...}}``, where both names are one."""
    found = _ATTRIBUTES.match(value.text) if isinstance(value, Unread) else None
    if not found or found[1] not in (None, found[2]):
        return None
    reader = LooseReader(value.text, Loose.NONE, found.end())
    try:
        arguments = reader.value(0)
    except UnreadableError:
        return None
    if _REST.fullmatch(value.text, reader.position):
        return call(found[2], arguments)
    return None


_FUNCTION_CALL = re.compile(r"\s*+([\w.-]++)[ \t]*+\(")
_KEYWORD = re.compile(r"\s*+([^\W\d]\w*+)\s*+=(?!=)")


def call_syntax(value: Any, offered: Offered) -> Any:
    """``tool(argument=value)``, with Python's or JSON's values."""
    found = _FUNCTION_CALL.match(value.text) if isinstance(value, Unread) else None
    if not found or found[1] not in offered:
        return None
    reader = LooseReader(value.text.rstrip("; \t\r\n"), Loose.PYTHON | Loose.TRAILING_COMMAS, found.end())
    try:
        if _KEYWORD.match(value.text, found.end()):
            arguments = _keywords(reader)
        else:
            arguments = _positional(reader)
    except UnreadableError:
        return None
    return call(found[1], arguments)


def _keywords(reader: LooseReader) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    while found := _KEYWORD.match(reader.text, reader.position):
        if found[1] in arguments:
            reader.fail("an argument that comes twice")
        reader.position = found.end()
        arguments[found[1]] = reader.value(0)
        if reader.peek() != ",":
            break
        reader.take(",")
    reader.take(")")
    reader.end()
    return arguments


def _positional(reader: LooseReader) -> Any:
    """The only argument in the brackets; none is an empty object."""
    argument = {} if reader.peek() == ")" else reader.value(0)
    reader.take(")")
    reader.end()
    return argument


_NAME_FIRST = re.compile(r"\s*+([\w.-]++)[ \t]*+(?:[:\n]|(?=\{))\s*+")


def name_first(value: Any, offered: Offered) -> Any:
    """The name, then the arguments as an object, or as a value that is more than words."""
    found = _NAME_FIRST.match(value.text) if isinstance(value, Unread) else None
    if not found or found[1] not in offered:
        return None
    rest = value.text[found.end() :].strip()
    try:
        return call(found[1], read(rest, EVERYTHING))
    except UnreadableError:
        if _is_unmistakable(rest, offered[found[1]]):
            return call(found[1], rest)
        return None


def bare_name(value: Any, offered: Offered) -> Any:
    """The name alone."""
    name = value.text.strip() if isinstance(value, Unread) else value
    if isinstance(name, str) and name in offered:
        return call(name, {})
    return None


def bare_value(value: Any, offered: Offered) -> Any:
    """The argument alone, only where one tool is offered, so that there is no doubt whose argument it is."""
    text = value.text.strip() if isinstance(value, Unread) else None
    bare = value if text is None else text
    if len(offered) != 1 or not isinstance(bare, str | int | float):
        return None
    (tool,) = offered.values()
    if len(tool.properties) != 1 or not (text is None or _is_unmistakable(text, tool)):
        return None
    return call(tool.name, {next(iter(tool.properties)): bare})


# A line without the marks of any syntax.
_PLAIN = re.compile(r"[^\n{}\[\]<>=\"`]{1,200}")


def _is_unmistakable(text: str, tool: Tool) -> bool:
    """Whether a text without quotes is a value of the only parameter, and not just any words."""
    if len(tool.properties) != 1 or not _PLAIN.fullmatch(text):
        return False
    ((name, schema),) = tool.properties.items()
    fitted = tool.fit({name: text})
    is_listed = isinstance(schema, dict) and "enum" in schema
    return not fitted.problems and (is_listed or isinstance(fitted.arguments[name], int | float))


def several_objects(value: Any, offered: Offered) -> Any:
    """JSON objects one after the other."""
    if not isinstance(value, Unread) or not value.text.lstrip().startswith("{"):
        return None
    reader = LooseReader(value.text, Loose.NONE)
    objects = []
    try:
        while char := reader.peek():
            if char in ",;":
                reader.take(char)
            objects.append(reader.value(0))
    except UnreadableError:
        return None
    return objects
