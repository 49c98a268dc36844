"""Tool calls that are not what they should be: a table of what models write instead, and how each is read.

A body starts as text. Each repair, in the order of the table, looks at what it is given - text until one of them
reads it, then values - and returns something better, or None where it does not apply. What comes out must be calls
of offered tools whose arguments fit; everything else is refused, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from exaone4_gguf.runtime.partial_json.lenient import EVERYTHING, Loose
from exaone4_gguf.runtime.schema.json_types import shortened
from exaone4_gguf.runtime.tools.repair import texts, values
from exaone4_gguf.runtime.tools.repair.texts import Offered, Unread


@dataclass(frozen=True)
class Repair:
    """One way in which calls go wrong. ``apply`` gives the better form of a body, or None: not this way."""

    name: str
    about: str
    apply: Callable[[Any, Offered], Any]


@dataclass(frozen=True)
class RecoveredCall:
    """A call of an offered tool: the arguments as they were written, and coerced to the tool's schema."""

    name: str
    written: dict[str, Any]
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Recovery:
    """The calls found in a body and the names of the repairs it took; or none, and the reason."""

    calls: tuple[RecoveredCall, ...] = ()
    repaired: str = ""
    reason: str | None = None


def recover(body: str, offered: Offered) -> Recovery:
    """The calls that a body was meant to be. All of them are right, or none is returned; nothing is raised."""
    value = texts.reread(body)
    used = []
    for repair in REPAIRS:
        better = repair.apply(value, offered)
        if better is not None:
            used.append(repair.name)
            value = better
    found = [_checked(item, offered) for item in (value if isinstance(value, tuple) else (value,))]
    calls = tuple(call for call in found if isinstance(call, RecoveredCall))
    if len(calls) < len(found):
        return Recovery(reason=next(reason for reason in found if isinstance(reason, str)))
    return Recovery(calls, "+".join(used))


def _checked(value: Any, offered: Offered) -> RecoveredCall | str:
    """The call that a value is, or why it is none."""
    if isinstance(value, Unread):
        return "not JSON, nor any other form of a call that is known"
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return "JSON, but not a call: it has no name"
    name = value["name"]
    if name not in offered:
        return f"no tool is called {shortened(name)!r}"
    if not isinstance(value.get("arguments"), dict):
        return f"{name}: the arguments are not an object"
    fitted = offered[name].fit(value["arguments"])
    if fitted.problems:
        return f"{name}: {fitted.problems[0]}"
    return RecoveredCall(name, value["arguments"], fitted.arguments)


REPAIRS: tuple[Repair, ...] = (
    Repair("code_fence", "```json ... ``` around the call", texts.code_fence),
    Repair("arg_tags", "name, then <arg_key>k</arg_key><arg_value>v</arg_value>", texts.arg_tags),
    Repair("function_tags", "<function=name><parameter=k>v</parameter></function>", texts.function_tags),
    Repair("attributes", '{"tool" name="tool" arguments={...}}', texts.attributes),
    Repair("call_syntax", "name(argument=value), as in a program", texts.call_syntax),
    Repair("name_first", "the name, then the arguments, with a colon or a newline between", texts.name_first),
    Repair("bare_name", "nothing but the name of a tool", texts.bare_name),
    Repair("python_literals", "single quotes, True, False, None", texts.loosely(Loose.PYTHON)),
    Repair("bare_keys", "keys without quotes", texts.loosely(Loose.BARE_KEYS)),
    Repair("trailing_commas", "a comma after the last item", texts.loosely(Loose.TRAILING_COMMAS)),
    Repair("unescaped_controls", "newlines and tabs in strings", texts.loosely(Loose.CONTROLS)),
    Repair("wrong_escapes", "backslashes that JSON does not know", texts.loosely(Loose.ESCAPES)),
    Repair("missing_brackets", "brackets that are not closed", texts.loosely(Loose.MISSING_BRACKETS)),
    Repair("extra_brackets", "more closing brackets than open ones", texts.loosely(Loose.EXTRA_BRACKETS)),
    Repair("loose_json", "several of these at once", texts.loosely(EVERYTHING)),
    Repair("several_objects", "several calls one after the other in one tag", texts.several_objects),
    Repair("bare_value", "nothing but the argument, where one tool with one parameter is offered", texts.bare_value),
    Repair("wrapped", '{"tool_calls": [...]} around the calls', values.wrapped),
    Repair("list_of_calls", "several calls in one list (or one after the other)", values.list_of_calls),
    Repair("nested_function", 'OpenAI\'s {"type": "function", "function": {...}}', values.nested_function),
    Repair("tool_as_key", '{"tool": {...arguments...}}', values.tool_as_key),
    Repair("name_in_key", '{"name_tool": {...arguments...}}', values.name_in_key),
    Repair("other_keys", '"function" or "tool" for "name", "parameters" for "arguments"', values.other_keys),
    Repair("flat_arguments", "arguments beside the name", values.flat_arguments),
    Repair("no_arguments", "no arguments, or null, for a tool that needs none", values.no_arguments),
    Repair("arguments_as_text", "the arguments' object as a JSON string", values.arguments_as_text),
    Repair("bare_argument", "a value for the arguments of a tool with one parameter", values.bare_argument),
)
