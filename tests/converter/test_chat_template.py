"""The template is kept byte for byte, wherever the folder has it, unless it is to be changed for llama-server."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exaone4_gguf.converter.chat_template import for_llama_server, read_chat_templates
from exaone4_gguf.converter.convert import convert
from exaone4_gguf.converter.gguf_file import read_gguf
from exaone4_gguf.errors import ChatTemplateError, TokenizerError
from exaone4_gguf.runtime.template import ChatTemplate
from tests.checkpoints import DEMO
from tests.runtime.test_prompt import CHATS, TOOLS
from tests.test_cli import Run, run  # noqa: F401 - a fixture

TEMPLATE = "{{ messages }}\r\n\t한국어 \u00a0 \n\n"


def test_a_file_goes_before_the_setting(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "other"}))
    assert read_chat_templates(tmp_path) == {"default": "other"}
    (tmp_path / "chat_template.jinja").write_bytes(TEMPLATE.encode())
    assert read_chat_templates(tmp_path) == {"default": TEMPLATE}


def test_several_templates_have_names(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_text("a")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "rag.jinja").write_text("b")
    expected = {"default": "a", "rag": "b"}
    assert read_chat_templates(tmp_path) == expected
    listed = [{"name": name, "template": text} for name, text in expected.items()]
    (tmp_path / "chat_template.jinja").unlink()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": listed}))
    assert read_chat_templates(tmp_path) == expected


def test_the_file_holds_every_byte(full: Path, tmp_path: Path, checkpoint: object) -> None:
    path = convert(full, tmp_path / "a.gguf").paths[0]
    assert read_gguf(path).get("tokenizer.chat_template").encode() == (full / "chat_template.jinja").read_bytes()


def test_none_is_none(tmp_path: Path) -> None:
    assert read_chat_templates(tmp_path) == {}
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert read_chat_templates(tmp_path) == {}


@pytest.mark.parametrize("field", [3, [3], [{"name": "a"}], {"a": "b"}])
def test_what_is_no_template_is_refused(field: object, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": field}))
    with pytest.raises(TokenizerError, match="chat_template must be text, or a list of names and templates"):
        read_chat_templates(tmp_path)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff")
    with pytest.raises(TokenizerError, match="not UTF-8"):
        read_chat_templates(tmp_path)


# The form that llama-server understands

CASES = int(os.environ.get("EXAONE4_CASES", "250"))
"""Conversations for each template."""
OF_DEMO = (DEMO / "chat_template.jinja").read_text()


@pytest.fixture(params=["demo", "published"])
def template(request: pytest.FixtureRequest) -> str:
    """Both templates of that form: ours, and LG's where it is at hand."""
    folder: Path = request.getfixturevalue(request.param)
    return (folder / "chat_template.jinja").read_text()


@functools.cache
def compiled(template: str) -> ChatTemplate:
    return ChatTemplate(template)


def rendered(template: str, messages: list[Any], **variables: Any) -> str:
    try:
        return compiled(template).render(messages, **variables)
    except ChatTemplateError as e:
        return str(e)


OPTIONS = st.fixed_dictionaries(
    {"enable_thinking": st.booleans()}, optional={"skip_think": st.booleans(), "tools": TOOLS}
)


@settings(max_examples=CASES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chat=CHATS.map(lambda chat: [told for _, told in chat]), options=OPTIONS)
def test_what_a_server_renders_is_the_same(template: str, chat: list[Any], options: dict[str, Any]) -> None:
    """With a generation prompt always, whoever spoke last; without one, unless the assistant did."""
    changed = for_llama_server(template)
    assert rendered(changed, chat, **options) == rendered(template, chat, **options)
    if chat[-1]["role"] != "assistant":
        without = options | {"add_generation_prompt": False}
        assert rendered(changed, chat, **without) == rendered(template, chat, **without)


def test_the_analysis_of_llama_cpp_sees_the_thoughts(template: str) -> None:
    """It compares what is printed of the two, without a generation prompt; nor does it say that there is none."""
    said = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]
    thought = [said[0], said[1] | {"reasoning_content": "R"}]
    changed = for_llama_server(template)
    assert changed != template
    without: dict[str, Any] = {"add_generation_prompt": False}
    assert rendered(template, thought, **without) == rendered(template, said, **without)
    assert rendered(changed, thought, **without) == rendered(changed, said, **without).replace("\n\n</", "\nR\n</")
    environment = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    assert "<think>\nR\n</think>\n\nA" in environment.from_string(changed).render(messages=thought)


def test_the_change_is_made_once(template: str) -> None:
    changed = for_llama_server(template)
    assert for_llama_server(changed) == changed
    lines = zip(template.splitlines(), changed.splitlines(), strict=True)
    assert [a == b for a, b in lines].count(False) == (3 if "continue" in template else 1)


@pytest.mark.parametrize(
    "other",
    [
        "",
        "{{ messages }}",
        OF_DEMO.replace("skip_think = true", "skip_think = false"),
        OF_DEMO.replace("not skip_think and loop.last", "not skip_think"),
        OF_DEMO * 2,
        OF_DEMO + "{{ skip_think }}",
        OF_DEMO.replace("{%- endfor %}", "{%- continue %}{%- endfor %}"),
    ],
)
def test_another_form_is_refused(other: str) -> None:
    with pytest.raises(TokenizerError, match="has not the form that can be changed for llama-server") as caught:
        for_llama_server(other)
    assert "\n" not in str(caught.value)


def test_convert_changes_it_where_that_is_asked_for(run: Run, full: Path, tmp_path: Path) -> None:  # noqa: F811
    kept = read_gguf(convert(full, tmp_path / "kept.gguf").paths[0])
    assert run("convert", full, tmp_path / "changed.gguf", "--template-for-llama-server")[0] == 0
    changed = read_gguf(tmp_path / "changed.gguf")
    assert kept.get("tokenizer.chat_template") == OF_DEMO
    assert changed.get("tokenizer.chat_template") == for_llama_server(OF_DEMO)
    assert {k for k, v in kept.metadata.items() if changed.metadata[k] != v} == {"tokenizer.chat_template"}


@pytest.mark.parametrize(
    ("text", "complaint"), [(None, "has no chat template that could be changed"), ("{{ x }}", "has not the form")]
)
def test_convert_says_what_it_cannot_change(
    text: str | None, complaint: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    folder = checkpoint()
    (folder / "chat_template.jinja").unlink() if text is None else (folder / "chat_template.jinja").write_text(text)
    with pytest.raises(TokenizerError, match=complaint):
        convert(folder, tmp_path / "a.gguf", template_for_llama_server=True)
    assert list(tmp_path.glob("*.gguf")) == []
