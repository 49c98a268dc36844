"""The two functions: names of the target, lossless types, requantizing. Bytes are in tests/quant/test_recipes.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from exaone4_gguf.converter.convert import convert, quantize
from exaone4_gguf.errors import CheckpointError, GGUFError, QuantizeError
from exaone4_gguf.format.file import read_gguf
from tests.checkpoints import DTYPES, full_config, random_tensors, write_checkpoint


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_lossless_file_holds_the_checkpoints_bits(dtype: str, tmp_path: Path) -> None:
    tensors = random_tensors(full_config(), dtype)
    folder = write_checkpoint(tmp_path / "model", full_config(), tensors)
    result = convert(folder, tmp_path / "a.gguf")
    found = read_gguf(result.paths[0]).tensors
    assert result.file_type.name == dtype
    matrix = tensors["model.layers.0.mlp.up_proj.weight"]
    assert found["blk.0.ffn_up.weight"].rows.tobytes() == matrix.view(torch.uint8).numpy().tobytes()
    norm = tensors["model.norm.weight"].float().numpy()
    assert np.array_equal(found["output_norm.weight"].rows.view(np.float32)[0], norm)


def test_a_mixed_checkpoint_keeps_each_dtype(tmp_path: Path) -> None:
    tensors = random_tensors(full_config())
    tensors["model.embed_tokens.weight"] = tensors["model.embed_tokens.weight"].float()
    result = convert(write_checkpoint(tmp_path / "model", full_config(), tensors), tmp_path / "a.gguf")
    types = {n: t.type.name for n, t in read_gguf(result.paths[0]).tensors.items()}
    assert (types["token_embd.weight"], types["blk.0.attn_q.weight"]) == ("F32", "BF16")
    assert result.file_type.name == "BF16"


def test_shards_give_the_file_that_one_gives(full_gguf: Path, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "EXAONE-4.0-Tiny", full_config(), shards=4)
    assert convert(folder, tmp_path / "a.gguf").paths[0].read_bytes() == full_gguf.read_bytes()


def test_a_folder_as_target_gets_a_file_with_the_models_name(full: Path, full_gguf: Path, tmp_path: Path) -> None:
    assert convert(full, tmp_path, "Q4_K").paths == (tmp_path / "EXAONE-4.0-Tiny-Q4_K_M.gguf",)
    assert quantize(full_gguf, tmp_path, "Q8_0").paths == (tmp_path / "EXAONE-4.0-Tiny-Q8_0.gguf",)


def test_a_dry_run_reads_no_weight_and_writes_nothing(full: Path, tmp_path: Path) -> None:
    result = convert(full, tmp_path / "a.gguf", dry_run=True)
    assert not result.written
    assert not list(tmp_path.iterdir())


def test_what_is_quantized_is_quantized_again_only_if_asked(full: Path, tmp_path: Path) -> None:
    q8 = convert(full, tmp_path / "q8.gguf", "Q8_0").paths[0]
    with pytest.raises(QuantizeError, match="tensor .* is Q8_0 already; .* --allow-requantize"):
        quantize(q8, tmp_path / "q4.gguf", "Q4_0")
    assert quantize(q8, tmp_path / "same.gguf", "Q8_0").paths[0].read_bytes() == q8.read_bytes()


def test_a_file_without_its_depth_is_refused(full_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(full_gguf.read_bytes().replace(b"exaone4.block_count", b"exaone4.block_cound"))
    with pytest.raises(GGUFError, match="it has no exaone4.block_count"):
        quantize(path, tmp_path / "b.gguf", "Q8_0")


LEFT_OVER: dict[str, dict[str, Any]] = {
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "gptq": {"quant_method": "gptq", "bits": 4},
    "fp8": {"quant_method": "fp8"},
    "compressed-tensors": {"quant_method": "compressed-tensors", "config_groups": {}},
}


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("method", LEFT_OVER)
def test_a_quantization_that_was_undone_is_none(
    method: str, dtype: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The weights' dtypes decide; the file is that of the checkpoint without the left-over."""
    config = full_config()
    tensors = random_tensors(config, dtype)
    plain = write_checkpoint(tmp_path / "a" / "model", config, tensors)
    left = write_checkpoint(tmp_path / "b" / "model", config | {"quantization_config": LEFT_OVER[method]}, tensors)
    same = [convert(folder, folder.parent / "a.gguf").paths[0].read_bytes() for folder in (plain, left)]
    assert same[0] == same[1]
    assert f"quantization_config ({method}) is left over: the weights are plain" in caplog.text


UP = "model.layers.0.mlp.up_proj"
QUANTIZED: dict[str, Callable[[dict[str, torch.Tensor]], None]] = {
    "bitsandbytes": lambda t: t.update({f"{UP}.weight": torch.zeros(65536, 1, dtype=torch.uint8)}),
    "bitsandbytes, 8 bits": lambda t: t.update({f"{UP}.weight": t[f"{UP}.weight"].to(torch.int8)}),
    "gptq": lambda t: t.update({f"{UP}.qweight": t.pop(f"{UP}.weight")[:32].to(torch.int32)}),
    "fp8": lambda t: t.update({f"{UP}.weight": t[f"{UP}.weight"].to(torch.float8_e4m3fn)}),
    "fp8, scales beside": lambda t: t.update({f"{UP}.weight_scale_inv": torch.ones(4, 2)}),
}


@pytest.mark.parametrize("case", QUANTIZED)
def test_a_checkpoint_that_is_quantized_is_refused_by_its_method(case: str, tmp_path: Path) -> None:
    method = case.split(",")[0]
    config = full_config()
    tensors = random_tensors(config)
    QUANTIZED[case](tensors)
    folder = write_checkpoint(tmp_path / "model", config | {"quantization_config": LEFT_OVER[method]}, tensors)
    with pytest.raises(CheckpointError, match=rf"is quantized \({method}, says config.json\); convert the original"):
        convert(folder, tmp_path / "a.gguf")
