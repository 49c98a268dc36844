"""What llama.cpp allocates for EXAONE 4, worked out from the shapes alone, without loading anything.

Weights, the KV cache and the masks are exact. The compute buffer is what ggml's allocator ends with for this graph;
its three forms below were found by loading models of many shapes, and tests load some again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from exaone4_gguf.edge.shape import ModelShape
from exaone4_gguf.errors import RequestError
from exaone4_gguf.format.keys import CACHE_TYPES
from exaone4_gguf.format.types import TYPES, TensorType
from exaone4_gguf.quant.recipes import TensorShape

UBATCH = 512
"""Tokens of a prompt that are evaluated at once: llama.cpp's default, and the runtime's."""

_PADDING = 256  # of contexts and windows (llama_context, llama_kv_cache_iswa)
_FLOAT = 4
_HALF = 2


@dataclass(frozen=True)
class Setup:
    """How a model is loaded.

    ``n_outputs``: how many rows of logits a batch may ask for; the runtime leaves llama.cpp's default, a whole batch,
    llama-server asks for one a slot. ``swa_full``: sliding layers keep the whole context, as in the runtime.
    """

    n_ctx: int
    cache_type: str = "f16"
    n_outputs: int = UBATCH
    swa_full: bool = True
    features: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.cache_type.lower() not in CACHE_TYPES:
            raise RequestError(f"the cache cannot have type '{self.cache_type}'; one of: {', '.join(CACHE_TYPES)}")


@dataclass(frozen=True)
class Memory:
    """Bytes, as llama.cpp logs its buffers.

    ``weights`` are mapped from the file, or lie on the GPU; ``repacked`` are copies of some of them, after which
    ``droppable`` bytes of the file are not read again. ``read_per_token`` are the weights that each token reads.
    """

    weights: int
    repacked: int
    droppable: int
    kv: int
    compute: int
    read_per_token: int

    @property
    def total(self) -> int:
        """All that llama.cpp allocates, the mapped file included."""
        return self.weights + self.repacked + self.kv + self.compute

    @property
    def needed(self) -> int:
        """What must stay in memory."""
        return self.total - self.droppable


def memory(shape: ModelShape, types: Sequence[TensorType], setup: Setup) -> Memory:
    """What a model with these types of its tensors takes."""
    typed = [(t, type) for t, type in zip(shape.tensors, types, strict=True) if shape.is_loaded(t)]
    sizes = {t.name: _bytes(t, type) for t, type in typed}
    copies = {t.name for t, type in typed if _is_repacked(t, type, shape.tied, setup.features)}
    read = sum(sizes.values())
    if not shape.tied:
        read -= sizes["token_embd.weight"]
    return Memory(
        weights=sum(sizes.values()) - _trimmed([t for t, _ in typed], sizes, copies),
        repacked=sum(sizes[name] for name in copies),
        droppable=sum(sizes[name] for name in copies if name != "token_embd.weight"),
        kv=kv_bytes(shape, setup),
        compute=compute_bytes(shape, setup),
        read_per_token=read,
    )


def kv_bytes(shape: ModelShape, setup: Setup) -> int:
    """Bytes of the KV cache: keys and values of each layer's cells."""
    type = TYPES[setup.cache_type.upper()]
    return sum(2 * cells * _padded_row(type, shape.kv_width) for cells in _cells(shape, setup))


def _bytes(tensor: TensorShape, type: TensorType) -> int:
    return math.prod(tensor.shape[:-1]) * type.row_bytes(tensor.shape[-1])


def _padded_row(type: TensorType, columns: int) -> int:
    if columns % type.block_size:
        raise RequestError(f"the cache cannot have type {type.name.lower()}: its rows of {columns} are no whole blocks")
    return type.row_bytes(columns)


def _is_repacked(tensor: TensorShape, type: TensorType, tied: bool, features: Iterable[str]) -> bool:
    """Only matrices that are multiplied with; a tied embedding is one, and kept beside its copy for the look-ups."""
    if len(tensor.shape) != 2 or (tensor.name == "token_embd.weight" and not tied):
        return False
    rows = [type.repacked[feature] for feature in features if feature in type.repacked]
    return any(tensor.shape[0] % n == 0 for n in rows)


def _trimmed(tensors: Sequence[TensorShape], sizes: dict[str, int], copies: set[str]) -> int:
    """What lies before the first and after the last tensor that is not repacked is not mapped."""
    kept = {t.name for t in tensors if t.name not in copies or t.name == "token_embd.weight"}
    before = takewhile(lambda t: t.name not in kept, tensors)
    after = takewhile(lambda t: t.name not in kept, reversed(tensors))
    return sum(sizes[t.name] for t in (*before, *after))


def _cells(shape: ModelShape, setup: Setup) -> list[int]:
    """Cells of each layer's cache."""
    window = _window_cells(shape, setup)
    return [window if slides else _padded(setup.n_ctx) for slides in shape.sliding_layers]


def _window_cells(shape: ModelShape, setup: Setup) -> int:
    """Cells of a layer that slides: its window and a batch, if they are fewer than the context
    (llama-kv-cache-iswa.cpp).
    """
    whole = _padded(setup.n_ctx)
    if shape.sliding_window is None or setup.swa_full:
        return whole
    return _padded(min(whole, shape.sliding_window + _rows(setup)))


def compute_bytes(shape: ModelShape, setup: Setup) -> int:
    """The largest moment of the graph: in a layer, beside the masks; or at its end, where the logits are. And a row
    of logits that is handed out.
    """
    rows, width, ffn, kv = _rows(setup), shape.width, shape.ffn_width, shape.kv_width
    masks = _padded(setup.n_ctx)
    if shape.sliding_window is not None:
        masks += _window_cells(shape, setup)
    layer = rows * _FLOAT * max(4 * ffn, 3 * width + 2 * ffn, 3 * width + 3 * kv)
    logits = _FLOAT * (min(rows, setup.n_outputs) * shape.n_vocab + 2 * rows * width)
    return max(layer + masks * rows * _HALF, logits) + shape.n_vocab * _FLOAT


def _rows(setup: Setup) -> int:
    return min(UBATCH, setup.n_ctx)


def _padded(n: int) -> int:
    return -(-n // _PADDING) * _PADDING
