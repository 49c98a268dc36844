"""The traps of EXAONE 4's chat templates: what goes wrong, where it is cured, and which test shows it.

A trap of messages is cured by a function here, which changes them in place. ``messages.normalized`` hands
them to each of these, in the order of the table; they have been checked before, so no cure fails. One more
trap is one more row, with its function and its test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NoReturn

from exaone4_gguf.errors import MessageError
from exaone4_gguf.format.tags import END_THINK, THINK
from exaone4_gguf.runtime.prompt.plain import Object, plain

Message = Object


class ContentParts(list[Message]):
    """Checked text parts, which a tool's result that is a list is not."""


Cure = Callable[[list[Message]], None]


@dataclass(frozen=True)
class Trap:
    """What goes wrong, its cure (a function, or the dotted name of one elsewhere), and the node of its test."""

    what: str
    cure: Cure | str
    test: str


def _of(messages: list[Message], *roles: str) -> Iterator[Message]:
    return (message for message in messages if message["role"] in roles)


def developer_is_the_system(messages: list[Message]) -> None:
    """OpenAI's newer name of the role becomes the one that templates know."""
    for message in _of(messages, "developer"):
        message["role"] = "system"


def parts_are_one_text(messages: list[Message]) -> None:
    """Content parts are put together with nothing between them. Other lists are what a tool returned."""
    for message in messages:
        content = message["content"]
        if isinstance(content, ContentParts):
            message["content"] = "".join(part["text"] for part in content)


def nothing_said_is_an_empty_text(messages: list[Message]) -> None:
    """None becomes the empty text, but for a tool: a function that returned nothing did return null."""
    for message in _of(messages, "system", "user", "assistant"):
        if message["content"] is None:
            message["content"] = ""


def results_are_values(messages: list[Message]) -> None:
    """A tool's result becomes the value that its JSON text stands for."""
    for message in _of(messages, "tool"):
        message["content"] = _value_of(message["content"])


def arguments_are_values(messages: list[Message]) -> None:
    """Arguments become the value that their JSON text stands for, none where there is nothing.

    Text that is not JSON stays: models do write bare values and broken JSON, and a client that sends
    such a call back must not fail for it.
    """
    for message in messages:
        for call in message.get("tool_calls", ()):
            given = call["function"]["arguments"]
            if given is None or (isinstance(given, str) and not given.strip()):
                given = {}
            call["function"]["arguments"] = _value_of(given)


def _value_of(given: object) -> Any:
    """The value that a JSON text stands for; any other text, and any other value, as it is.

    A text that is one number or one word is taken as JSON only if it would be written the same
    ("3.10" is text).
    """
    if not isinstance(given, str):
        return given
    try:
        value = json.loads(given, parse_constant=_not_json)
        again = json.dumps(value, ensure_ascii=False, allow_nan=False)
        if isinstance(value, dict | list | str) or again == given.strip():
            return plain(value, "")
    except (ValueError, RecursionError, MessageError):
        pass
    return given


def _not_json(name: str) -> NoReturn:
    raise ValueError(name)


def thoughts_have_no_tags(messages: list[Message]) -> None:
    """The tags that some clients leave on thoughts given apart are taken off."""
    for message in _of(messages, "assistant"):
        message["reasoning_content"] = _untagged(message["reasoning_content"])


def _untagged(thought: str) -> str:
    bare = thought.strip()
    if bare.startswith(THINK) or bare.endswith(END_THINK):
        return bare.removeprefix(THINK).removesuffix(END_THINK).strip()
    return thought


def thoughts_are_apart(messages: list[Message]) -> None:
    """Thoughts in the content go to `reasoning_content`.

    Like the templates, the answer is what follows the last closing tag. Where the thoughts came apart
    from the content, a closing tag in the content is text, unless an opening one begins it.
    """
    for message in _of(messages, "assistant"):
        reasoning, content = message["reasoning_content"], message["content"]
        begins = content.lstrip().startswith(THINK)
        if END_THINK in content and (begins or not reasoning):
            thought = content.partition(END_THINK)[0]
            message["reasoning_content"] = reasoning or _untagged(thought.strip())
            message["content"] = content.rpartition(END_THINK)[2].strip()


def results_follow_their_calls(messages: list[Message]) -> None:
    """Each run of tool results is sorted by the calls that they answer, where all of their ids are known."""
    place: dict[str, int] = {}
    ordered: list[Message] = []
    for role, run in groupby(messages, key=lambda message: message["role"]):
        turns = list(run)
        if role == "tool" and all(turn.get("tool_call_id") in place for turn in turns):
            turns.sort(key=lambda result: place[result["tool_call_id"]])
        place = {call["id"]: i for i, call in enumerate(turns[-1].get("tool_calls", ())) if "id" in call}
        ordered += turns
    messages[:] = ordered


TRAPS = (
    Trap(
        "the role developer raises",
        developer_is_the_system,
        "runtime/prompt/test_messages.py::test_a_developer_is_the_system",
    ),
    Trap(
        "a list of content parts prints as Python",
        parts_are_one_text,
        "runtime/prompt/test_messages.py::test_content_parts_are_text",
    ),
    Trap(
        "a content of None prints as Python",
        nothing_said_is_an_empty_text,
        "runtime/prompt/test_messages.py::test_content_none",
    ),
    Trap(
        "a tool's result that is JSON text comes out encoded twice",
        results_are_values,
        "runtime/prompt/test_messages.py::test_tool_results",
    ),
    Trap(
        "arguments that are JSON text come out encoded twice",
        arguments_are_values,
        "runtime/prompt/test_messages.py::test_arguments",
    ),
    Trap(
        "thoughts given with their tags get a second pair",
        thoughts_have_no_tags,
        "runtime/prompt/test_messages.py::test_thoughts_are_apart_from_the_content",
    ),
    Trap(
        "thoughts in the content lose the two letters after their opening tag",
        thoughts_are_apart,
        "runtime/prompt/test_messages.py::test_thoughts_are_apart_from_the_content",
    ),
    Trap(
        "no ids are printed: results in another order would be those of other calls",
        results_follow_their_calls,
        "runtime/prompt/test_messages.py::test_results_take_the_order_of_their_calls",
    ),
    Trap(
        "a message that holds the text of a marker ends its turn, or opens thoughts",
        "runtime.prompt.builder.PromptBuilder",
        "runtime/prompt/test_builder.py::test_no_text_of_a_message_becomes_a_marker",
    ),
    Trap(
        "with enable_thinking the prompt opens the thoughts: the answer lacks their opening tag",
        "runtime.prompt.builder.Prompt",
        "runtime/prompt/test_builder.py::test_reasoning_is_open_only_where_the_template_opens_it",
    ),
    Trap(
        "loop controls, trimmed blocks and a tojson that keeps what is not ASCII are needed",
        "runtime.prompt.template.ChatTemplate",
        "runtime/prompt/test_template.py::test_renders_as_in_transformers",
    ),
    Trap(
        "llama-server loses a leading system turn, and does not see that there can be thoughts",
        "converter.tokenizer.chat_template.for_llama_server",
        "converter/tokenizer/test_chat_template.py::test_the_analysis_of_llama_cpp_sees_the_thoughts",
    ),
)
