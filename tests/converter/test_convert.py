"""The two functions: names of the target, lossless types, requantizing. Bytes are in tests/quant/test_recipes.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from exaone4_gguf.converter.convert import convert, quantize
from exaone4_gguf.converter.gguf_file import read_gguf
from exaone4_gguf.errors import GGUFError, QuantizeError
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
