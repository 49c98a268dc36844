"""The template is kept byte for byte, wherever the folder has it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exaone4_gguf.converter.chat_template import read_chat_templates
from exaone4_gguf.converter.convert import convert
from exaone4_gguf.converter.gguf_file import read_gguf
from exaone4_gguf.errors import TokenizerError

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
