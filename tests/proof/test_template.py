"""What the part template tells of texts and renderings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.format import values
from exaone4_gguf.format.file import read_gguf
from exaone4_gguf.proof.corpus import CONVERSATIONS
from exaone4_gguf.proof.report import Part, Verdict
from exaone4_gguf.proof.template import check_template, own_templates
from exaone4_gguf.proof.tokenizer import own_tokenizer
from tests.proof.wrong_files import rewritten

KEY = "tokenizer.chat_template"


@pytest.fixture(scope="module")
def own(full: Path) -> Any:
    return own_tokenizer(full)


def checked(folder: Path, path: Path, own: Any) -> Part:
    return check_template(own_templates(own_tokenizer(folder)), read_gguf(path), own)


def with_template(full_gguf: Path, target: Path, change: Any) -> Path:
    text = change(read_gguf(full_gguf).get(KEY))
    return rewritten(full_gguf, target, {KEY: values.string(text)})


def test_every_conversation_can_be_rendered(own: Any) -> None:
    for c in CONVERSATIONS:
        assert own.apply_chat_template(list(c.messages), tools=c.tools, tokenize=False, **c.options), c.name


def test_a_comment_differs_in_bytes_only(full: Path, full_gguf: Path, own: Any, tmp_path: Path) -> None:
    """The part fails all the same: hubs and runtimes compare templates by their text."""
    part = checked(full, with_template(full_gguf, tmp_path / "a.gguf", lambda t: t + "{# edited #}"), own)
    assert [f.where for f in part.findings] == [KEY]


def test_what_an_edit_changes_is_told_by_conversation(full: Path, full_gguf: Path, own: Any, tmp_path: Path) -> None:
    path = with_template(full_gguf, tmp_path / "a.gguf", lambda t: t.replace("<tool_result>", "<result>"))
    where = [f.where for f in checked(full, path, own).findings]
    assert where == [KEY, "conversation 'calls and results'"]


def test_a_template_that_fails_is_told(full: Path, full_gguf: Path, own: Any, tmp_path: Path) -> None:
    part = checked(full, with_template(full_gguf, tmp_path / "a.gguf", lambda t: t + "{{ none.x.y }}"), own)
    assert "the file's template fails on it" in {f.what for f in part.findings}


BROKEN = {
    "does not compile": "{% if true %}",
    "fails": "{{ none.x.y }}",
    "fails with tools": "{% if tools %}{{ none.x.y }}{% endif %}",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_template_that_fails_on_both_sides_is_not_evaluated(
    name: str, full: Path, full_gguf: Path, tmp_path: Path
) -> None:
    """That two fail alike says nothing of the file."""
    folder, broken = with_templates(full, tmp_path, lambda text: text + BROKEN[name]), BROKEN[name]
    part = checked(folder, with_template(full_gguf, tmp_path / "a.gguf", lambda t: t + broken), own_tokenizer(folder))
    assert part.verdict is Verdict.NOT_EVALUATED
    assert "fails in transformers as well" in part.summary


def test_a_refusal_is_an_answer(full: Path, full_gguf: Path, tmp_path: Path) -> None:
    """raise_exception is the template's own word, and the same on both sides."""
    refusing = "{% if tools %}{{ raise_exception('no tools here') }}{% endif %}"
    folder = with_templates(full, tmp_path, lambda text: refusing + text)
    part = checked(folder, with_template(full_gguf, tmp_path / "a.gguf", lambda t: refusing + t), own_tokenizer(folder))
    assert part.verdict is Verdict.PASSED


def test_a_template_that_refuses_everything_is_not_evaluated(full: Path, full_gguf: Path, tmp_path: Path) -> None:
    """Two that say no to each conversation have not been compared."""
    refusing = "{{ raise_exception('never') }}"
    folder = with_templates(full, tmp_path, lambda text: refusing + text)
    part = checked(folder, with_template(full_gguf, tmp_path / "a.gguf", lambda t: refusing + t), own_tokenizer(folder))
    assert part.verdict is Verdict.NOT_EVALUATED
    assert "refuses every conversation" in part.summary


@pytest.mark.parametrize(("name", "key"), [("my-rag v2", "my_rag_v2"), ("tool_use", "tool_use"), ("검색", "__")])
def test_a_name_is_that_which_gguf_py_makes_of_it(
    name: str, key: str, full: Path, full_gguf: Path, tmp_path: Path
) -> None:
    """Where it is the only one as well."""
    text = read_gguf(full_gguf).get(KEY)
    folder = with_templates(full, tmp_path, lambda old: [{"name": name, "template": text}])
    file = rewritten(full_gguf, tmp_path / "a.gguf", {KEY: None, f"{KEY}.{key}": values.string(text)})
    part = checked(folder, file, own_tokenizer(folder))
    assert (part.verdict, part.findings) == (Verdict.PASSED, ())


def with_templates(full: Path, tmp_path: Path, change: Any) -> Path:
    """A folder with other templates: a text, or a list of names and texts."""
    folder = tmp_path / "model"
    shutil.copytree(full, folder)
    template = change((folder / "chat_template.jinja").read_text())
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
    return folder


def test_each_named_template_is_compared_with_its_own(full: Path, full_gguf: Path, tmp_path: Path) -> None:
    """Transformers takes tool_use where there are tools; each is compared under its own name."""
    text = read_gguf(full_gguf).get(KEY)
    named = [{"name": "default", "template": text}, {"name": "tool_use", "template": "T" + text}]
    folder = with_templates(full, tmp_path, lambda old: named)
    own = own_tokenizer(folder)
    right = rewritten(full_gguf, tmp_path / "a.gguf", {f"{KEY}.tool_use": values.string("T" + text)})
    part = checked(folder, right, own)
    assert (part.verdict, part.findings) == (Verdict.PASSED, ())
    wrong = rewritten(full_gguf, tmp_path / "b.gguf", {f"{KEY}.tool_use": values.string("U" + text)})
    assert checked(folder, wrong, own).findings[0].where == f"{KEY}.tool_use"
    assert checked(folder, full_gguf, own).findings[0].where == f"{KEY}.tool_use"


def test_a_second_template_is_compared(full: Path, full_gguf: Path, own: Any, tmp_path: Path) -> None:
    path = rewritten(full_gguf, tmp_path / "a.gguf", {f"{KEY}.rag": values.string("x")})
    part = checked(full, path, own)
    assert [(f.where, f.what) for f in part.findings] == [(f"{KEY}.rag", "the folder has no such template")]


def test_a_folder_without_a_template(full: Path, full_gguf: Path, own: Any, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in full.iterdir():
        if file.name != "chat_template.jinja":
            (folder / file.name).write_bytes(file.read_bytes())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    assert checked(folder, full_gguf, own).verdict is Verdict.FAILED
    without = rewritten(full_gguf, tmp_path / "a.gguf", {KEY: None})
    assert checked(folder, without, own).verdict is Verdict.PASSED
