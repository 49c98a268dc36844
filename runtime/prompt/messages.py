"""Messages in OpenAI's form, checked and brought to the one form that every EXAONE template prints right.

The templates have traps: a role `developer` raises, content parts and None print as Python, arguments and tool
results that are JSON text come out encoded twice, and thoughts inside the content are cut two letters too far.
A message that has been through here meets none of them. Tokens and markers are not known here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any, NoReturn

from exaone4_gguf.errors import MessageError
from exaone4_gguf.format.nesting import MESSAGE_LEVELS
from exaone4_gguf.format.tags import END_THINK, THINK

Message = dict[str, Any]

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")


def normalized(messages: Iterable[Any]) -> list[Message]:
    """The messages as plain data that a template prints right. The caller's are not changed.

    Roles are system, user, assistant and tool. Content is text; that of a tool is the value that its JSON text
    stands for. Tool calls are objects around `function`, with arguments as a value. Thoughts of the assistant are
    in `reasoning_content`, never in the content. Results of one round of tool calls are put in the order of the
    calls, because templates print no ids. System messages stay where they are, as many as there are.

    Raises:
        MessageError: a message has not the right form; the text names its index and the field.
    """
    if isinstance(messages, str | bytes | Mapping) or not isinstance(messages, Iterable):
        _refuse("messages", f"expected a list of messages, got {_kind(messages)}")
    found = [_message(message, f"messages[{i}]") for i, message in enumerate(messages)]
    if not found:
        _refuse("messages", "the list is empty")
    return _in_order_of_calls(found)


def offered(tools: Iterable[Any] | None) -> list[Any] | None:
    """The tools as plain data for the template; whether they are good schemas is not looked at.

    Raises:
        MessageError: they are not a list of objects, or hold something that is not JSON.
    """
    if tools is None:
        return None
    if isinstance(tools, str | bytes | Mapping) or not isinstance(tools, Iterable):
        _refuse("tools", f"expected a list of tools, got {_kind(tools)}")
    return [plain(dict(_object(tool, f"tools[{i}]")), f"tools[{i}]") for i, tool in enumerate(tools)]


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """A copy of a value as JSON has them: objects with `model_dump()` become mappings, tuples become lists.

    Lone surrogates, which UTF-8 cannot hold, become U+FFFD.

    Raises:
        MessageError: it holds something that is not JSON, or is nested deeper than 64.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return _unicode(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else _refuse(where, f"{value} is not a JSON number")
    if depth == MESSAGE_LEVELS:
        _refuse(where, f"is nested deeper than {MESSAGE_LEVELS}")
    value = _dumped(value)
    if isinstance(value, Mapping):
        return {_key(key, where): plain(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    return _refuse(where, f"{_kind(value)} is not JSON")


def _message(given: Any, where: str) -> Message:
    fields = _object(given, where)
    role = fields.get("role")
    if not isinstance(role, str) or role not in ROLES:
        _refuse(f"{where}.role", f"{role!r} is none of {', '.join(ROLES)}" if "role" in fields else "is missing")
    message = {"role": ROLES[role], **_FORMS[ROLES[role]](fields, where)}
    name = _text(fields.get("name"), f"{where}.name")
    return message | {"name": name} if name else message


def _said(fields: Mapping[str, Any], where: str) -> Message:
    """A turn of the system or the user."""
    return {"content": _content(_required(fields, "content", where), f"{where}.content")}


def _answered(fields: Mapping[str, Any], where: str) -> Message:
    """A turn of the assistant."""
    if fields.get("function_call") is not None:
        _refuse(f"{where}.function_call", "is OpenAI's old form; use tool_calls")
    reasoning, content = _thoughts_apart(_reasoning(fields, where), _content(fields.get("content"), f"{where}.content"))
    calls = _tool_calls(fields.get("tool_calls"), f"{where}.tool_calls")
    extra = {"reasoning_content": reasoning, "tool_calls": calls}
    return {"content": content, **{key: value for key, value in extra.items() if value}}


def _returned(fields: Mapping[str, Any], where: str) -> Message:
    """A tool's result: None stays None, which is what a function without a result returned."""
    content = _required(fields, "content", where)
    if isinstance(content, list | tuple) and content and all(map(_is_part, content)):
        content = _content(content, f"{where}.content")
    message = {"content": _value_of(content, f"{where}.content")}
    call_id = _text(fields.get("tool_call_id"), f"{where}.tool_call_id")
    return message | {"tool_call_id": call_id} if call_id else message


_FORMS: dict[str, Callable[[Mapping[str, Any], str], Message]] = {
    "system": _said,
    "user": _said,
    "assistant": _answered,
    "tool": _returned,
}


def _content(content: Any, where: str) -> str:
    """The text of a content: a string, None, or a list of text parts, put together with nothing between them."""
    if not isinstance(content, list | tuple):
        return _text(content, where)
    return _unicode("".join(_part(part, f"{where}[{i}]") for i, part in enumerate(content)))


def _part(part: Any, where: str) -> str:
    fields = _object(part, where)
    if (kind := fields.get("type")) != "text":
        _refuse(f"{where}.type", f"{kind!r} is not supported: EXAONE 4 reads text only")
    return _text(_required(fields, "text", where), f"{where}.text")


def _is_part(item: Any) -> bool:
    """Whether an item of a tool's list is a content part (its type names one of its fields), not data."""
    item = _dumped(item)
    return isinstance(item, Mapping) and isinstance(kind := item.get("type"), str) and kind in item


def _reasoning(fields: Mapping[str, Any], where: str) -> str:
    """The thoughts given apart from the content, without the tags that some clients leave on them."""
    given = ((name, fields[name]) for name in REASONING_FIELDS if fields.get(name) is not None)
    name, value = next(given, ("", None))
    return _untagged(_text(value, f"{where}.{name}"))


def _untagged(thought: str) -> str:
    if (bare := thought.strip()).startswith(THINK) or bare.endswith(END_THINK):
        return bare.removeprefix(THINK).removesuffix(END_THINK).strip()
    return thought


def _thoughts_apart(reasoning: str, content: str) -> tuple[str, str]:
    """Thoughts and answer, from a content that may hold both.

    Like the templates, the answer is what follows the last closing tag. Where the thoughts came apart from the
    content, a closing tag in the content is text, unless an opening one begins it.
    """
    inline = END_THINK in content and (not reasoning or content.lstrip().startswith(THINK))
    if not inline:
        return reasoning, content
    thought, _, answer = content.rpartition(END_THINK)
    return reasoning or _untagged(thought.partition(END_THINK)[0].strip()), answer.strip()


def _tool_calls(calls: Any, where: str) -> list[Message]:
    if not isinstance(calls, list | tuple | None):
        _refuse(where, f"expected a list, got {_kind(calls)}")
    return [_tool_call(call, f"{where}[{i}]") for i, call in enumerate(calls or ())]


def _tool_call(given: Any, where: str) -> Message:
    """A call in OpenAI's form, from one with or without the object around `function`."""
    call = _object(given, where)
    inside = f"{where}.function" if "function" in call else where
    function = _object(call["function"], inside) if "function" in call else call
    name = _required(function, "name", inside)
    if not isinstance(name, str) or not name:
        _refuse(f"{inside}.name", f"expected a name, got {name!r}")
    key = "parameters" if "parameters" in function and "arguments" not in function else "arguments"
    arguments = _arguments(_required(function, key, inside), f"{inside}.{key}")
    call_id = _text(call.get("id"), f"{where}.id")
    wrapped = {"type": "function", "function": {"name": _unicode(name), "arguments": arguments}}
    return {"id": call_id, **wrapped} if call_id else wrapped


def _arguments(given: Any, where: str) -> Any:
    """The value of the arguments. None and an empty text mean none; text that is not JSON stays text.

    Models do write bare values and broken JSON, and a client that sends such a call back must not fail for it.
    """
    if given is None or (isinstance(given, str) and not given.strip()):
        return {}
    return _value_of(given, where)


def _value_of(given: Any, where: str) -> Any:
    """The value that a JSON text stands for; any other text, and any other value, as it is.

    A text that is one number or one word is taken as JSON only if it would be written the same ("3.10" is text).
    """
    if not isinstance(given, str):
        return plain(given, where)
    try:
        value = json.loads(given, parse_constant=_not_json)
        again = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if isinstance(value, dict | list | str) or again == given.strip():
            return plain(value, where)
    except (ValueError, RecursionError, MessageError):
        pass
    return _unicode(given)


def _not_json(name: str) -> NoReturn:
    raise ValueError(name)


def _in_order_of_calls(messages: list[Message]) -> list[Message]:
    """Each run of tool results sorted by the calls that they answer, where all of their ids are known."""
    ordered: list[Message] = []
    for role, run in groupby(messages, key=lambda message: message["role"]):
        turns = list(run)
        ordered += _sorted_results(turns, ordered[-1]) if role == "tool" and ordered else turns
    return ordered


def _sorted_results(results: list[Message], caller: Message) -> list[Message]:
    place = {call.get("id"): i for i, call in enumerate(caller.get("tool_calls", ()))}
    ids = [result.get("tool_call_id") for result in results]
    if None in ids or not place.keys() >= set(ids):
        return results
    return sorted(results, key=lambda result: place[result["tool_call_id"]])


def _object(value: Any, where: str) -> Mapping[str, Any]:
    value = _dumped(value)
    if not isinstance(value, Mapping):
        _refuse(where, f"expected an object, got {_kind(value)}")
    return value


def _dumped(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) and not isinstance(value, type) else value


def _required(fields: Mapping[str, Any], name: str, where: str) -> Any:
    return fields[name] if name in fields else _refuse(f"{where}.{name}", "is missing")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str | None):
        _refuse(where, f"expected text, got {_kind(value)}")
    return _unicode(value or "")


def _unicode(text: str) -> str:
    """The text as UTF-8 can hold it: two surrogates that belong together become one character, others U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return str.__str__(text)


def _key(key: Any, where: str) -> str:
    """A key as JSON writes it."""
    if isinstance(key, str):
        return _unicode(key)
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key)
    return _refuse(where, f"a key is {_kind(key)}, not text")


def _kind(value: Any) -> str:
    return type(value).__name__


def _refuse(where: str, why: str) -> NoReturn:
    raise MessageError(" ".join(why.split()), where=where, field=where)
