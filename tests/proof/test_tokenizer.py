"""What the part tokenizer tells of vocabularies, merges and ids."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.errors import TokenizerError
from exaone4_gguf.format import values
from exaone4_gguf.format.file import read_gguf
from exaone4_gguf.format.values import ValueType
from exaone4_gguf.proof.reading.configuration import read_configuration
from exaone4_gguf.proof.reading.vocabulary import read_vocabulary
from exaone4_gguf.proof.report import Part, Verdict
from exaone4_gguf.proof.tokenizer import check_tokenizer, own_tokenizer
from tests.checkpoints import full_config, random_tensors, write_checkpoint
from tests.proof.wrong_files import FAULTS, rewritten


@pytest.fixture(scope="module")
def own(full: Path) -> Any:
    return own_tokenizer(full)


def checked(folder: Path, path: Path, own: Any, data: str = "") -> Part:
    expected = read_vocabulary(own, read_configuration(folder), folder)
    return check_tokenizer(expected, read_gguf(path), own, data)


def test_the_published_tokenizer_passes(published: Path, tmp_path: Path) -> None:
    config = full_config(hidden_size=32, num_attention_heads=2, head_dim=16, vocab_size=102400, eos_token_id=361)
    folder = write_checkpoint(tmp_path / "model", config, random_tensors(config))
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((published / name).read_bytes())
    part = checked(folder, convert(folder, tmp_path / "a.gguf").paths[0], own_tokenizer(folder))
    assert part.verdict is Verdict.PASSED
    assert part.figures["texts"] > 1000


def test_a_demoted_token_is_told_by_key_and_by_text(full: Path, full_gguf: Path, own: Any, tmp_path: Path) -> None:
    """The ids differ as well: llama.cpp no longer matches it in the text."""
    part = checked(full, FAULTS["a control token demoted"].write(full_gguf, tmp_path / "a.gguf"), own)
    assert "is NORMAL; the folder's is CONTROL" in part.findings[0].what
    assert any(f.where.startswith("text ") and "[|endofturn|]" in f.where for f in part.findings)


def test_the_user_s_text_is_compared(full: Path, full_gguf: Path, own: Any, tmp_path: Path) -> None:
    """A merge that the built-in texts do not need, but these words do."""
    merges = read_gguf(full_gguf).get("tokenizer.ggml.merges")
    at = next(i for i, m in reversed(list(enumerate(merges))) if m.replace(" ", "").isascii() and len(m) > 3)
    shorter = values.strings([*merges[:at], *merges[at + 1 :]])
    path = rewritten(full_gguf, tmp_path / "a.gguf", {"tokenizer.ggml.merges": shorter})
    word = merges[at].replace(" ", "").replace("\u0120", " ")
    part = checked(full, path, own, data=f"{word} {word}{word}")
    assert any(word.strip() in f.where for f in part.findings if f.where.startswith("text "))


def test_ends_may_stand_under_any_of_their_keys(full: Path, full_gguf: Path, own: Any, tmp_path: Path) -> None:
    """The eos again as eot is fine; another id there would end answers."""
    eos = read_gguf(full_gguf).get("tokenizer.ggml.eos_token_id")
    fine = rewritten(full_gguf, tmp_path / "a.gguf", {"tokenizer.ggml.eot_token_id": values.u32(eos)})
    assert checked(full, fine, own).verdict is Verdict.PASSED
    wrong = rewritten(full_gguf, tmp_path / "b.gguf", {"tokenizer.ggml.eot_token_id": values.u32(7)})
    assert "which ends no answer" in checked(full, wrong, own).findings[0].what


def test_the_ends_of_all_files_are_expected(full: Path, full_gguf: Path, own: Any, tmp_path: Path) -> None:
    """The tokenizer's is the first; generation_config.json and config.json may name others."""
    folder = tmp_path / "model"
    shutil.copytree(full, folder)
    eos = read_gguf(full_gguf).get("tokenizer.ggml.eos_token_id")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [eos, 684]}))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"eos_token_id": 685}))
    part = checked(folder, full_gguf, own)
    assert [f.what for f in part.findings] == [f"no key says that an answer ends at {i}" for i in (684, 685)]
    keys = {"tokenizer.ggml.eot_token_id": values.u32(685), "tokenizer.ggml.eom_token_id": values.u32(684)}
    assert checked(folder, rewritten(full_gguf, tmp_path / "a.gguf", keys), own).verdict is Verdict.PASSED
    keys = {"tokenizer.ggml.eos_token_id": values.u32(684), "tokenizer.ggml.eot_token_id": values.u32(eos)}
    part = checked(folder, rewritten(full_gguf, tmp_path / "b.gguf", keys), own)
    assert f"is 684; the folder's end of turn is {eos}" in [f.what for f in part.findings]


def test_a_vocabulary_that_llama_cpp_refuses_fails(full: Path, full_gguf: Path, own: Any, tmp_path: Path) -> None:
    keys = {"tokenizer.ggml.token_type": values.array(ValueType.FLOAT32, [1.0])}
    assert checked(full, rewritten(full_gguf, tmp_path / "a.gguf", keys), own).verdict is Verdict.FAILED


def test_a_folder_that_transformers_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match="transformers cannot read the tokenizer"):
        own_tokenizer(tmp_path)


@pytest.mark.parametrize("tokens", [("New York", "York City Hall"), ("서울시", "시청역")])
def test_added_tokens_that_overlap_are_tried(tokens: tuple[str, str], tmp_path: Path) -> None:
    """llama.cpp takes the longest first, the tokenizer the leftmost: neither alone shows it."""
    folder = write_checkpoint(tmp_path / "model", full_config(vocab_size=768))
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    for i, token in enumerate(tokens):
        settings["added_tokens_decoder"][str(704 + i)] = {"content": token, "normalized": False}
    path.write_text(json.dumps(settings))
    file = convert(folder, tmp_path / "a.gguf", allow_wrong_in_llama_cpp=True).paths[0]
    part = checked(folder, file, own_tokenizer(folder))
    assert part.verdict is Verdict.FAILED
    assert all(f.where.startswith("text ") for f in part.findings)


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "chat_template.jinja"])
def test_a_pointer_in_the_place_of_a_file_is_named(name: str, full: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(full, folder)
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    with pytest.raises(TokenizerError, match=f"{name}: it is a Git LFS pointer.*git lfs pull"):
        own_tokenizer(folder)
