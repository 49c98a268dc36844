"""Which files a folder's weights are in, and what is refused about them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from exaone4_gguf.converter.checkpoint.folder import load_json, read_tensors
from exaone4_gguf.errors import CheckpointError
from tests.checkpoints import full_config, write_checkpoint


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model", full_config(), shards=3)


def edit_index(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    edit(index["weight_map"])
    path.write_text(json.dumps(index))


def test_shards_hold_what_one_file_holds(sharded: Path, full: Path) -> None:
    one, three = read_tensors(full), read_tensors(sharded)
    assert {n: t.rows.tobytes() for n, t in one.items()} == {n: t.rows.tobytes() for n, t in three.items()}


def test_a_single_file_goes_before_shards_as_in_transformers(sharded: Path, full: Path) -> None:
    (sharded / "model.safetensors").write_bytes((full / "model.safetensors").read_bytes())
    (sharded / "model-00002-of-00003.safetensors").unlink()
    assert len(read_tensors(sharded)) == len(read_tensors(full))


def test_no_weights(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no weights: neither model.safetensors or pytorch_model.bin"):
        read_tensors(tmp_path)


def test_a_missing_shard_is_named(sharded: Path) -> None:
    (sharded / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00003.safetensors: the shard is missing"):
        read_tensors(sharded)


@pytest.mark.parametrize(
    "name", ["../a.safetensors", "..", "", "/etc/passwd", "a/b.safetensors", "a\\b", "C:a", 3, None, ["x"], {}]
)
def test_a_shard_name_that_leads_out_is_refused(name: Any, sharded: Path) -> None:
    edit_index(sharded, lambda weight_map: weight_map.update({"model.norm.weight": name}))
    with pytest.raises(CheckpointError, match="is not the name of a file in the folder"):
        read_tensors(sharded)


def test_an_index_that_does_not_fit_its_shards_is_refused(sharded: Path) -> None:
    edit_index(sharded, lambda w: w.update({"model.other": "model-00001-of-00003.safetensors"}))
    with pytest.raises(CheckpointError, match="tensor model.other is not in it, but the index says so"):
        read_tensors(sharded)


def test_a_tensor_in_two_shards_is_refused(sharded: Path) -> None:
    first, second = (sharded / f"model-0000{i}-of-00003.safetensors" for i in (1, 2))
    tensors = load_file(second)
    name = next(iter(load_file(first)))
    save_file(tensors | {name: load_file(first)[name]}, second)
    with pytest.raises(CheckpointError, match=f"tensor {name} is in another shard too"):
        read_tensors(sharded)


@pytest.mark.parametrize("content", ["{", "[]", '{"weight_map": []}', '{"weight_map": {}}', "[" * 100_000, "\xff"])
def test_an_index_that_is_none_is_refused(content: str, sharded: Path) -> None:
    (sharded / "model.safetensors.index.json").write_text(content, encoding="latin-1")
    with pytest.raises(CheckpointError, match="not JSON|not a JSON object|no weight_map"):
        read_tensors(sharded)


def test_load_json_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="config.json: no such file"):
        load_json(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="not a file"):
        load_json(tmp_path)
