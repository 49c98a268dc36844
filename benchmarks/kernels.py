"""The kernels alone, on one core, against ``ggml_quantize_chunk``.

python -m benchmarks.kernels [--runs 5]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from exaone4_gguf.quant import kernels, native
from exaone4_gguf.quant.types import TYPES

_SHAPE = (512, 2048)  # rows and columns: a megaweight


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def rates(name: str, level: str, rows: kernels.Floats, runs: int) -> tuple[float, float]:
    """Weights per second of ours and of ggml's, the medians of calls that take turns."""
    target, source = TYPES[name], rows.view(np.uint8)
    blocks = np.empty((len(rows), target.row_bytes(rows.shape[1])), np.uint8)
    pairs = [
        (
            seconds(lambda: native.encode(source, TYPES["F32"], target, blocks, level)),
            seconds(lambda: kernels.quantize(rows, target)),
        )
        for _ in range(runs)
    ]
    ours, theirs = (rows.size / statistics.median(side) for side in zip(*pairs, strict=True))
    return ours, theirs


def main() -> None:
    """Measure each type on each instruction set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    rows = (np.random.default_rng(0).standard_normal(_SHAPE) * 0.02).astype(np.float32)
    for name in native.TYPES:
        for level in native.instructions()[:-1]:
            ours, theirs = (rate / 1e6 for rate in rates(name, level, rows, runs))
            print(f"{name:6}{level:10}{ours:7.0f} M weights/s, ggml {theirs:5.0f}, ratio {ours / theirs:5.1f}")


if __name__ == "__main__":
    main()
