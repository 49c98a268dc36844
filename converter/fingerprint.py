"""Which weights a file was made from: what ties a head to its base, whatever type the base is written in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.quant import kernels

_ROWS = 32
"""Rows of each tensor that count: training changes all of them, and to read all would take a second pass."""


def weights_id(tensors: Iterable[SourceTensor]) -> str:
    """A digest of the tensors' names, shapes and values, the last by rows that are spread evenly over each.

    Values, not bytes: a checkpoint that was saved again in a wider dtype is the same base.
    """
    digest = hashlib.sha256()
    for tensor in sorted(tensors, key=lambda t: t.name):
        digest.update(f"{tensor.name} {list(tensor.shape)}\n".encode())
        step = max(1, len(tensor.rows) // _ROWS)
        digest.update(kernels.dequantize(tensor.rows[::step], tensor.type).astype("<f4").tobytes())
    return digest.hexdigest()
