"""Jinja as transformers sets it up, and templates that go wrong."""

from __future__ import annotations

from typing import Any

import pytest
from transformers.utils import chat_template_utils

from exaone4_gguf.errors import ChatTemplateError
from exaone4_gguf.runtime.prompt.template import MAX_CHARACTERS, ChatTemplate

USER = [{"role": "user", "content": 'Größe <b>"3"</b> & 안녕'}]
TOOLS = [{"b": ["<é>"], "a": {"x": 1}}]
transformers_template: Any = chat_template_utils.render_jinja_template

SOURCES = {
    "blocks": "{% for m in messages %}\n    {% if true %}\n  {{ m.content }}\n    {% endif %}\n{% endfor %}\n",
    "tojson": "{{ tools | tojson }} {{ tools | tojson(ensure_ascii=True, indent=1, sort_keys=True) }}",
    "separators": "{{ messages | tojson(separators=(',', ':')) | safe }}{{ '<' ~ (tools | tojson) }}",
    "loops": "{% for i in range(9) %}"
    "{% if i == 2 %}{% continue %}{% elif i > 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
    "loop": "{% for k in tools[0] %}"
    "{{ loop.index }}{{ k }}{{ loop.length }}{{ loop.last }}{{ loop.nextitem }}{% endfor %}",
    "lazy": "{% for t in tools | map('length') if t %}{{ loop.revindex }}{{ t }}{% else %}none{% endfor %}",
    "missing": "{% for x in nothing %}{{ x }}{% else %}{{ nothing }}none{% endfor %}",
    "recursive": "{% for x in [[1, [2]], [3]] recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}",
    "generation": "{% set x = 1 %}{% generation %}"
    "{% set x = 2 %}{{ x }}{{ messages[0].content }}{% endgeneration %}{{ x }}",
    "documents": "{{ documents is none }}{{ tools is defined }}"
    "{{ add_generation_prompt }}{{ enable_thinking }}{{ extra }}",
    "strftime": "{{ strftime_now('%Y-%m') }}",
    "numbers": "{{ 3 * 4 }}{{ 2 ** 10 }}{{ 'ab' * 3 }}{{ [1] * 2 }}{{ 1.5 * 2 }}",
}


@pytest.mark.parametrize("name", SOURCES)
def test_renders_as_in_transformers(name: str) -> None:
    options: dict[str, Any] = {"add_generation_prompt": True, "enable_thinking": False, "extra": "&"}
    (expected,), _ = transformers_template([USER], tools=TOOLS, chat_template=SOURCES[name], **options)
    assert ChatTemplate(SOURCES[name]).render(USER, TOOLS, extra="&") == expected


def test_variables_of_every_rendering() -> None:
    template = ChatTemplate("{{ eos_token }}{{ x }}", {"eos_token": "[EOS]", "x": 1})
    assert (template.render(USER), template.render(USER, x=2)) == ("[EOS]1", "[EOS]2")


def test_the_generation_prompt_and_thinking() -> None:
    template = ChatTemplate("{{ add_generation_prompt }} {{ enable_thinking }}")
    assert template.render(USER) == "True False"
    assert template.render(USER, None, False, True) == "False True"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("{% for x in %}", "does not compile: line 1: "),
        ("{{ x | nofilter }}", "does not compile: line 1: No filter named 'nofilter'"),
        ("{% generation %}", "does not compile: line 1: "),
        ("{{ " + "(" * 5000, "does not compile: "),
    ],
)
def test_a_template_that_does_not_compile(source: str, complaint: str) -> None:
    with pytest.raises(ChatTemplateError) as caught:
        ChatTemplate(source)
    assert str(caught.value).startswith("the chat template " + complaint)
    assert "\n" not in str(caught.value)


NESTED = "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}"
LAZY = "{% for a in range(90000) %}{% for b in range(90000) | map('abs') %}{% endfor %}{% endfor %}"
PRINTS = "{% for a in range(90000) %}{{ messages[0].content * 100 }}{% endfor %}"
SQUARES = "{% set ns = namespace(x=3) %}{% for a in range(90) %}{% set ns.x = ns.x * ns.x %}{% endfor %}"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("{{ raise_exception('Unknown\nrole') }}", "fails: Unknown role"),
        ("{{ nothing.at.all }}", "fails: UndefinedError: "),
        ("{{ messages.append(1) }}", "fails: SecurityError: "),
        ("{{ ''.__class__.__mro__ }}", "fails: SecurityError: "),
        ("{{ 1 / 0 }}", "fails: ZeroDivisionError: "),
        ("{{ nothing | tojson }}", "fails: TypeError: "),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "fails: RecursionError"),
        ("{{ range(10000000) }}", "fails: OverflowError: "),
        ("{{ 'x' * 10 ** 12 }}", "fails: OverflowError: the result of * is too large"),
        ("{{ 10 ** (10 ** 10) }}", "fails: OverflowError: the result of ** is too large"),
        (SQUARES, "fails: OverflowError: the result of * is too large"),
        (NESTED, "fails: OverflowError: it loops more than"),
        (PRINTS, f"fails: OverflowError: it prints more than {MAX_CHARACTERS}"),
        ("{{ raise_exception('x' * 5000) }}", "fails: xxx"),
    ],
)
def test_a_template_that_fails(source: str, complaint: str) -> None:
    template = ChatTemplate(source)
    with pytest.raises(ChatTemplateError) as caught:
        template.render(USER)
    message = str(caught.value)
    assert message.startswith("the chat template " + complaint)
    assert "\n" not in message
    assert len(message) < 400


def test_loops_over_what_has_no_length_end_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exaone4_gguf.runtime.prompt.template.MAX_STEPS", 200_000)
    with pytest.raises(ChatTemplateError, match="it loops more than 200000 times"):
        ChatTemplate(LAZY).render(USER)


def test_a_template_that_failed_can_be_used_again() -> None:
    template = ChatTemplate(
        "{% if x %}{{ raise_exception('no') }}{% endif %}{% for i in range(3) %}{{ i }}{% endfor %}"
    )
    for _ in range(2):
        with pytest.raises(ChatTemplateError, match="fails: no$"):
            template.render(USER, x=1)
        assert template.render(USER) == "012"
