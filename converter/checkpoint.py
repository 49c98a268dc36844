"""A Hugging Face folder's weights: which files hold them, and every tensor in them by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.safetensors_file import read_safetensors
from exaone4_gguf.converter.source import SourceTensor
from exaone4_gguf.converter.torch_file import read_torch
from exaone4_gguf.errors import CheckpointError

Reader = Callable[[Path], dict[str, SourceTensor]]

# In the order in which transformers looks for them.
_LAYOUTS: tuple[tuple[str, Reader], ...] = (
    ("model.safetensors", read_safetensors),
    ("pytorch_model.bin", read_torch),
)


def load_json(path: Path, error: type[CheckpointError] = CheckpointError) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        error: the file is missing, unreadable, or holds no JSON object.
    """
    if not path.is_file():
        raise error(f"{path}: {'not a file' if path.exists() else 'no such file'}")
    try:
        value = json.loads(path.read_bytes())
    except OSError as e:
        raise error(f"{path}: {e.strerror or e}") from None
    except (ValueError, RecursionError) as e:
        raise error(f"{path}: not JSON ({e})") from None
    if not isinstance(value, dict):
        raise error(f"{path}: not a JSON object")
    return value


def read_tensors(model_dir: Path) -> dict[str, SourceTensor]:
    """All tensors of the checkpoint, mapped.

    Raises:
        CheckpointError: no weights, a shard that is missing or damaged, or an index that does not fit its
            shards or names a file outside the folder.
    """
    for name, read in _LAYOUTS:
        if (model_dir / name).is_file():
            return read(model_dir / name)
        if (index := model_dir / f"{name}.index.json").is_file():
            return _read_shards(index, read)
    wanted = " or ".join(name for name, _ in _LAYOUTS)
    raise CheckpointError(f"{model_dir}: no weights: neither {wanted}, nor an index of shards")


def _read_shards(index: Path, read: Reader) -> dict[str, SourceTensor]:
    weight_map = load_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: it has no weight_map")
    paths = {_shard_path(index, name) for name in weight_map.values()}
    shards = {path.name: read(path) for path in sorted(paths)}
    tensors: dict[str, SourceTensor] = {}
    for shard, found in shards.items():
        for name, tensor in found.items():
            if name in tensors:
                raise CheckpointError(f"{index.with_name(shard)}: tensor {name} is in another shard too")
            tensors[name] = tensor
    for name, shard in weight_map.items():
        if name not in shards[shard]:
            raise CheckpointError(f"{index.with_name(shard)}: tensor {name} is not in it, but the index says so")
    return tensors


def _shard_path(index: Path, name: Any) -> Path:
    """The shard's path; a name that leads out of the folder is refused."""
    if not isinstance(name, str) or name in ("", ".", "..") or any(c in name for c in "/\\:\0"):
        raise CheckpointError(f"{index}: '{name}' is not the name of a file in the folder")
    return index.with_name(name)
