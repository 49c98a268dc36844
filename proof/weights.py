"""A checkpoint's tensors as they lie in its files, found without the converter."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from exaone4_gguf.converter.source import SourceTensor
from exaone4_gguf.converter.torch_file import read_torch
from exaone4_gguf.converter.weight_files import unindexed_files
from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.proof.configuration import read_json
from exaone4_gguf.quant.types import TYPES

DTYPES = ("F32", "F16", "BF16")


def read_weights(folder: Path) -> dict[str, SourceTensor]:
    """All tensors by their names in the files, mapped.

    Raises:
        CheckpointError: there are none, or a file is damaged.
    """
    tensors: dict[str, SourceTensor] = {}
    for path in _files(folder):
        try:
            tensors |= read_torch(path) if path.suffix == ".bin" else _read_safetensors(path)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as e:
            raise CheckpointError(f"{path}: it cannot be read: {e}") from None
    if not tensors:
        raise CheckpointError(f"{folder}: no weights")
    return tensors


def _files(folder: Path) -> Iterable[Path]:
    """The files in the order in which transformers looks for them; without an index, those that belong together."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (folder / name).is_file():
            return [folder / name]
        if (folder / f"{name}.index.json").is_file():
            shards = read_json(folder / f"{name}.index.json").get("weight_map")
            return [folder / str(shard) for shard in sorted(set(shards.values()))] if isinstance(shards, dict) else []
    return unindexed_files(folder)


def _read_safetensors(path: Path) -> dict[str, SourceTensor]:
    """By gguf-py's reader, which trusts the offsets: a file that ends before is found here."""
    from gguf.utility import SafetensorsLocal

    tensors, raw = {}, np.asarray(np.memmap(path, np.uint8, "r"))
    for name, tensor in SafetensorsLocal(path).tensors.items():
        if tensor.dtype not in DTYPES:
            raise CheckpointError(f"{path}: tensor {name} has dtype {tensor.dtype}; supported are {', '.join(DTYPES)}")
        type = TYPES[tensor.dtype]
        first, size = tensor.data_range.offset, tensor.data_range.size
        if size != math.prod(tensor.shape) * type.type_size or first + size > len(raw):
            raise CheckpointError(f"{path}: tensor {name} does not fill its place in the file")
        rows = raw[first : first + size].reshape(math.prod(tensor.shape[:-1]), -1)
        tensors[name] = SourceTensor(name, tensor.shape, type, rows)
    return tensors
