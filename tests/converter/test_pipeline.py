"""Values that cannot be stored are found and named; memory stays bounded."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

import pytest
import torch

from benchmarks.memory import peak_anonymous
from exaone4_gguf.converter.convert import convert
from exaone4_gguf.converter.pipeline import default_threads
from exaone4_gguf.errors import TensorError
from tests.checkpoints import full_config, random_tensors, write_checkpoint

NAME, GGUF_NAME = "model.layers.1.mlp.up_proj.weight", "blk.1.ffn_up.weight"


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("outtype", ["auto", "F32", "Q8_0", "Q4_K_M"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_named(dtype: str, outtype: str, value: float, tmp_path: Path) -> None:
    tensors = random_tensors(full_config(), dtype)
    tensors[NAME][500, 17] = value
    folder = write_checkpoint(tmp_path / "model", full_config(), tensors)
    with pytest.raises(TensorError, match=rf"tensor {GGUF_NAME} \({NAME}\) is {value} at \[500, 17\]"):
        convert(folder, tmp_path / "out.gguf", outtype)
    assert not (tmp_path / "out.gguf").exists()


def test_a_vector_is_checked_as_well(tmp_path: Path) -> None:
    tensors = random_tensors(full_config())
    tensors["model.norm.weight"][9] = float("nan")
    folder = write_checkpoint(tmp_path / "model", full_config(), tensors)
    with pytest.raises(TensorError, match=r"tensor output_norm.weight \(model.norm.weight\) is nan at \[9\]"):
        convert(folder, tmp_path / "out.gguf")


@pytest.mark.parametrize("outtype", ["F16", "Q8_0", "Q4_0", "Q4_K_M"])
def test_a_value_too_large_for_its_type_is_named(outtype: str, tmp_path: Path) -> None:
    tensors = random_tensors(full_config(), "F32")
    tensors[NAME][500, 17] = -3e38
    folder = write_checkpoint(tmp_path / "model", full_config(), tensors)
    with pytest.raises(
        TensorError, match=rf"tensor {GGUF_NAME} \({NAME}\) has -3e\+38 at \[500, 17\], which \w+ cannot hold"
    ):
        convert(folder, tmp_path / "out.gguf", outtype)


def test_rounding_up_to_infinity_is_found(tmp_path: Path) -> None:
    """The largest F32 is above the largest BF16."""
    tensors = random_tensors(full_config(), "F32")
    tensors[NAME][0, 0] = torch.finfo(torch.float32).max
    folder = write_checkpoint(tmp_path / "model", full_config(), tensors)
    with pytest.raises(TensorError, match=r"has 3.40282e\+38 at \[0, 0\], which BF16 cannot hold"):
        convert(folder, tmp_path / "out.gguf", "BF16")


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_number_of_threads_changes_nothing(threads: int, full: Path, full_gguf: Path, tmp_path: Path) -> None:
    path = convert(full, tmp_path / "a.gguf", threads=threads).paths[0]
    assert path.read_bytes() == full_gguf.read_bytes()


def test_no_threads_are_left(full: Path, tmp_path: Path) -> None:
    convert(full, tmp_path / "a.gguf", "Q4_K_M")
    assert not [t for t in threading.enumerate() if t.name.startswith("quantize")]


def test_default_threads_are_the_processors_of_this_process() -> None:
    assert 1 <= default_threads() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    """Four times the weights, the same memory; the figures for the real shapes are in benchmarks/."""
    peaks = []
    for layers in (8, 32):
        size = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16, "head_dim": 64}
        config = full_config(**size, num_hidden_layers=layers, layer_types=["full_attention"] * layers)
        folder = write_checkpoint(tmp_path / str(layers), config)
        command = [sys.executable, "-m", "exaone4_gguf", "convert", str(folder), str(tmp_path / f"{layers}.gguf")]
        peaks.append(peak_anonymous([*command, "--outtype", "Q8_0"]))
    small, large = peaks
    assert large < small * 1.25
    assert large < 300e6
