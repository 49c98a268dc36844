"""Peak memory of a conversion: anonymous pages, sampled, as mapped shards are the page cache's.

    python -m benchmarks.memory MODEL_DIR [MODEL_DIR ...] [--outtype Q4_K_M]

The checkpoints may be sparse files: what counts is their shape. The targets are written beside them, and removed.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

_EVERY = 0.01  # seconds between samples


def peak_anonymous(command: list[str]) -> int:
    """Run a command to its end; the most anonymous memory (RssAnon) that its process had, in bytes.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, _anonymous(process.pid))
        time.sleep(_EVERY)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return peak


def _anonymous(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it has just ended
        return 0
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return 1024 * int(lines.get("RssAnon", "0 kB").split()[0])


def main() -> None:
    """Measure each checkpoint and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dirs", nargs="+", type=Path, metavar="MODEL_DIR")
    parser.add_argument("--outtype", default="Q4_K_M")
    options = parser.parse_args()
    for model_dir in options.model_dirs:
        target = model_dir.parent / f"{model_dir.name}-{options.outtype}.gguf"
        command = [sys.executable, "-m", "exaone4_gguf", "convert", str(model_dir), str(target), "--force"]
        began = time.monotonic()
        peak = peak_anonymous([*command, "--outtype", options.outtype])
        took, size = time.monotonic() - began, target.stat().st_size
        target.unlink()
        print(f"{model_dir.name} to {options.outtype}: {peak / 1e6:.0f} MB, {took:.0f} s, {size / 1e9:.2f} GB written")


if __name__ == "__main__":
    main()
