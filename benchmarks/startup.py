"""How long a command or an import takes to be ready, beside the stock tools'.

python -m benchmarks.startup [--stock vendor/llama.cpp/convert_hf_to_gguf.py] [--runs 7]
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from benchmarks.measure import commands_in_turns, save_plot, timed

STARTS = {
    "python -c pass": ("-c", "pass"),
    "import llama_cpp": ("-c", "import llama_cpp"),
    "import exaone4_gguf": ("-c", "import exaone4_gguf"),
    "from exaone4_gguf import Exaone4": ("-c", "from exaone4_gguf import Exaone4"),
    "from exaone4_gguf import convert": ("-c", "from exaone4_gguf import convert"),
    "exaone4-gguf --help": ("-m", "exaone4_gguf", "--help"),
    "exaone4-gguf convert --help": ("-m", "exaone4_gguf", "convert", "--help"),
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stock", type=Path, metavar="convert_hf_to_gguf.py")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--plot", type=Path, help="save a picture (SVG, PNG); needs matplotlib")
    options = parser.parse_args()
    starts: dict[str, tuple[object, ...]] = {**STARTS}
    if options.stock:
        starts["convert_hf_to_gguf.py --help"] = (options.stock, "--help")
    commands = [partial(timed, sys.executable, *arguments) for arguments in starts.values()]
    took = dict(zip(starts, commands_in_turns(options.runs, *commands), strict=True))
    for title, median in took.items():
        print(f"{title:34}{median.seconds:6.2f} s")
    if options.plot:
        rows = {title: {"start": median.seconds} for title, median in took.items()}
        save_plot(options.plot, "Start-up", rows, "seconds")


if __name__ == "__main__":
    main()
