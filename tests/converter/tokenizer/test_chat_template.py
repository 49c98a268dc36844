"""The template is kept byte for byte, wherever the folder has it, unless it is to be changed for llama-server."""

from __future__ import annotations

import functools
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2
import pytest
from gguf import GGUFWriter
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.converter.tokenizer.chat_template import check_they_compile, for_llama_server, read_chat_templates
from exaone4_gguf.errors import ChatTemplateError, TokenizerError
from exaone4_gguf.format.file import read_gguf
from exaone4_gguf.runtime.prompt.template import ChatTemplate
from tests.app.test_cli import Run, run  # noqa: F401 - a fixture
from tests.checkpoints import DEMO
from tests.runtime.prompt.test_builder import CHATS, TOOLS

OF_DEMO = (DEMO / "chat_template.jinja").read_text()
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
    shutil.rmtree(tmp_path / "additional_chat_templates")
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


NAMES = ("default", "tool_use", "rag")


@settings(max_examples=40, deadline=None)
@given(
    file=st.booleans(),
    extra=st.sets(st.sampled_from(NAMES)),
    listed=st.none() | st.just("text") | st.sets(st.sampled_from(NAMES), min_size=1),
)
def test_wherever_they_stand_they_are_those_of_transformers(
    file: bool, extra: set[str], listed: str | set[str] | None
) -> None:
    """Files go before the setting; which file says which template is in its text."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        for name in ("config.json", "tokenizer.json"):
            shutil.copy(DEMO / name, folder)
        told = json.loads((DEMO / "tokenizer_config.json").read_text())
        if isinstance(listed, str):
            told["chat_template"] = "setting"
        elif listed:
            told["chat_template"] = [{"name": name, "template": f"{name} of the setting"} for name in sorted(listed)]
        (folder / "tokenizer_config.json").write_text(json.dumps(told))
        if file:
            (folder / "chat_template.jinja").write_text("file")
        for name in extra:
            (folder / "additional_chat_templates").mkdir(exist_ok=True)
            (folder / "additional_chat_templates" / f"{name}.jinja").write_text(f"{name} of a file")
        theirs = AutoTokenizer.from_pretrained(folder).chat_template
        expected = {"default": theirs} if isinstance(theirs, str) else theirs or {}
        assert read_chat_templates(folder) == expected


def write_named(folder: Path, templates: dict[str, str]) -> Path:
    (folder / "chat_template.jinja").unlink()
    told = json.loads((folder / "tokenizer_config.json").read_text())
    told["chat_template"] = [{"name": name, "template": text} for name, text in templates.items()]
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder


def test_the_keys_are_gguf_pys(checkpoint: Any, tmp_path: Path) -> None:
    named = {"default": "a", "tool_use": "b", "my rag-1": "c"}
    path = convert(write_named(checkpoint(), named), tmp_path / "a.gguf").paths[0]
    writer = GGUFWriter(None, "exaone4")
    writer.add_chat_template([{"name": name, "template": text} for name, text in named.items()])
    written = writer.kv_data[0]
    del written["general.architecture"]
    found = read_gguf(path)
    assert {key: found.get(key) for key in found.metadata if "chat_template" in key} == {
        key: sorted(value.value) if isinstance(value.value, list) else value.value for key, value in written.items()
    }


BROKEN: dict[str, tuple[str, str]] = {
    "no end": ("a\n{% if x %}\nb", "line 3: Unexpected end of template"),
    "no such tag": ("a\n\n{% iff x %}", "line 3: Encountered unknown tag 'iff'"),
    "no such filter": ("a\n{{ x | shout }}", "line 2: No filter named 'shout'"),
    "an expression": ("{{ 1 + }}", "line 1: "),
    "too deep": ("{{ " + "(" * 100_000 + " }}", "RecursionError"),
}


@pytest.mark.parametrize("name", ["default", "tool_use"])
@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_compile_is_refused_with_its_line(case: str, name: str, checkpoint: Any, tmp_path: Path) -> None:
    source, message = BROKEN[case]
    folder = write_named(checkpoint(), {"default": OF_DEMO, name: source})
    which = "the chat template" if name == "default" else "the chat template 'tool_use'"
    with pytest.raises(TokenizerError, match=f"{which} does not compile: {message}"):
        convert(folder, tmp_path / "a.gguf")
    assert not (tmp_path / "a.gguf").exists()


@pytest.mark.parametrize(
    "source",
    [
        "{% generation %}{{ x }}{% endgeneration %}",
        "{% for x in y %}{% break %}{% endfor %}",
        "{{ 'a' * 1000000000 * 1000000000 }}",
        "{{ raise_exception('no') }}",
        "{{ x | tojson(indent=1) }}{{ strftime_now('%Y') }}",
    ],
)
def test_nothing_of_it_is_run_to_see_that_it_compiles(source: str, tmp_path: Path) -> None:
    check_they_compile(tmp_path, {"default": source})
    ChatTemplate(source)


# The form that llama-server understands

CASES = int(os.environ.get("EXAONE4_CASES", "250"))
"""Conversations for each template."""


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
