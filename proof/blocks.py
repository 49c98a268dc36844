"""The blocks of a file's tensor against its source: their bytes where these can be made again, else their errors.

A block is right for one of two reasons. Where the source's rows, quantized here, give the same bytes, nothing more can
be asked. Where they do not (an importance matrix, another tool), the block must be as near to its source as its
type can bring it: its error is compared with that of the block made here, and it must resemble the source at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.format.types import TensorType
from exaone4_gguf.quant import kernels
from exaone4_gguf.quant.kernels import Bytes, Floats

Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SAMPLED = dict.fromkeys(("IQ4_NL", "IQ4_XS", "IQ3_S", "IQ3_XXS", "IQ2_S", "IQ2_XS", "IQ2_XXS", "IQ1_M", "IQ1_S"), 16)
"""Types that ggml quantizes at less than 6 million weights a second: one row of so many is made again."""

UNWEIGHTED = {"IQ2_XXS": 0.16, "IQ2_XS": 0.115, "IQ1_S": 0.33}
"""Types that ggml makes with an importance matrix only: the error, as a share of the weights' squares, that it reaches
with equal importance on weights with Student's t distribution (4 degrees), which is heavier-tailed than a model's."""

ANOTHER_COMPILER = 1.25
"""Where nearly all blocks of a tensor can be made again, another one may have at most so many times our block's error:
it comes from operations that a compiler fuses, which change the choice between almost equal blocks. (Measured with GCC
and -mfma: 1% of the blocks of Q4_K and Q6_K are other ones, none of the types without a search.)"""

OTHER_WEIGHTS = 4.0
LARGE_SHARE = 0.6
"""Where blocks are weighted by an importance matrix, a wrong one of 3 bits or more has more than 4 times our error,
and that is 60% of the weights' squares. Right blocks were measured with weights by column up to lognormal with sigma 4:
they reach 35 times our error, or 43% of the squares."""

_LEAST_BITS = 3.0
_RESEMBLANCE = ((4.0, 0.8), (3.0, 0.75), (0.0, 0.55))
_TERNARY = 0.3
"""The least correlation of a block with its source, by bits per weight. Right blocks, measured likewise, come to
0.878 (4 bits and more), 0.826 (3), 0.659 (less), and 0.40 for the ternary types; unrelated blocks of 256 to 0.25."""

_FLOAT_STEP = {"F32": 2.0**-22, "F16": 2.0**-10, "BF16": 2.0**-7}
_SMALLEST = {"F32": 1e-44, "F16": 6e-8, "BF16": 1e-40}
"""One step of each type, relative and at zero: what rounding another way than to the nearest can change."""
_TINY = 1e-30
_KEPT = 4
"""Places of wrong blocks that are kept."""


@dataclass
class Tally:
    """Counts and sums of squares over the blocks of one tensor so far.

    ``made`` blocks were made again, of which ``equal`` came out the same. ``worse`` and ``wrong`` count the blocks
    that fail the strict and the lenient comparison, and ``worse_at`` and ``wrong_at`` are the first of them, as
    (row, column).
    """

    blocks: int = 0
    made: int = 0
    equal: int = 0
    error: float = 0.0
    expected: float = 0.0
    energy: float = 0.0
    worse: int = 0
    wrong: int = 0
    worse_at: list[tuple[int, int]] = field(default_factory=list)
    wrong_at: list[tuple[int, int]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add the counts and sums of other rows."""
        for name in ("blocks", "made", "equal", "error", "expected", "energy", "worse", "wrong"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.worse_at = sorted(self.worse_at + other.worse_at)[:_KEPT]
        self.wrong_at = sorted(self.wrong_at + other.wrong_at)[:_KEPT]

    @property
    def relative_error(self) -> float:
        """The root mean square of the file's errors over that of the values."""
        return _root_ratio(self.error, self.energy)

    @property
    def expected_error(self) -> float:
        """The same of the errors that blocks made here have."""
        return _root_ratio(self.expected, self.energy)

    @property
    def all_equal(self) -> bool:
        """Every block was made again, byte for byte."""
        return self.equal == self.blocks

    @property
    def mostly_equal(self) -> bool:
        """The file was made by the same algorithm as ours."""
        return self.equal >= 0.9 * self.made and self.made > 0


def _root_ratio(error: float, energy: float) -> float:
    if energy == 0:
        return 0.0
    return float((error / energy) ** 0.5)


def compare(
    source: SourceTensor,
    file: SourceTensor,
    first: int,
    last: int,
    tolerance: float = 0.0,
    importance: Floats | None = None,
) -> Tally:
    """Compare some rows of a tensor.

    Args:
        tolerance: the relative difference that values of plain float types may have.
        importance: of each column, (columns,), where the importance matrix is at hand.
    """
    stored, original = file.rows[first:last], source.rows[first:last]
    if file.type.is_float:
        return _compare_floats(original, stored, source.type, file.type, first, tolerance)
    values = kernels.dequantize(original, source.type)
    if file.type.name in UNWEIGHTED and importance is None:
        blocks = _Blocks(values, stored, file.type)
        return _tally(blocks, blocks.energy * UNWEIGHTED[file.type.name], blocks.none, blocks.none, first)
    rows = slice(None, None, SAMPLED.get(file.type.name, 1))
    made = kernels.convert(original[rows], source.type, file.type, importance)
    if np.array_equal(made, stored):
        return _all_equal(values, made, file.type)
    blocks, again = _Blocks(values, stored, file.type), _Blocks(values[rows], made, file.type)
    equal, remade = blocks.none.copy(), blocks.none.copy()
    equal[rows] = (_by_block(stored[rows], file.type) == _by_block(made, file.type)).all(-1)
    remade[rows] = True
    expected = blocks.energy * (again.error.sum() / max(_TINY, again.energy.sum()))
    expected[rows] = again.error
    return _tally(blocks, expected, remade, equal, first)


class _Blocks:
    """Stored rows against the values that they stand for: sums for each block, of shape (rows, blocks)."""

    def __init__(self, values: Floats, stored: Bytes, type: TensorType) -> None:
        self.type = type
        shape = (len(values), -1, type.block_size)
        a, b = values.reshape(shape), kernels.dequantize(stored, type).reshape(shape)
        self.error = _sums(a - b, a - b)
        self.energy = _sums(a, a)
        self.likeness = _sums(a, b) / np.maximum(_TINY, np.sqrt(self.energy * _sums(b, b)))
        self.none = np.zeros(self.error.shape, np.bool_)


def _sums(a: Floats, b: Floats) -> Doubles:
    return np.einsum("rbi,rbi->rb", a, b).astype(np.float64)


def _by_block(rows: Bytes, type: TensorType) -> Bytes:
    return rows.reshape(len(rows), -1, type.type_size)


def _tally(blocks: _Blocks, expected: Doubles, made: Flags, equal: Flags, first: int) -> Tally:
    # a comparison with NaN is false: what is not right is wrong
    more = ~equal & ~(blocks.error <= ANOTHER_COMPILER * expected + _TINY)
    worse = made & more
    share = ~(blocks.error <= LARGE_SHARE * blocks.energy) & (blocks.type.bits_per_weight >= _LEAST_BITS)
    large = share & ~(blocks.error <= OTHER_WEIGHTS * expected)
    wrong = more & (large | ~(blocks.likeness >= resemblance(blocks.type)))
    width = blocks.type.block_size
    return Tally(
        blocks=equal.size,
        made=int(made.sum()),
        equal=int(equal.sum()),
        error=float(blocks.error.sum()),
        expected=float(expected.sum()),
        energy=float(blocks.energy.sum()),
        worse=int(worse.sum()),
        wrong=int(wrong.sum()),
        worse_at=_places(worse, first, width),
        wrong_at=_places(wrong, first, width),
    )


def resemblance(type: TensorType) -> float:
    """The least correlation of a block of that type with its source."""
    if type.name.startswith("TQ"):
        return _TERNARY
    return next(least for bits, least in _RESEMBLANCE if type.bits_per_weight >= bits)


def _places(flags: Flags, first: int, width: int) -> list[tuple[int, int]]:
    return [(first + int(row), int(block) * width) for row, block in np.argwhere(flags)[:_KEPT]]


def _compare_floats(
    original: Bytes, stored: Bytes, source: TensorType, type: TensorType, first: int, tolerance: float
) -> Tally:
    """Values that are stored as they are: the same bytes, or as near as the type's rounding."""
    made = original
    if source != type:
        made = kernels.convert(original, source, type)
    if np.array_equal(made, stored):
        return _all_equal(kernels.dequantize(original, source), made, type)
    a, b, c = kernels.dequantize(original, source), kernels.dequantize(stored, type), kernels.dequantize(made, type)
    exact = a == c
    allowed = np.where(exact, tolerance * np.abs(a), _FLOAT_STEP[type.name] * np.abs(a) + _SMALLEST[type.name])
    equal = (b == c) | (np.abs(a - b) <= tolerance * np.abs(a))
    wrong = ~equal & ~(np.abs(a - b) <= allowed)
    return Tally(
        blocks=equal.size,
        made=equal.size,
        equal=int(equal.sum()),
        error=_squares(a - b),
        expected=_squares(a - c),
        energy=_squares(a),
        worse=int(wrong.sum()),
        wrong=int(wrong.sum()),
        worse_at=_places(wrong, first, 1),
        wrong_at=_places(wrong, first, 1),
    )


def _all_equal(values: Floats, made: Bytes, type: TensorType) -> Tally:
    n = made.size // type.type_size
    error = _squares(values - kernels.dequantize(made, type))
    return Tally(n, n, n, error, error, _squares(values))


def _squares(values: Floats) -> float:
    return float(np.einsum("rc,rc->", values, values, dtype=np.float64))
