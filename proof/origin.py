"""Whose values a tensor holds, where they are not those of its source: a diagnosis on some of its rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.format.types import TYPES
from exaone4_gguf.quant import kernels
from exaone4_gguf.quant.kernels import Floats

INTERMEDIATE = ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL")
"""Types that a tensor may have been quantized to before."""

SAME_GRID = {"IQ4_XS": "IQ4_NL"}
"""Types with the same steps: nobody can tell which came first."""

QUANTIZED_BEFORE = 0.75
"""How much of an intermediate type's error a tensor's own error must contain. Measured: at least 0.85 in tensors that
were quantized twice, at most 0.62 in others, with importance matrices of any kind."""

_CHANCE = 0.1
"""How far unrelated errors may make the share stray, at most: where it is more, nothing can be said."""

_TINY = 1e-30
_SAMPLE = 1 << 17  # weights
_ROWS = 12
_ALIKE = 0.5
"""The correlation from which two rows are the same one, quantized or not: that of unrelated ones is below 0.1."""


def quantized_before(source: SourceTensor, file: SourceTensor) -> tuple[str, float] | None:
    """The type whose values the tensor was made from, and how large that type's error is beside the tensor's own.

    If the values were quantized twice, the first error is contained in the whole: the projection of the tensor's
    error on the error of the intermediate type is 1. If not, it is 0, as far as the two types' grids differ.
    """
    rows = _some_rows(len(source.rows), max(1, _SAMPLE * len(source.rows) // max(1, source.n_weights)))
    values = kernels.dequantize(source.rows[rows], source.type)
    error = kernels.dequantize(file.rows[rows], file.type) - values
    best: tuple[str, float] | None = None
    for name in INTERMEDIATE:
        if name in (file.type.name, SAME_GRID.get(file.type.name)) or values.shape[1] % TYPES[name].block_size:
            continue
        first = kernels.dequantize(kernels.quantize(values, TYPES[name]), TYPES[name]) - values
        whole, part = float((error * error).sum()), float((first * first).sum())
        share = float((error * first).sum()) / max(_TINY, part)
        chance = (whole / max(_TINY, part) / error.size) ** 0.5
        size = part / max(_TINY, whole)
        if share >= QUANTIZED_BEFORE and chance < _CHANCE and (best is None or size > best[1]):
            best = name, size
    return best


def whose(file: SourceTensor, source: SourceTensor, others: Iterable[SourceTensor]) -> str:
    """What the tensor holds instead of its source's values, in words; empty if nothing is recognized."""
    rows = _some_rows(len(file.rows), _ROWS)
    stored = _normalized(kernels.dequantize(file.rows[rows], file.type))
    alike = _likeness(stored, source, rows)
    if (alike > _ALIKE).all():
        return ""
    for other in others:
        if other.shape != source.shape or other.name == source.name:
            continue
        if (_likeness(stored, other, rows) > _ALIKE).all():
            return f"it holds the values of {other.name}"
    return _reordered(stored, source, rows)


def _reordered(stored: Floats, source: SourceTensor, rows: list[int]) -> str:
    """Whether the rows are there in another order, as after a permutation for another RoPE."""
    best = np.full(len(rows), -1.0)
    at = np.zeros(len(rows), np.int64)
    for first in range(0, len(source.rows), 4096):
        part = _normalized(kernels.dequantize(source.rows[first : first + 4096], source.type))
        likeness = stored @ part.T
        better = likeness.max(1) > best
        at[better], best[better] = first + likeness.argmax(1)[better], likeness.max(1)[better]
    moved = np.flatnonzero((best > _ALIKE) & (at != rows))
    if len(moved) < 2:
        return ""
    i = moved[0]
    return f"its rows are in another order: row {rows[i]} holds the checkpoint's row {at[i]}"


def _likeness(stored: Floats, tensor: SourceTensor, rows: list[int]) -> Floats:
    values = _normalized(kernels.dequantize(tensor.rows[rows], tensor.type))
    likeness: Floats = (stored * values).sum(1)
    return likeness


def _normalized(values: Floats) -> Floats:
    scaled: Floats = values / np.maximum(_TINY, np.linalg.norm(values, axis=1, keepdims=True))
    return scaled


def _some_rows(n_rows: int, wanted: int) -> list[int]:
    """Row numbers, spread over the tensor."""
    return np.unique(np.linspace(0, n_rows - 1, min(n_rows, wanted)).astype(np.int64)).tolist()
