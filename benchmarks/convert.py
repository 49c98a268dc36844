"""Conversion and quantization against the stock tools, in the same run.

    python -m benchmarks.convert MODEL_DIR --stock vendor/llama.cpp/convert_hf_to_gguf.py [--runs 3] [--out /dev/shm]

The stock way to a quantized file is llama.cpp's convert_hf_to_gguf.py (it is in llama-cpp-python's source distribution)
and then its quantizer, ``llama_model_quantize`` of the installed llama-cpp-python, with all processors. Files lie in
``--out``: on a RAM disk the disk is out of the comparison. The ways take turns; medians and ratios are printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exaone4_gguf.quant.recipes import FILE_TYPES

OUTTYPES = ("BF16", "Q8_0", "Q4_0", "Q4_K_M", "Q5_K_M", "Q6_K")
DIRECT = {"BF16": "bf16", "Q8_0": "q8_0"}
"""What the stock converter writes by itself."""

_QUANTIZE = """
import ctypes, sys, llama_cpp
p = llama_cpp.llama_model_quantize_default_params()
p.ftype, p.nthread = int(sys.argv[3]), int(sys.argv[4])
sys.exit(llama_cpp.llama_model_quantize(sys.argv[1].encode(), sys.argv[2].encode(), ctypes.byref(p)))
"""


@dataclass(frozen=True)
class Took:
    """Seconds of the clock and of the processors."""

    seconds: float
    processor: float


def timed(*command: object) -> Took:
    """Run a command to its end, its output dropped.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    after, took = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    return Took(took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def ours(model_dir: Path, out: Path, outtype: str) -> Took:
    """One pass."""
    command = (sys.executable, "-m", "exaone4_gguf", "convert", model_dir, out / "ours.gguf", "--force")
    return timed(*command, "--outtype", outtype)


def stock(model_dir: Path, out: Path, outtype: str, script: Path) -> Took:
    """The stock converter, and its quantizer where it takes two steps."""
    target = out / "stock.gguf"
    if outtype in DIRECT:
        return timed(sys.executable, script, model_dir, "--outfile", target, "--outtype", DIRECT[outtype])
    lossless = out / "stock-lossless.gguf"
    first = timed(sys.executable, script, model_dir, "--outfile", lossless)
    number = FILE_TYPES[outtype].ftype
    second = timed(sys.executable, "-c", _QUANTIZE, lossless, target, number, os.cpu_count())
    lossless.unlink()
    return Took(first.seconds + second.seconds, first.processor + second.processor)


def compared(runs: int, a: Callable[[], Took], b: Callable[[], Took]) -> tuple[Took, Took]:
    """The medians of both, which take turns."""
    pairs = [(a(), b()) for _ in range(runs)]
    medians = [
        Took(statistics.median(t.seconds for t in side), statistics.median(t.processor for t in side))
        for side in zip(*pairs, strict=True)
    ]
    return medians[0], medians[1]


def main() -> None:
    """Measure and print a row for each type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("--stock", type=Path, required=True, metavar="convert_hf_to_gguf.py")
    parser.add_argument("--out", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--outtype", choices=OUTTYPES, action="append")
    options = parser.parse_args()
    print(f"{'':8}{'stock':>9}{'ours':>9}{'ratio':>8}{'processors':>12}")
    for outtype in options.outtype or OUTTYPES:
        a, b = compared(
            options.runs,
            lambda outtype=outtype: stock(options.model_dir, options.out, outtype, options.stock),  # type: ignore[misc]
            lambda outtype=outtype: ours(options.model_dir, options.out, outtype),  # type: ignore[misc]
        )
        usage = f"{100 * b.processor / b.seconds:.0f}%"
        print(f"{outtype:8}{a.seconds:8.1f}s{b.seconds:8.1f}s{a.seconds / b.seconds:8.1f}{usage:>12}", flush=True)
    for name in ("ours.gguf", "stock.gguf"):
        (options.out / name).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
