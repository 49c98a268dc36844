"""Shards in torch's own format (``pytorch_model*.bin``), read by torch, mapped and without running pickled code."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.format.disguise import disguise
from exaone4_gguf.format.tensor import SourceTensor, as_rows
from exaone4_gguf.format.types import TYPES

if TYPE_CHECKING:
    import torch

DTYPES = {"torch.float32": TYPES["F32"], "torch.float16": TYPES["F16"], "torch.bfloat16": TYPES["BF16"]}

_NESTED = ("state_dict", "model_state_dict", "model", "module")
"""Where Lightning, accelerate, common training loops and DeepSpeed keep the weights in what they save."""


def read_torch(path: Path) -> dict[str, SourceTensor]:
    """Map a shard and list its tensors by name.

    Raises:
        CheckpointError: torch is not installed, the shard is missing, damaged, holds more than tensors, or a
            tensor has an unsupported dtype.
    """
    told = disguise(path)
    if told:
        raise CheckpointError(f"{path}: it is {told}")
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
    return dict(_tensor(path, name, value) for name, value in _state_of(state).items())


def _state_of(saved: dict[object, Any]) -> dict[object, Any]:
    """The model's weights, of a training state that has them under a name of its own."""
    nested: list[dict[object, Any]] = [saved[key] for key in _NESTED if isinstance(saved.get(key), dict)]
    if len(nested) == 1:
        return nested[0]
    return saved


def _tensor(path: Path, name: object, value: torch.Tensor) -> tuple[str, SourceTensor]:
    dtype = getattr(value, "dtype", None)
    if not isinstance(name, str) or dtype is None:
        raise CheckpointError(f"{path}: '{name}' is a {type(value).__name__}, not a tensor")
    if str(dtype) not in DTYPES:
        raise CheckpointError(f"{path}: tensor {name} has dtype {dtype}; supported are {', '.join(DTYPES)}")
    import torch

    stored = DTYPES[str(dtype)]
    shape = tuple(value.shape)
    raw = value.detach().contiguous().view(-1).view(torch.uint8).numpy()
    return name, SourceTensor(name, shape, stored, as_rows(raw, shape, stored))
