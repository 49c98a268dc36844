"""A checkpoint's tensors as they lie in its files, found without the converter."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from exaone4_gguf.converter.checkpoint.folder import weight_files
from exaone4_gguf.converter.checkpoint.torch_file import read_torch
from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.format.disguise import disguise
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.format.types import TYPES

DTYPES = ("F32", "F16", "BF16")


def read_weights(folder: Path) -> dict[str, SourceTensor]:
    """All tensors by their names in the files, mapped.

    Raises:
        CheckpointError: there are none, or a file is damaged.
    """
    tensors: dict[str, SourceTensor] = {}
    for path in weight_files(folder):
        try:
            tensors |= read_torch(path) if path.suffix == ".bin" else _read_safetensors(path)
        except (OSError, ValueError, KeyError, TypeError, IndexError) as e:
            kind = disguise(path)
            reason = f"it is {kind}" if kind else f"it cannot be read: {e}"
            raise CheckpointError(f"{path}: {reason}") from None
    return tensors


def _read_safetensors(path: Path) -> dict[str, SourceTensor]:
    """A file's tensors by gguf-py's reader, which trusts the offsets: a file that ends before is noticed here."""
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
