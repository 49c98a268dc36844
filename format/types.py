"""The tensor types of ggml: their names, ids, block shapes, and where a block keeps its scales.

To add a type, add a row. Ids and sizes are ggml's (ggml.h, ggml-common.h); a test compares every row
with the installed library.
"""

from __future__ import annotations

from dataclasses import dataclass

from exaone4_gguf.errors import QuantizeError


@dataclass(frozen=True)
class TensorType:
    """One way to store a row of weights.

    ``block_size`` weights take ``type_size`` bytes. ``scales`` are the byte offsets, within a block, of the
    F16 numbers that scale it: a block is finite exactly if these are.
    """

    name: str
    id: int
    block_size: int
    type_size: int
    scales: tuple[int, ...] = ()

    @property
    def is_float(self) -> bool:
        """True for the types that hold plain floating-point values."""
        return self.name in FLOATS

    @property
    def bits_per_weight(self) -> float:
        """Bits that one weight takes, its share of the scales included."""
        return 8 * self.type_size / self.block_size

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row of ``columns`` weights; ``block_size`` must divide ``columns``."""
        return columns // self.block_size * self.type_size

    def __str__(self) -> str:
        return self.name


FLOATS = ("F32", "F16", "BF16")

_ROWS = (
    TensorType("F32", 0, 1, 4),
    TensorType("F16", 1, 1, 2),
    TensorType("BF16", 30, 1, 2),
    TensorType("Q4_0", 2, 32, 18, scales=(0,)),
    TensorType("Q4_1", 3, 32, 20, scales=(0, 2)),
    TensorType("Q5_0", 6, 32, 22, scales=(0,)),
    TensorType("Q5_1", 7, 32, 24, scales=(0, 2)),
    TensorType("Q8_0", 8, 32, 34, scales=(0,)),
    TensorType("Q2_K", 10, 256, 84, scales=(80, 82)),
    TensorType("Q3_K", 11, 256, 110, scales=(108,)),
    TensorType("Q4_K", 12, 256, 144, scales=(0, 2)),
    TensorType("Q5_K", 13, 256, 176, scales=(0, 2)),
    TensorType("Q6_K", 14, 256, 210, scales=(208,)),
    TensorType("IQ2_XXS", 16, 256, 66, scales=(0,)),
    TensorType("IQ2_XS", 17, 256, 74, scales=(0,)),
    TensorType("IQ3_XXS", 18, 256, 98, scales=(0,)),
    TensorType("IQ1_S", 19, 256, 50, scales=(0,)),
    TensorType("IQ4_NL", 20, 32, 18, scales=(0,)),
    TensorType("IQ3_S", 21, 256, 110, scales=(0,)),
    TensorType("IQ2_S", 22, 256, 82, scales=(0,)),
    TensorType("IQ4_XS", 23, 256, 136, scales=(0,)),
    TensorType("IQ1_M", 29, 256, 56),
    TensorType("TQ1_0", 34, 256, 54, scales=(52,)),
    TensorType("TQ2_0", 35, 256, 66, scales=(64,)),
    TensorType("MXFP4", 39, 32, 17),
)

TYPES = {t.name: t for t in _ROWS}
TYPES_BY_ID = {t.id: t for t in _ROWS}

# What we write. The others can be read, listed, and kept as they are.
WRITABLE = (
    *FLOATS,
    *("Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "Q4_0", "IQ4_NL", "IQ4_XS", "Q3_K", "Q2_K"),
)


def writable_type(name: str) -> TensorType:
    """The tensor type of that name (any case).

    Raises:
        QuantizeError: no such type, or one that is only read.
    """
    if name.upper() not in WRITABLE:
        raise QuantizeError(f"unknown tensor type '{name}'; one of: {', '.join(WRITABLE)}")
    return TYPES[name.upper()]
