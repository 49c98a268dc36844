"""The tensor types of ggml: their names, ids, block shapes, and where a block keeps its scales.

To add a type, add a row. Ids and sizes are ggml's (ggml.h, ggml-common.h); a test compares every row
with the installed library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from exaone4_gguf.errors import QuantizeError


@dataclass(frozen=True)
class TensorType:
    """One way to store a row of weights.

    ``block_size`` weights take ``type_size`` bytes. ``scales`` are the byte offsets, within a block, of the
    F16 numbers that scale it: a block is finite exactly if these are.

    Args:
        activation: the type to which ggml rounds the inputs that it multiplies such weights with
            (``vec_dot_type``, ggml-cpu.c).
        written: its place among the types that we write, best first; 0 where it is only read and
            kept as it is.
        own_kernel: whether the project quantizes to it with a kernel of its own (quant/kernel.cpp).
        wants_imatrix: whether it is poor without an importance matrix.
        fallback: llama.cpp's next best type for rows that the block size does not divide.
        repacked: how many rows llama.cpp interleaves in the copy that its kernels read faster, by
            what the processor can do (ggml_repack_get_optimal_repack_type, ggml-cpu/repack.cpp).
    """

    name: str
    id: int
    block_size: int
    type_size: int
    activation: str
    scales: tuple[int, ...] = ()
    written: int = 0
    own_kernel: bool = False
    wants_imatrix: bool = False
    fallback: str | None = None
    repacked: Mapping[str, int] = field(default_factory=dict, hash=False)

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
    TensorType("F32", 0, 1, 4, "F32", written=1),
    TensorType("F16", 1, 1, 2, "F16", written=2),
    TensorType("BF16", 30, 1, 2, "BF16", written=3),
    TensorType(
        "Q4_0",
        2,
        32,
        18,
        "Q8_0",
        scales=(0,),
        written=11,
        own_kernel=True,
        repacked={"avx2": 8, "dotprod": 4, "i8mm": 4},
    ),
    TensorType("Q4_1", 3, 32, 20, "Q8_0", scales=(0, 2), written=10),
    TensorType("Q5_0", 6, 32, 22, "Q8_0", scales=(0,), written=8),
    TensorType("Q5_1", 7, 32, 24, "Q8_0", scales=(0, 2), written=7),
    TensorType("Q8_0", 8, 32, 34, "Q8_0", scales=(0,), written=4, own_kernel=True, repacked={"dotprod": 4, "i8mm": 4}),
    TensorType("Q2_K", 10, 256, 84, "Q8_K", scales=(80, 82), written=15, wants_imatrix=True, fallback="Q4_0"),
    TensorType("Q3_K", 11, 256, 110, "Q8_K", scales=(108,), written=14, fallback="Q4_0"),
    TensorType(
        "Q4_K",
        12,
        256,
        144,
        "Q8_K",
        scales=(0, 2),
        written=9,
        own_kernel=True,
        fallback="Q5_0",
        repacked={"avx2": 8, "dotprod": 8, "i8mm": 8},
    ),
    TensorType(
        "Q5_K",
        13,
        256,
        176,
        "Q8_K",
        scales=(0, 2),
        written=6,
        own_kernel=True,
        fallback="Q5_1",
        repacked={"dotprod": 8, "i8mm": 8},
    ),
    TensorType(
        "Q6_K",
        14,
        256,
        210,
        "Q8_K",
        scales=(208,),
        written=5,
        own_kernel=True,
        fallback="Q8_0",
        repacked={"dotprod": 8, "i8mm": 8},
    ),
    TensorType("IQ2_XXS", 16, 256, 66, "Q8_K", scales=(0,)),
    TensorType("IQ2_XS", 17, 256, 74, "Q8_K", scales=(0,)),
    TensorType("IQ3_XXS", 18, 256, 98, "Q8_K", scales=(0,)),
    TensorType("IQ1_S", 19, 256, 50, "Q8_K", scales=(0,)),
    TensorType(
        "IQ4_NL",
        20,
        32,
        18,
        "Q8_0",
        scales=(0,),
        written=12,
        own_kernel=True,
        wants_imatrix=True,
        repacked={"avx2": 8, "dotprod": 4},
    ),
    TensorType("IQ3_S", 21, 256, 110, "Q8_K", scales=(0,)),
    TensorType("IQ2_S", 22, 256, 82, "Q8_K", scales=(0,)),
    TensorType(
        "IQ4_XS", 23, 256, 136, "Q8_K", scales=(0,), written=13, own_kernel=True, wants_imatrix=True, fallback="IQ4_NL"
    ),
    TensorType("IQ1_M", 29, 256, 56, "Q8_K"),
    TensorType("TQ1_0", 34, 256, 54, "Q8_K", scales=(52,)),
    TensorType("TQ2_0", 35, 256, 66, "Q8_K", scales=(64,)),
    TensorType("MXFP4", 39, 32, 17, "Q8_0"),
)

TYPES = {t.name: t for t in _ROWS}
TYPES_BY_ID = {t.id: t for t in _ROWS}

WRITABLE = tuple(t.name for t in sorted(_ROWS, key=lambda t: t.written) if t.written)
"""The types that we write, best first. The others can be read, listed, and kept as they are."""


def writable_type(name: str) -> TensorType:
    """The tensor type of that name (any case).

    Raises:
        QuantizeError: no such type, or one that is only read.
    """
    if name.upper() not in WRITABLE:
        raise QuantizeError(f"unknown tensor type '{name}'; one of: {', '.join(WRITABLE)}")
    return TYPES[name.upper()]
