"""The summary is what the file holds."""

from __future__ import annotations

from pathlib import Path

from gguf import GGUFReader

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.converter.inspect import inspect
from exaone4_gguf.format.keys import LICENSE_TEXT_KEY
from tests.checkpoints import full_config, write_checkpoint


def test_sizes_are_those_of_the_file(full: Path, tmp_path: Path) -> None:
    path = convert(full, tmp_path / "a.gguf", "Q4_K_M").paths[0]
    summary, reader = inspect(path), GGUFReader(path)
    assert summary.file_type == "Q4_K_M"
    assert summary.weights == sum(int(t.n_elements) for t in reader.tensors)
    assert summary.bytes == sum(int(t.n_bytes) for t in reader.tensors)
    assert sum(row.tensors for row in summary.types) == len(reader.tensors)
    assert {t["name"]: t["type"] for t in summary.tensors} == {t.name: t.tensor_type.name for t in reader.tensors}


def test_a_checkpoint_is_told_as_the_file_it_would_become(full: Path, full_gguf: Path) -> None:
    a, b = inspect(full).to_json(), inspect(full_gguf).to_json()
    differing = {"path", "kind", "metadata"}
    assert {k: v for k, v in a.items() if k not in differing} == {k: v for k, v in b.items() if k not in differing}


def test_layers_and_rope_of_a_hybrid(hybrid: Path) -> None:
    summary = inspect(hybrid)
    assert summary.layers == "LLLG" * 16
    assert (summary.rope_layers, summary.sliding_window, summary.tied) == (48, 32, False)
    assert summary.warning is None


def test_long_values_are_told_by_their_length(full_gguf: Path) -> None:
    metadata = inspect(full_gguf).metadata
    assert metadata["tokenizer.ggml.tokens"] == "[704 items]"
    assert metadata[LICENSE_TEXT_KEY].endswith(" characters]")


def test_what_the_template_can_do(full: Path, tmp_path: Path) -> None:
    assert inspect(full).template == {"readable": True, "reasoning": True, "tools": True, "generation_prompt": True}
    folder = write_checkpoint(tmp_path / "model", full_config())
    (folder / "chat_template.jinja").write_text("{% for %}")
    assert inspect(folder).template == dict.fromkeys(("readable", "reasoning", "tools", "generation_prompt"), False)
    (folder / "chat_template.jinja").unlink()
    assert inspect(folder).template is None
