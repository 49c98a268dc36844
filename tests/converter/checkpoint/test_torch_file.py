"""Shards in torch's format: only weights, never code."""

from __future__ import annotations

import builtins
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from exaone4_gguf.converter.checkpoint.torch_file import read_torch
from exaone4_gguf.converter.convert import convert
from exaone4_gguf.errors import CheckpointError
from tests.checkpoints import full_config, random_tensors, write_checkpoint


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize("sharded", [False, True])
def test_the_same_file_as_from_safetensors(dtype: str, sharded: bool, tmp_path: Path) -> None:
    tensors = random_tensors(full_config(), dtype)
    folder = write_checkpoint(tmp_path / "model", full_config(), tensors)
    expected = convert(folder, tmp_path / "a.gguf").paths[0].read_bytes()
    (folder / "model.safetensors").unlink()
    if sharded:
        torch.save(tensors, folder / "pytorch_model-00001-of-00001.bin")
        index = {"weight_map": dict.fromkeys(tensors, "pytorch_model-00001-of-00001.bin")}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    else:
        torch.save(tensors, folder / "pytorch_model.bin")
    assert convert(folder, tmp_path / "b.gguf").paths[0].read_bytes() == expected


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("echo harm",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": Evil()}, "holds more than weights"),
        ({"a": torch.zeros(2, dtype=torch.int8)}, "dtype torch.int8"),
        ({"a": 1}, "'a' is a int, not a tensor"),
        ([torch.zeros(2)], "holds a list"),
    ],
)
def test_what_is_not_weights_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=message):
        read_torch(tmp_path / "pytorch_model.bin")


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match="pytorch_model.bin"):
        read_torch(tmp_path / "pytorch_model.bin")


def test_without_torch_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = builtins.__import__

    def no_torch(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "torch":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_torch)
    with pytest.raises(CheckpointError, match=r"pip install 'exaone4-gguf\[reference\]'"):
        read_torch(tmp_path / "pytorch_model.bin")
