"""The kernels alone, on one core, against ``ggml_quantize_chunk``.

python -m benchmarks.kernels [--runs 5] [--plot kernels.svg]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import in_turns, save_plot, seconds
from exaone4_gguf.format.types import TYPES
from exaone4_gguf.quant import kernels, native

_SHAPE = (512, 2048)  # rows and columns: a megaweight


def rates(name: str, rows: kernels.Floats, runs: int) -> dict[str, float]:
    """Million weights per second by instruction set, the last of which is ggml's own code."""
    target, source = TYPES[name], rows.view(np.uint8)
    blocks = np.empty((len(rows), target.row_bytes(rows.shape[1])), np.uint8)
    works: list[Callable[[], object]] = [
        partial(native.encode, source, TYPES["F32"], target, blocks, level) for level in native.instructions()[:-1]
    ]
    works.append(partial(kernels.quantize, rows, target))
    took = in_turns(runs, *(partial(seconds, work) for work in works))
    return {level: rows.size / t / 1e6 for level, t in zip(native.instructions(), took, strict=True)}


def main() -> None:
    """Measure each type on each instruction set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--plot", type=Path, help="save a picture (SVG, PNG); needs matplotlib")
    options = parser.parse_args()
    rows = (np.random.default_rng(0).standard_normal(_SHAPE) * 0.02).astype(np.float32)
    found = {name: rates(name, rows, options.runs) for name in native.TYPES}
    for name, by_level in found.items():
        for level, rate in by_level.items():
            print(f"{name:8}{level:10}{rate:7.0f} M weights/s, {rate / by_level[native.GGML]:5.1f} times ggml")
    if options.plot:
        save_plot(options.plot, "Quantization, one core", found, "million weights per second")


if __name__ == "__main__":
    main()
