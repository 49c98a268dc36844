"""``fit``: will it run? Which types of a model fit a machine, with how much context, how fast, and by what command."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from exaone4_gguf.edge.boards import Board, board
from exaone4_gguf.edge.machine import this_machine
from exaone4_gguf.edge.memory import UBATCH, Memory, Setup, compute_bytes, kv_bytes, memory
from exaone4_gguf.edge.shape import ModelShape, read_shape
from exaone4_gguf.errors import RequestError
from exaone4_gguf.format.types import TensorType
from exaone4_gguf.quant.recipes import FILE_TYPES

N_CTX = 4096
"""The context that is asked for, unless the caller says another."""

_STEP = 256
_READING = 8.0
"""Tokens per second of a reader: a better type that is slower than this is not proposed."""
_PROPOSED = "Q8_0"
"""The best type that is proposed: it is hardly to be told from 16 bits."""
_SMALLEST = "Q4_0"


@dataclass(frozen=True)
class Row:
    """A file type on a machine: ``memory`` in bytes at the context that was asked for.

    ``largest_context`` is 0 where not even the smallest fits. ``tokens_per_second`` are those of an answer to a short
    prompt, ``..._full`` those with the context full: what the memory's bandwidth allows, where the processor keeps up.
    """

    type: str
    memory: Memory
    fits: bool
    largest_context: int
    tokens_per_second: float
    tokens_per_second_full: float


@dataclass(frozen=True)
class Fit:
    """A model on a machine. ``command`` runs the best type that fits at a reader's speed; None where nothing fits."""

    path: str
    model: str
    board: Board
    n_ctx: int
    cache_type: str
    rows: tuple[Row, ...]
    proposed: str | None
    command: str | None

    def to_json(self) -> dict[str, Any]:
        """All of it in JSON's types; sizes in bytes."""
        board = asdict(self.board) | {"features": sorted(self.board.features), "usable": self.board.usable}
        rows = [
            asdict(row) | {"memory": asdict(row.memory) | {"total": row.memory.total, "needed": row.memory.needed}}
            for row in self.rows
        ]
        return asdict(self) | {"board": board, "rows": rows}


def fit(path: str | Path, device: str | None = None, *, n_ctx: int = N_CTX, cache_type: str = "f16") -> Fit:
    """What of a model fits a machine.

    Args:
        path: a GGUF file (any part of a split one), or a checkpoint's folder, of which config.json is enough.
        device: a board of ``edge.boards``; by default this machine, with the memory that is available now.
        n_ctx: the context in tokens.
        cache_type: the type of the KV cache, as llama.cpp names it.

    Raises:
        Exaone4Error: the file or the folder is not right, or there is no such board or type.
    """
    target = board(device) if device else this_machine()
    shape = read_shape(path)
    if not 1 <= n_ctx <= shape.context_length:
        raise RequestError(f"a context of {n_ctx} tokens: this model takes from 1 to {shape.context_length}")
    bundled = target.target is not None  # it is run by llama-server with its defaults, else by the runtime
    setup = Setup(
        n_ctx,
        cache_type.lower(),
        n_outputs=1 if bundled else UBATCH,
        swa_full=not bundled,
        features=target.features,
    )
    rows = tuple(_row(shape, name, types, setup, target) for name, types in _types(shape))
    proposed = _proposed(rows)
    return Fit(
        path=str(path),
        model=shape.name,
        board=target,
        n_ctx=n_ctx,
        cache_type=setup.cache_type,
        rows=rows,
        proposed=proposed.type if proposed else None,
        command=_command(shape, proposed, setup, target) if proposed else None,
    )


def _types(shape: ModelShape) -> list[tuple[str, list[TensorType]]]:
    """Every type that can be made of the model; of a quantized file, its own alone."""
    if not shape.can_be_quantized:
        return [(shape.own or "as it is", shape.types_now)]
    return [(name, shape.types_in(target)) for name, target in FILE_TYPES.items()]


def _row(shape: ModelShape, name: str, types: list[TensorType], setup: Setup, target: Board) -> Row:
    found = memory(shape, types, setup)
    return Row(
        type=name,
        memory=found,
        fits=found.needed <= target.usable,
        largest_context=_largest_context(shape, setup, target.usable - (found.needed - found.kv - found.compute)),
        tokens_per_second=target.reached / found.read_per_token,
        tokens_per_second_full=target.reached / (found.read_per_token + found.kv),
    )


def _largest_context(shape: ModelShape, setup: Setup, room: int) -> int:
    """The largest whose cache and compute buffer fit beside the weights: by halving, as both grow with it."""
    low, high = 0, shape.context_length // _STEP
    while low < high:
        middle = (low + high + 1) // 2
        tried = replace(setup, n_ctx=middle * _STEP)
        if kv_bytes(shape, tried) + compute_bytes(shape, tried) <= room:
            low = middle
        else:
            high = middle - 1
    return low * _STEP


def _proposed(rows: Sequence[Row]) -> Row | None:
    """The first, and so the best, that fits and is quick enough; else the quickest that fits.

    What is smaller than ``_SMALLEST`` costs much, so it is proposed only where nothing else fits.
    """
    start, end = 0, 1
    if len(rows) > 1:
        names = list(FILE_TYPES)  # in the order of the rows: the best first
        start, end = names.index(_PROPOSED), names.index(_SMALLEST) + 1
    fitting = [row for row in rows[start:end] if row.fits] or [row for row in rows[end:] if row.fits]
    quick = [row for row in fitting if row.tokens_per_second >= _READING]
    if quick:
        return quick[0]
    return max(fitting, key=lambda row: row.tokens_per_second, default=None)


def _command(shape: ModelShape, row: Row, setup: Setup, target: Board) -> str:
    """What makes the file, if it is not there, and runs it."""
    source, file = str(shape.path), str(shape.path)
    steps = []
    if shape.is_checkpoint or (shape.own != row.type and shape.can_be_quantized):
        if shape.is_checkpoint:
            file = f"{shape.name}-{row.type}.gguf"
            steps.append(["convert", source, file, "--outtype", row.type])
        else:
            file = f"{shape.path.stem}-{row.type}.gguf"
            steps.append(["quantize", source, file, row.type])
    if not shape.model_class.speaks:  # a bundle is a server to talk with
        steps.append(["classify" if shape.model_class.head else "embed", file, "-c", str(setup.n_ctx)])
        return _joined(steps)
    cache = []
    if setup.cache_type != "f16":
        cache = ["-ctk", setup.cache_type, "-ctv", setup.cache_type]
    if target.target:
        steps.append(["bundle", file, f"{Path(file).stem}-{target.target}", "--target", target.target, *cache])
    else:
        steps.append(["chat", file, "-c", str(setup.n_ctx), *cache])
    return _joined(steps)


def _joined(steps: Sequence[Sequence[str]]) -> str:
    return " && ".join(shlex.join(["exaone4-gguf", *step]) for step in steps)
