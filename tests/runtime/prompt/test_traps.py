"""The table of traps: each cure is there and used, each test exists, and without the cure the text is another."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.errors import ChatTemplateError
from exaone4_gguf.runtime.prompt import messages as messages_module
from exaone4_gguf.runtime.prompt.messages import normalized
from exaone4_gguf.runtime.prompt.template import ChatTemplate
from exaone4_gguf.runtime.prompt.traps import TRAPS, Trap

TESTS = Path(__file__).parents[2]
TEMPLATE = ChatTemplate(
    """
{%- for m in messages %}
    {%- if m.role not in ('system', 'user', 'assistant', 'tool') %}{{ raise_exception('Unknown role') }}{% endif %}
    {%- set content = m.content %}
    {%- set thought = m.reasoning_content %}
    {%- if m.role == 'assistant' and '</think>' in content %}
        {%- set thought = content.split('</think>')[0].strip()[9:].strip() %}
        {%- set content = content.split('</think>')[-1].strip() %}
    {%- endif %}
    {{- '<think>' ~ thought ~ '</think>' if thought }}
    {{- content | tojson if m.role == 'tool' else content }}
    {%- for call in m.tool_calls or [] %}{{ call.function.arguments | tojson }}{% endfor %}
{%- endfor %}"""
)
"""It prints the parts of messages as LG's does."""
OF_MESSAGES = [trap for trap in TRAPS if not isinstance(trap.cure, str)]


def calling(arguments: str, *ids: str) -> dict[str, Any]:
    function = {"name": "f", "arguments": arguments}
    return {"role": "assistant", "tool_calls": [{"id": i, "function": function} for i in ids]}


THOUGHT = "<think>\nHm.\n</think>"
EXAMPLES: dict[str, list[dict[str, Any]]] = {
    "developer_is_the_system": [{"role": "developer", "content": "Be kind."}],
    "parts_are_one_text": [{"role": "user", "content": [{"type": "text", "text": "Hello!"}]}],
    "nothing_said_is_an_empty_text": [{"role": "user", "content": None}],
    "results_are_values": [{"role": "tool", "content": '{"temp": 21}'}],
    "arguments_are_values": [calling('{"sides": 6}', "a")],
    "thoughts_have_no_tags": [{"role": "assistant", "content": "Four.", "reasoning_content": THOUGHT}],
    "thoughts_are_apart": [{"role": "assistant", "content": "<think>Hm, two.</think>Four."}],
    "results_follow_their_calls": [
        calling("{}", "a", "b"),
        *({"role": "tool", "tool_call_id": i, "content": i} for i in "ba"),
    ],
}
"""For each cure, messages of which the template makes another text without it."""


def what(trap: Trap) -> str:
    return trap.what


def rendered(messages: list[dict[str, Any]]) -> str:
    try:
        return TEMPLATE.render(normalized(messages))
    except ChatTemplateError as e:
        return str(e)


@pytest.mark.parametrize("trap", TRAPS, ids=what)
def test_cure_and_test_are_there(trap: Trap) -> None:
    if isinstance(trap.cure, str):
        module, _, name = trap.cure.rpartition(".")
        assert callable(getattr(importlib.import_module(f"exaone4_gguf.{module}"), name))
    file, _, test = trap.test.partition("::")
    assert test in {
        node.name for node in ast.parse((TESTS / file).read_text()).body if isinstance(node, ast.FunctionDef)
    }


@pytest.mark.parametrize("trap", OF_MESSAGES, ids=what)
def test_without_its_cure_the_text_is_another(trap: Trap, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not isinstance(trap.cure, str)
    example = EXAMPLES[trap.cure.__name__]
    right = rendered(example)
    assert not right.startswith("the chat template fails")
    monkeypatch.setattr(messages_module, "TRAPS", [other for other in TRAPS if other is not trap])
    assert rendered(example) != right
