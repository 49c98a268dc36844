"""An adapter beside the weights, or without them, is named, with what to do about it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import save_file
from torch import zeros

from exaone4_gguf.converter.checkpoint.adapter import check_no_adapter
from exaone4_gguf.converter.convert import convert
from exaone4_gguf.errors import CheckpointError

LORA = {"peft_type": "LORA", "base_model_name_or_path": "LGAI-EXAONE/EXAONE-4.0-1.2B", "r": 8}


def add_adapter(folder: Path, *names: str, config: object = LORA) -> Path:
    for name in names:
        if name.endswith(".json"):
            (folder / name).write_text(json.dumps(config))
        else:
            save_file({"base_model.model.model.layers.0.mlp.up_proj.lora_A.weight": zeros(8, 256)}, folder / name)
    return folder


BOTH = ("adapter_config.json", "adapter_model.safetensors")


@pytest.mark.parametrize("names", [BOTH, ("adapter_config.json", "adapter_model.bin"), ("adapter_config.json",)])
def test_beside_the_weights(names: tuple[str, ...], checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    folder = add_adapter(checkpoint(), *names)
    with pytest.raises(CheckpointError) as raised:
        convert(folder, tmp_path / "a.gguf")
    listed = " and ".join(names)
    assert str(raised.value) == (
        f"{folder}: {listed}: an adapter (LORA) of LGAI-EXAONE/EXAONE-4.0-1.2B, which transformers puts on top of the "
        "weights; merge it into its base first (peft: merge_and_unload, then save_pretrained), "
        f"or move {listed} away to convert the weights without it"
    )
    assert not (tmp_path / "a.gguf").exists()
    for name in names:
        (folder / name).unlink()
    assert convert(folder, tmp_path / "a.gguf").written


def test_without_weights(tmp_path: Path) -> None:
    """As a training run leaves it: the configuration of the model is not there either."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("training_args.bin", "optimizer.bin", "README.md"):
        (folder / name).write_bytes(b"x")
    message = "adapter_config.json and adapter_model.safetensors: an adapter .* without the weights that it belongs to"
    with pytest.raises(CheckpointError, match=f"{message}; merge it into its base first"):
        convert(add_adapter(folder, *BOTH), tmp_path / "a.gguf")
    (folder / "adapter_config.json").unlink()
    with pytest.raises(CheckpointError, match="adapter_model.safetensors: an adapter without the weights"):
        convert(folder, tmp_path / "a.gguf")


def test_its_weights_alone_are_left_out_as_in_transformers(
    full: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(full, tmp_path / "model")
    plain = convert(folder, tmp_path / "a.gguf").paths[0].read_bytes()
    add_adapter(folder, "adapter_model.safetensors")
    assert convert(folder, tmp_path / "b.gguf").paths[0].read_bytes() == plain
    assert "adapter_model.safetensors is left out" in caplog.text


@pytest.mark.parametrize("config", [{}, {"peft_type": 5, "base_model_name_or_path": None}, {"peft_type": "A\nB" * 999}])
def test_whatever_its_configuration_says(config: object, checkpoint: Callable[..., Path]) -> None:
    with pytest.raises(CheckpointError, match="an adapter") as raised:
        check_no_adapter(add_adapter(checkpoint(), *BOTH, config=config))
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 700


def test_nothing_is_said_where_there_is_none(full: Path, caplog: pytest.LogCaptureFixture) -> None:
    check_no_adapter(full)
    assert not caplog.text
