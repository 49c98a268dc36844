"""The keys are those of llama.cpp's own converter, with what the model card says, and a few of ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader

from exaone4_gguf.converter.convert import convert, quantize
from exaone4_gguf.converter.plan import make_plan
from exaone4_gguf.errors import ConfigError, GGUFError
from exaone4_gguf.format.file import read_gguf
from exaone4_gguf.format.keys import LICENSE_TEXT_KEY
from exaone4_gguf.format.values import Value, ValueType, array
from tests.checkpoints import full_config, write_checkpoint

CARD = """---
license: other
license_name: exaone
license_link: LICENSE
language: [en, ko, es]
pipeline_tag: text-generation
base_model: LGAI-EXAONE/EXAONE-4.0-1.2B
organization: LG AI Research
---
# Text
"""


def keys(path: Path) -> dict[str, Any]:
    """As gguf-py reads them."""
    return {name: field.contents() for name, field in GGUFReader(path).fields.items()}


def test_hyperparameters_of_a_full_model(full_gguf: Path) -> None:
    expected = {
        "block_count": 4,
        "context_length": 65536,
        "embedding_length": 256,
        "feed_forward_length": 512,
        "attention.head_count": 8,
        "attention.head_count_kv": 2,
        "attention.key_length": 32,
        "attention.value_length": 32,
        "attention.layer_norm_rms_epsilon": pytest.approx(1e-5),
        "attention.rope_pattern": [1] * 4,
        "rope.freq_base": 1e6,
        "vocab_size": 704,
    }
    found = keys(full_gguf)
    assert {k.removeprefix("exaone4."): v for k, v in found.items() if k.startswith("exaone4.")} == expected


def test_a_hybrid_tells_its_window_and_its_layers(hybrid: Path, tmp_path: Path) -> None:
    found = keys(convert(hybrid, tmp_path / "a.gguf").paths[0])
    assert found["exaone4.attention.sliding_window"] == 32
    assert found["exaone4.attention.sliding_window_pattern"] == [True, True, True, False] * 16
    assert found["exaone4.attention.rope_pattern"] == [1, 1, 1, 0] * 16


def test_the_model_card_is_told(full: Path, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "EXAONE-4.0-1.2B", full_config())
    (folder / "README.md").write_text(CARD)
    found = keys(convert(folder, tmp_path / "a.gguf").paths[0])
    expected = {
        "general.name": "EXAONE 4.0 1.2B",
        "general.basename": "EXAONE-4.0",
        "general.organization": "LG AI Research",
        "general.license": "other",
        "general.license.name": "exaone",
        "general.license.link": "LICENSE",
        "general.languages": ["en", "ko", "es"],
        "general.tags": ["text-generation"],
        "general.base_model.0.repo_url": "https://huggingface.co/LGAI-EXAONE/EXAONE-4.0-1.2B",
        "general.file_type": 32,
        "general.quantization_version": 2,
    }
    assert {key: found[key] for key in expected} == expected
    assert found[LICENSE_TEXT_KEY] == (folder / "LICENSE").read_text()


@pytest.mark.parametrize("card", ["---\n{: [\n---\n", "---\nname: 5\nlicense: [a, b]\nlanguage: no\n---\n", "\xff", ""])
def test_any_model_card_is_taken_or_skipped(card: str, checkpoint: Any, tmp_path: Path) -> None:
    folder = checkpoint()
    (folder / "README.md").write_text(card, encoding="latin-1")
    assert keys(convert(folder, tmp_path / "a.gguf").paths[0])["general.name"]


def test_a_model_from_the_hubs_cache_is_named_after_its_repository(full: Path, tmp_path: Path) -> None:
    """There the folder's name is the hash of a commit."""
    folder = tmp_path / "models--LGAI-EXAONE--EXAONE-4.0-1.2B" / "snapshots" / ("0f3a9c1d" * 5)
    shutil.copytree(full, folder)
    path = convert(folder, tmp_path).paths[0]
    assert path.name == "EXAONE-4.0-1.2B-BF16.gguf"
    assert keys(path)["general.organization"] == "LGAI-EXAONE"


def test_text_that_utf_8_cannot_hold_is_refused(checkpoint: Any, tmp_path: Path) -> None:
    folder = checkpoint()
    (folder / "chat_template.jinja").unlink()
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": "\ud800"}))
    with pytest.raises(GGUFError, match="holds half a character"):
        convert(folder, tmp_path / "a.gguf")


def test_a_list_of_end_tokens_becomes_all_that_llama_cpp_stops_at(checkpoint: Any, tmp_path: Path) -> None:
    """The tokenizer's own end of turn goes first, whatever its place in the list."""
    own = full_config()["eos_token_id"]
    found = keys(convert(checkpoint(eos_token_id=[5, own, 7]), tmp_path / "a.gguf").paths[0])
    names = ("eos_token_id", "eot_token_id", "eom_token_id")
    assert [found[f"tokenizer.ggml.{name}"] for name in names] == [own, 5, 7]


def test_an_end_token_outside_the_vocabulary_is_refused(checkpoint: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="eos_token_id 99999 is not in the vocabulary"):
        convert(checkpoint(eos_token_id=99999), tmp_path / "a.gguf")


def test_a_vocabulary_smaller_than_the_embedding_is_padded(checkpoint: Any, tmp_path: Path) -> None:
    found = keys(convert(checkpoint(vocab_size=768), tmp_path / "a.gguf").paths[0])
    assert found["tokenizer.ggml.tokens"][704:] == [f"[PAD{i}]" for i in range(704, 768)]


def test_foreign_keys_are_kept(full_gguf: Path, tmp_path: Path) -> None:
    source = read_gguf(full_gguf)
    foreign = {
        "my.list": array(ValueType.INT8, []),
        "my.text": Value(ValueType.STRING, b"\xff"),
        "my.number": Value(ValueType.FLOAT64, 0.1),
    }
    tensors = list(source.tensors.values())
    file = make_plan(tmp_path / "in.gguf", source.metadata | foreign, tensors, [t.type for t in tensors]).files[0]
    raw = bytearray(file.size)
    raw[: len(file.header)] = file.header
    for t in file.tensors:
        raw[t.offset : t.offset + t.n_bytes] = t.source.rows.tobytes()
    file.path.write_bytes(raw)
    kept = read_gguf(quantize(file.path, tmp_path / "out.gguf", "Q8_0").paths[0]).metadata
    assert {key: kept[key] for key in foreign} == foreign
