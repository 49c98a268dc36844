"""Messages in OpenAI's form, checked and brought to the one form that every EXAONE template prints right.

What comes from callers is checked and copied here; the traps of the templates, and how a message gets round
each, are a table in ``traps.py``. Tokens and markers are not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from exaone4_gguf.runtime.prompt.plain import (
    Fields,
    Object,
    as_list,
    as_object,
    as_text,
    as_unicode,
    dumped,
    plain,
    refuse,
)
from exaone4_gguf.runtime.prompt.traps import TRAPS, ContentParts, Message

REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")


def normalized(messages: Iterable[object]) -> list[Message]:
    """The messages as plain data that a template prints right. The caller's are not changed.

    Roles are system, user, assistant and tool. Content is text; that of a tool is the value that its JSON text
    stands for. Tool calls are objects around `function`, with arguments as a value. Thoughts of the assistant are
    in `reasoning_content`, never in the content. Results of one round of tool calls are put in the order of the
    calls, because templates print no ids. System messages stay where they are, as many as there are.

    Raises:
        MessageError: a message has not the right form; the text names its index and the field.
    """
    given = enumerate(as_list(messages, "messages"))
    turns = [_message(message, f"messages[{i}]") for i, message in given]
    if not turns:
        refuse("messages", "the list is empty")
    for trap in TRAPS:
        if not isinstance(trap.cure, str):
            trap.cure(turns)
    return [{key: value for key, value in turn.items() if value or key in _KEPT} for turn in turns]


_KEPT = ("role", "content")
"""What a message has though it be empty."""


def offered(tools: Iterable[object] | None) -> list[Object] | None:
    """The tools as plain data for the template; whether they are good schemas is not looked at.

    Raises:
        MessageError: they are not a list of objects, or hold something that is not JSON.
    """
    if tools is None:
        return None
    given = enumerate(as_list(tools, "tools"))
    return [plain(dict(as_object(tool, f"tools[{i}]")), f"tools[{i}]") for i, tool in given]


def _message(given: object, where: str) -> Message:
    fields = as_object(given, where)
    role = fields.get("role")
    if "role" not in fields:
        refuse(f"{where}.role", "is missing")
    if not isinstance(role, str) or role not in _FORMS:
        refuse(f"{where}.role", f"{role!r} is none of {', '.join(_FORMS)}")
    form = _FORMS[role](fields, where)
    return {"role": role, **form, "name": as_text(fields.get("name"), f"{where}.name")}


def _of_system_or_user(fields: Fields, where: str) -> Message:
    return {"content": _content(_required(fields, "content", where), f"{where}.content")}


def _of_assistant(fields: Fields, where: str) -> Message:
    if fields.get("function_call") is not None:
        refuse(f"{where}.function_call", "is OpenAI's old form; use tool_calls")
    reasoning = ""
    for name in REASONING_FIELDS:
        if fields.get(name) is not None:
            reasoning = as_text(fields[name], f"{where}.{name}")
            break
    content = _content(fields.get("content"), f"{where}.content")
    calls = fields.get("tool_calls")
    if calls is None:
        calls = ()
    if not isinstance(calls, list | tuple):
        refuse(f"{where}.tool_calls", f"expected a list, got {type(calls).__name__}")
    checked = [_tool_call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(calls)]
    return {"content": content, "reasoning_content": reasoning, "tool_calls": checked}


def _of_tool(fields: Fields, where: str) -> Message:
    content = _required(fields, "content", where)
    if isinstance(content, list | tuple) and content and all(map(_is_part, content)):
        content = _content(content, f"{where}.content")
    else:
        content = plain(content, f"{where}.content")
    return {
        "content": content,
        "tool_call_id": as_text(fields.get("tool_call_id"), f"{where}.tool_call_id"),
    }


_FORMS: dict[str, Callable[[Fields, str], Message]] = {
    "system": _of_system_or_user,
    "developer": _of_system_or_user,
    "user": _of_system_or_user,
    "assistant": _of_assistant,
    "tool": _of_tool,
}


def _content(content: object, where: str) -> ContentParts | str | None:
    """A checked content: a string, None, or a list of text parts."""
    if content is None:
        return None
    if not isinstance(content, list | tuple):
        return as_text(content, where)
    return ContentParts(_part(part, f"{where}[{i}]") for i, part in enumerate(content))


def _part(part: object, where: str) -> Object:
    fields = as_object(part, where)
    kind = fields.get("type")
    if kind != "text":
        refuse(f"{where}.type", f"{kind!r} is not supported: EXAONE 4 reads text only")
    return {"type": kind, "text": as_text(_required(fields, "text", where), f"{where}.text")}


def _is_part(item: object) -> bool:
    """Whether an item of a tool's list is a content part (its type names one of its fields), not data."""
    fields = dumped(item)
    return isinstance(fields, Mapping) and isinstance(fields.get("type"), str) and fields["type"] in fields


def _tool_call(given: object, where: str) -> Message:
    """A call in OpenAI's form, from one with or without the object around `function`."""
    call, inside = as_object(given, where), where
    function = call
    if "function" in call:
        inside = f"{where}.function"
        function = as_object(call["function"], inside)
    name = _required(function, "name", inside)
    if not isinstance(name, str) or not name:
        refuse(f"{inside}.name", f"expected a name, got {name!r}")
    key = "arguments"
    if "parameters" in function and key not in function:
        key = "parameters"
    arguments = plain(_required(function, key, inside), f"{inside}.{key}")
    call_id = as_text(call.get("id"), f"{where}.id")
    checked = {"id": call_id} if call_id else {}
    return {**checked, "type": "function", "function": {"name": as_unicode(name), "arguments": arguments}}


def _required(fields: Fields, name: str, where: str) -> Any:
    if name not in fields:
        refuse(f"{where}.{name}", "is missing")
    return fields[name]
