"""Shards in torch's own format (``pytorch_model*.bin``), read by torch, mapped and without running pickled code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING

from exaone4_gguf.converter.source import SourceTensor, as_rows
from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.quant.types import TYPES

if TYPE_CHECKING:
    import torch

DTYPES = {"torch.float32": TYPES["F32"], "torch.float16": TYPES["F16"], "torch.bfloat16": TYPES["BF16"]}


def read_torch(path: Path) -> dict[str, SourceTensor]:
    """Map a shard and list its tensors by name.

    Raises:
        CheckpointError: torch is not installed, the shard is missing, damaged, holds more than tensors, or a
            tensor has an unsupported dtype.
    """
    try:
        import torch
    except ImportError:
        raise CheckpointError(
            f"{path}: shards in torch's format need torch: pip install 'exaone4-gguf[reference]'"
        ) from None
    if not path.is_file():
        raise CheckpointError(f"{path}: the shard is missing")
    try:
        state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as e:
        raise CheckpointError(f"{path}: torch refuses it, as it holds more than weights") from e
    except (OSError, RuntimeError, ValueError, EOFError, KeyError) as e:
        raise CheckpointError(f"{path}: torch cannot read it ({str(e).splitlines()[0]})") from e
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: it holds a {type(state).__name__}, not a dictionary of tensors")
    return {name: _tensor(path, name, value) for name, value in state.items()}


def _tensor(path: Path, name: object, value: torch.Tensor) -> SourceTensor:
    dtype = getattr(value, "dtype", None)
    if not isinstance(name, str) or dtype is None:
        raise CheckpointError(f"{path}: '{name}' is a {type(value).__name__}, not a tensor")
    if str(dtype) not in DTYPES:
        raise CheckpointError(f"{path}: tensor {name} has dtype {dtype}; supported are {', '.join(DTYPES)}")
    import torch

    stored = DTYPES[str(dtype)]
    shape = tuple(value.shape)
    raw = value.detach().contiguous().view(-1).view(torch.uint8).numpy()
    return SourceTensor(name, shape, stored, as_rows(raw, shape, stored))
