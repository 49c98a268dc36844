"""The safetensors format: a JSON header that says where each tensor's bytes lie.

Read here, because the safetensors library refuses BF16 in numpy and gguf-py's reader trusts the offsets.
Source of the format: https://huggingface.co/docs/safetensors
"""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.format.disguise import disguise
from exaone4_gguf.format.tensor import Bytes, SourceTensor, as_rows, map_file
from exaone4_gguf.format.types import TYPES, TensorType

# The dtypes a weight may have here. Others (F8_E4M3, I8, ...) are those of quantized checkpoints.
DTYPES = {"F32": TYPES["F32"], "F16": TYPES["F16"], "BF16": TYPES["BF16"]}

_MAX_HEADER = 100_000_000  # the limit of the safetensors library


def read_safetensors(path: Path) -> dict[str, SourceTensor]:
    """Map a shard and list its tensors by name.

    Raises:
        CheckpointError: the shard is missing, truncated, its header is no JSON object, or a tensor has an
            unsupported dtype, points past the end, or overlaps another.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: the shard is missing")
    raw = map_file(path)
    try:
        return _parse(raw)
    except CheckpointError as e:
        told = disguise(path)
        raise CheckpointError(f"{path}: it is {told}" if told else f"{path}: {e}") from None


def _parse(raw: Bytes) -> dict[str, SourceTensor]:
    header_size = int.from_bytes(raw[:8].tobytes(), "little")
    if len(raw) < 8 or header_size > min(len(raw) - 8, _MAX_HEADER):
        raise CheckpointError("truncated, or not a safetensors file: its header goes past the end")
    header = _header(raw[8 : 8 + header_size].tobytes())
    data = raw[8 + header_size :]
    tensors = {name: _tensor(name, entry, data) for name, entry in header.items() if name != "__metadata__"}
    _check_overlaps(header, tensors)
    return tensors


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as e:
        raise CheckpointError(f"its header is not JSON ({e})") from None
    if not isinstance(header, dict):
        raise CheckpointError("its header is not a JSON object")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise CheckpointError(f"its header has '{twice}' twice")
    return dict(pairs)


def _tensor(name: str, entry: Any, data: Bytes) -> SourceTensor:
    try:
        dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        raise CheckpointError(f"tensor {name}: its header entry lacks dtype, shape or data_offsets") from None
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise CheckpointError(
            f"tensor {name} has dtype {dtype}; supported are {', '.join(DTYPES)} (is this a quantized checkpoint?)"
        )
    if not isinstance(shape, list) or not all(_is_count(n) for n in (*shape, start, end)):
        raise CheckpointError(f"tensor {name}: its shape and offsets must be whole numbers, not negative")
    type = DTYPES[dtype]
    size = math.prod(shape) * type.type_size
    if end - start != size:
        raise CheckpointError(f"tensor {name}: shape {shape} needs {size} bytes, its offsets span {end - start}")
    if end > len(data):
        raise CheckpointError(f"truncated: tensor {name} ends {end - len(data):,} bytes past the end of the file")
    return _view(name, tuple(shape), type, data[start:end])


def _view(name: str, shape: tuple[int, ...], type: TensorType, raw: Bytes) -> SourceTensor:
    return SourceTensor(name, shape, type, as_rows(raw, shape, type))


def _is_count(n: Any) -> bool:
    return isinstance(n, int) and not isinstance(n, bool) and n >= 0


def _check_overlaps(header: dict[str, Any], names: dict[str, SourceTensor]) -> None:
    spans = sorted((*header[name]["data_offsets"], name) for name in names)
    for (_, end, name), (start, _, following) in itertools.pairwise(spans):
        if start < end:
            raise CheckpointError(f"tensors {name} and {following} overlap")
