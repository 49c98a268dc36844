"""ggml's own kernels, called through ctypes: rows of F32 -> blocks, blocks -> rows of F32.

``libggml-base`` comes with llama-cpp-python and is loaded alone: no model code, no import of llama_cpp.
ggml aborts the process on bad arguments, so what reaches it is checked here first.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exaone4_gguf.errors import QuantizeError, RuntimeFailure
from exaone4_gguf.format.types import TensorType
from exaone4_gguf.quant import native

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

_LIBRARY_NAMES = ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll")


class _TypeTraits(ctypes.Structure):
    """struct ggml_type_traits (ggml.h)."""

    _fields_ = (
        ("type_name", ctypes.c_char_p),
        ("blck_size", ctypes.c_int64),
        ("blck_size_interleave", ctypes.c_int64),
        ("type_size", ctypes.c_size_t),
        ("is_quantized", ctypes.c_bool),
        ("to_float", ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)),
        ("from_float_ref", ctypes.c_void_p),
    )


def library_path() -> Path:
    """Where the installed llama-cpp-python keeps libggml-base.

    Raises:
        RuntimeFailure: llama-cpp-python is not installed, or has no such library.
    """
    spec = importlib.util.find_spec("llama_cpp")
    for folder in (spec and spec.submodule_search_locations) or ():
        for name in _LIBRARY_NAMES:
            if (path := Path(folder, "lib", name)).exists():
                return path
    raise RuntimeFailure("ggml's kernels are missing: pip install llama-cpp-python")


@functools.cache
def _ggml() -> ctypes.CDLL:
    try:
        ggml = ctypes.CDLL(str(library_path()))
    except OSError as e:
        raise RuntimeFailure(f"ggml's kernels cannot be loaded: {e}") from e
    ggml.ggml_quantize_chunk.restype = ctypes.c_size_t
    ggml.ggml_quantize_chunk.argtypes = (
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        *(ctypes.c_int64,) * 3,
        ctypes.c_void_p,
    )
    ggml.ggml_quantize_requires_imatrix.restype = ctypes.c_bool
    ggml.ggml_get_type_traits.restype = ctypes.POINTER(_TypeTraits)
    ggml.ggml_blck_size.restype = ctypes.c_int64
    ggml.ggml_type_size.restype = ctypes.c_size_t
    return ggml


@functools.cache
def _traits(type_id: int) -> _TypeTraits:
    traits: _TypeTraits = _ggml().ggml_get_type_traits(type_id).contents
    return traits


def quantize(rows: Floats, type: TensorType, importance: Floats | None = None) -> Bytes:
    """Quantize rows as ``ggml_quantize_chunk`` does, bit for bit.

    Args:
        rows: finite floats, C-contiguous, of shape (n, columns).
        type: its block size must divide ``columns``.
        importance: of each column, of shape (columns,): the mean of its squared inputs.

    Returns:
        The blocks, of shape (n, bytes of a row).

    Raises:
        QuantizeError: the block size does not divide the columns, the type needs an importance matrix, or it has
            not one value for each column.
    """
    n, columns = rows.shape
    if columns % type.block_size:
        raise QuantizeError(f"rows of {columns} cannot be {type}, whose blocks hold {type.block_size}")
    if importance is None and _ggml().ggml_quantize_requires_imatrix(type.id):
        raise QuantizeError(f"{type} needs an importance matrix")
    if importance is not None and importance.shape != (columns,):
        raise QuantizeError(f"rows of {columns} have importances of shape {list(importance.shape)}")
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    blocks = np.empty((n, type.row_bytes(columns)), dtype=np.uint8)
    matrix = None if importance is None else np.ascontiguousarray(importance, dtype=np.float32)
    at = None if matrix is None else matrix.ctypes.data
    _ggml().ggml_quantize_chunk(type.id, rows.ctypes.data, blocks.ctypes.data, 0, n, columns, at)
    return blocks


def convert(rows: Bytes, source: TensorType, target: TensorType, importance: Floats | None = None) -> Bytes:
    """Rows of one type as rows of another: by the project's own kernel where there is one, else by ggml's.

    Args:
        rows: of shape (n, bytes of a row of type ``source``); the weights must be finite.
        importance: as for ``quantize``.

    Raises:
        QuantizeError: as ``quantize`` and ``dequantize``.
    """
    columns = rows.shape[1] // source.type_size * source.block_size
    blocks = np.empty((len(rows), target.row_bytes(columns)), dtype=np.uint8)
    level, divides = native.instructions()[0], columns % target.block_size == 0
    if divides and native.encode(np.ascontiguousarray(rows), source, target, blocks, level, importance):
        return blocks
    return quantize(dequantize(rows, source), target, importance)


def dequantize(blocks: Bytes, type: TensorType) -> Floats:
    """Turn stored rows back into F32, as llama.cpp does before it quantizes them anew.

    Args:
        blocks: C-contiguous, of shape (n, bytes of a row).

    Returns:
        Floats of shape (n, columns).

    Raises:
        QuantizeError: ggml cannot dequantize the type.
    """
    n, row_bytes = blocks.shape
    columns = row_bytes // type.type_size * type.block_size
    blocks = np.ascontiguousarray(blocks)
    if type.name == "F32":
        return blocks.view(np.float32)
    to_float = _traits(type.id).to_float
    if not to_float:
        raise QuantizeError(f"ggml cannot dequantize {type}")
    rows = np.empty((n, columns), dtype=np.float32)
    to_float(blocks.ctypes.data, rows.ctypes.data, n * columns)
    return rows


# The exponent bits of each float type: all set means NaN or infinite.
_EXPONENTS = {"F32": (np.uint32, 0x7F80_0000), "F16": (np.uint16, 0x7C00), "BF16": (np.uint16, 0x7F80)}


def all_finite(blocks: Bytes, type: TensorType) -> bool:
    """Whether every weight that the blocks stand for is finite: llama.cpp's ``ggml_validate_row_data``.

    Quantized weights are finite exactly if the scales of their blocks are; types that ``format.types`` knows no
    scales of, which are read only, pass.
    """
    if type.is_float:
        return _floats_finite(blocks, type.name)
    per_block = blocks.reshape(-1, type.type_size)
    return all(_floats_finite(per_block[:, at : at + 2].copy(), "F16") for at in type.scales)


def _floats_finite(raw: Bytes, name: str) -> bool:
    dtype, exponent = _EXPONENTS[name]
    bits = raw.view(dtype)
    return bits.size == 0 or int((bits & dtype(exponent)).max()) < exponent


def first_non_finite(rows: Floats) -> tuple[int, int, float]:
    """(row, column, value) of the first NaN or infinity in ``rows``, which must hold one."""
    row, column = np.argwhere(~np.isfinite(rows))[0]
    return int(row), int(column), float(rows[row, column])
