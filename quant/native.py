"""The project's own kernels: ggml's bytes at the width of the processor, where they were compiled.

The module ``_kernel`` (kernel.cpp) is optional; ``ggml`` stands for ggml's own quantizers, which do the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from exaone4_gguf.format.types import TYPES as ALL_TYPES

if TYPE_CHECKING:
    from exaone4_gguf.format.types import TensorType
    from exaone4_gguf.quant.kernels import Bytes, Floats

TYPES = tuple(name for name, type in ALL_TYPES.items() if type.own_kernel)
GGML = "ggml"


def _load() -> Any:
    try:
        return importlib.import_module("exaone4_gguf.quant._kernel")
    except ImportError:
        return None


_kernel = _load()


def instructions() -> list[str]:
    """The instruction sets that can be used here, the widest first; the last is ggml's own code."""
    return [*(_kernel.instructions() if _kernel else ()), GGML]


def encode(
    rows: Bytes,
    source: TensorType,
    target: TensorType,
    blocks: Bytes,
    instruction_set: str,
    importance: Floats | None = None,
) -> bool:
    """Quantize rows of plain floats into ``blocks``.

    Args:
        rows: C-contiguous, of shape (n, bytes of a row of type ``source``).
        blocks: to be filled, of shape (n, bytes of a row of type ``target``).
        instruction_set: one of ``instructions``.
        importance: of each column; C-contiguous.

    Returns:
        False where there is no such kernel: then ``blocks`` is as it was.
    """
    if _kernel is None or instruction_set == GGML or not target.own_kernel or not source.is_float:
        return False
    n_weights = rows.size // source.type_size
    if blocks.size * target.block_size != n_weights * target.type_size:
        raise ValueError(f"{n_weights} weights do not fill {blocks.size} bytes of {target}")
    if importance is not None and importance.size * len(rows) != n_weights:
        raise ValueError(f"{importance.size} importances for rows of {n_weights // max(1, len(rows))}")
    done: bool = _kernel.encode(instruction_set, source.id, target.id, n_weights, rows, importance, blocks)
    return done
