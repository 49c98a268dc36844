"""Rows through the machine: read -> widen -> quantize -> write at the offset, on all cores.

The tensors are cut into slabs of whole rows. Each worker takes the next slab of the whole model, so that all
cores are busy to the end, and memory is a few slabs whatever the model's size.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from exaone4_gguf.converter.output import Output
from exaone4_gguf.converter.plan import Plan, PlannedFile, PlannedTensor
from exaone4_gguf.errors import TensorError
from exaone4_gguf.format.tensor import Bytes
from exaone4_gguf.quant import kernels

SLAB_WEIGHTS = 1 << 18
"""Weights in a slab: as F32, they fill a megabyte, which a core's cache holds."""

Progress = Callable[[int], None]
"""Called with the number of bytes that have just been written, from any thread."""


@dataclass(frozen=True)
class Slab:
    """Rows ``first`` to ``last`` (not included) of a tensor."""

    file: PlannedFile
    tensor: PlannedTensor
    first: int
    last: int


def default_threads() -> int:
    """The processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def slabs(plan: Plan) -> Iterator[Slab]:
    """All rows of the plan, in file order."""
    for file in plan.files:
        for tensor in file.tensors:
            n_rows = len(tensor.source.rows)
            step = max(1, SLAB_WEIGHTS * n_rows // max(1, tensor.source.n_weights))
            for first in range(0, n_rows, step):
                yield Slab(file, tensor, first, min(first + step, n_rows))


def run(plan: Plan, output: Output, threads: int, progress: Progress) -> None:
    """Write every tensor of the plan.

    Raises:
        TensorError: a value is NaN or infinite, or becomes so in its type.
        OutputError: the disk is full.
    """
    work = slabs(plan)
    taking = threading.Lock()
    failures: list[BaseException] = []
    stop = threading.Event()

    def worker() -> None:
        try:
            while not stop.is_set():
                with taking:
                    slab = next(work, None)
                if slab is None:
                    return
                blocks = convert_rows(slab)
                output.write(slab.file, slab.tensor.offset + slab.first * slab.tensor.row_bytes, blocks.data.cast("B"))
                progress(blocks.nbytes)
        except BaseException as e:
            failures.append(e)
            stop.set()

    workers = [threading.Thread(target=worker, name=f"quantize-{i}") for i in range(threads)]
    try:
        for thread in workers:
            thread.start()
        for thread in workers:
            thread.join()
    finally:
        stop.set()
        for thread in workers:
            if thread.ident is not None:
                thread.join()
    if failures:
        raise failures[0]


def convert_rows(slab: Slab) -> Bytes:
    """The slab's rows in the type that the plan gives them, of shape (rows, bytes of a row)."""
    source, type = slab.tensor.source, slab.tensor.type
    rows = source.rows[slab.first : slab.last]
    if not kernels.all_finite(rows, source.type):
        raise TensorError(_where_not_finite(slab, rows))
    if source.type == type:
        return rows
    blocks = kernels.convert(rows, source.type, type, slab.tensor.importance)
    if not kernels.all_finite(blocks, type):
        raise TensorError(_too_large(slab, kernels.dequantize(rows, source.type)))
    return blocks


def _where_not_finite(slab: Slab, rows: Bytes) -> str:
    row, column, value = kernels.first_non_finite(kernels.dequantize(rows, slab.tensor.source.type))
    if len(slab.tensor.source.shape) == 1:
        position = f"[{column}]"
    else:
        position = f"[{slab.first + row}, {column}]"
    return f"tensor {_named(slab)} is {value} at {position}: the input is damaged"


def _too_large(slab: Slab, floats: kernels.Floats) -> str:
    row, column = np.unravel_index(np.abs(floats).argmax(), floats.shape)
    return (
        f"tensor {_named(slab)} has {floats[row, column]:g} at [{slab.first + row}, {column}], "
        f"which {slab.tensor.type} cannot hold; choose a wider type, like BF16 or F32"
    )


def _named(slab: Slab) -> str:
    """The name in GGUF, and that in the checkpoint."""
    origin = slab.tensor.source.origin
    if origin:
        return f"{slab.tensor.name} ({origin})"
    return slab.tensor.name
