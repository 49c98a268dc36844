"""Conversion and quantization against the stock tools, in the same run.

    python -m benchmarks.convert MODEL_DIR --stock vendor/llama.cpp/convert_hf_to_gguf.py [--runs 3] [--out /dev/shm]

The stock way to a quantized file is llama.cpp's convert_hf_to_gguf.py (it is in llama-cpp-python's source distribution)
and then its quantizer, ``llama_model_quantize`` of the installed llama-cpp-python, with all processors. Files lie in
``--out``: on a RAM disk the disk is out of the comparison. The ways take turns; medians and ratios are printed.
"Processors" is what ours uses of them, start-up aside.
"""

from __future__ import annotations

import argparse
import os
import sys
from functools import partial
from pathlib import Path

from benchmarks.measure import Took, commands_in_turns, save_plot, timed
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


def ours(model_dir: Path, out: Path, outtype: str, *options: str) -> Took:
    """One pass."""
    target = out / "ours.gguf"
    target.unlink(missing_ok=True)
    return timed(sys.executable, "-m", "exaone4_gguf", "convert", model_dir, target, "--outtype", outtype, *options)


def stock(model_dir: Path, out: Path, outtype: str, script: Path) -> Took:
    """The stock converter, and its quantizer where it takes two steps."""
    target = out / "stock.gguf"
    target.unlink(missing_ok=True)
    if outtype in DIRECT:
        took = timed(sys.executable, script, model_dir, "--outfile", target, "--outtype", DIRECT[outtype])
    else:
        lossless = out / "stock-lossless.gguf"
        took = timed(sys.executable, script, model_dir, "--outfile", lossless)
        number = FILE_TYPES[outtype].ftype
        took += timed(sys.executable, "-c", _QUANTIZE, lossless, target, number, os.cpu_count())
        lossless.unlink()
    target.unlink()
    return took


def main() -> None:
    """Measure and print a row for each type."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("--stock", type=Path, required=True, metavar="convert_hf_to_gguf.py")
    parser.add_argument("--out", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--outtype", choices=OUTTYPES, action="append")
    parser.add_argument("--plot", type=Path, help="save a picture (SVG, PNG); needs matplotlib")
    options = parser.parse_args()
    rows = {}
    print(f"{'':8}{'stock':>9}{'ours':>9}{'ratio':>8}{'processors':>12}")
    for outtype in options.outtype or OUTTYPES:
        a, b, start = commands_in_turns(
            options.runs,
            partial(stock, options.model_dir, options.out, outtype, options.stock),
            partial(ours, options.model_dir, options.out, outtype),
            partial(ours, options.model_dir, options.out, outtype, "--dry-run"),
        )
        work = b - start
        columns = f"{a.seconds:8.1f}s{b.seconds:8.2f}s{a.seconds / b.seconds:8.1f}"
        print(f"{outtype:8}{columns}{100 * work.processor / work.seconds:11.0f}%", flush=True)
        rows[outtype] = {"stock tools": a.seconds, "exaone4-gguf": b.seconds}
    (options.out / "ours.gguf").unlink(missing_ok=True)
    if options.plot:
        save_plot(options.plot, f"{options.model_dir.name} to GGUF", rows, "seconds")


if __name__ == "__main__":
    main()
