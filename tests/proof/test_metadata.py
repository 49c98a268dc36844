"""Keys are judged by what llama.cpp takes them for, whether they are there or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.format import values
from exaone4_gguf.format.file import read_gguf
from exaone4_gguf.format.values import ValueType
from exaone4_gguf.proof.metadata import check_metadata
from exaone4_gguf.proof.reading.configuration import read_configuration
from exaone4_gguf.proof.report import Verdict
from tests.checkpoints import full_config, hybrid_config, write_checkpoint
from tests.proof.wrong_files import rewritten

A = "exaone4."
FINE: dict[str, dict[str, Any]] = {
    "nothing": {},
    "lengths that follow": {f"{A}attention.key_length": None, f"{A}attention.value_length": None},
    "no size of the vocabulary": {f"{A}vocab_size": None},
    "no RoPE pattern, which llama.cpp does not read": {f"{A}attention.rope_pattern": None},
    "a dimension count": {f"{A}rope.dimension_count": values.u32(32)},
    "no scaling, said twice": {
        f"{A}rope.scaling.type": values.string("none"),
        f"{A}rope.scaling.factor": values.f32(1.0),
    },
    "heads by layer": {f"{A}attention.head_count_kv": values.array(ValueType.UINT32, [2] * 4)},
    "another name": {"general.name": values.string("Fine-tune")},
}


@pytest.mark.parametrize("name", FINE)
def test_other_words_for_the_same_pass(name: str, full: Path, full_gguf: Path, tmp_path: Path) -> None:
    path = rewritten(full_gguf, tmp_path / "a.gguf", FINE[name])
    part = check_metadata(read_configuration(full), read_gguf(path))
    assert part.verdict is Verdict.PASSED, part.findings


def test_a_pattern_may_be_a_number(hybrid: Path, tmp_path: Path) -> None:
    """LLLG is llama.cpp's 4, and its default at 64 layers."""
    right = convert(hybrid, tmp_path / "a.gguf").paths[0]
    for value in (values.u32(4), None):
        path = rewritten(right, tmp_path / "b.gguf", {f"{A}attention.sliding_window_pattern": value})
        assert check_metadata(read_configuration(hybrid), read_gguf(path)).verdict is Verdict.PASSED


def test_a_foreign_key_is_told(full: Path, full_gguf: Path, tmp_path: Path) -> None:
    path = rewritten(full_gguf, tmp_path / "a.gguf", {f"{A}colour": values.string("blue")})
    part = check_metadata(read_configuration(full), read_gguf(path))
    assert (part.verdict, part.notes) == (Verdict.PASSED, ("llama.cpp's exaone4 does not read exaone4.colour",))


@pytest.mark.parametrize(
    "config",
    [full_config(sliding_window=64), hybrid_config(num_hidden_layers=4, layer_types=["sliding_attention"] * 4)],
)
def test_a_checkpoint_that_llama_cpp_computes_wrong_has_no_right_file(config: dict[str, Any], tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", config)
    path = convert(folder, tmp_path / "a.gguf", allow_wrong_in_llama_cpp=True).paths[0]
    part = check_metadata(read_configuration(folder), read_gguf(path))
    assert part.verdict is Verdict.FAILED
    assert "llama.cpp never uses a window" in part.findings[0].what
