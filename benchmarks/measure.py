"""What the benchmarks share: commands timed, measures that take turns, a picture of the result."""

from __future__ import annotations

import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Took:
    """Seconds of the clock and of the processors."""

    seconds: float
    processor: float

    def __add__(self, other: Took) -> Took:
        return Took(self.seconds + other.seconds, self.processor + other.processor)

    def __sub__(self, other: Took) -> Took:
        return Took(self.seconds - other.seconds, self.processor - other.processor)


def timed(*command: object) -> Took:
    """Run a command to its end, its output dropped.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([str(part) for part in command], check=True, capture_output=True)
    after, took = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    return Took(took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def seconds(work: Callable[[], object]) -> float:
    """Of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(runs: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each, measured one after the other so that all see the same machine."""
    found = [[measure() for measure in measures] for _ in range(runs)]
    return [statistics.median(values) for values in zip(*found, strict=True)]


def commands_in_turns(runs: int, *commands: Callable[[], Took]) -> list[Took]:
    """As ``in_turns``, for commands; a first round is not counted, which fills the caches and the free memory."""
    found = [[command() for command in commands] for _ in range(runs + 1)][1:]
    return [
        Took(statistics.median(t.seconds for t in side), statistics.median(t.processor for t in side))
        for side in zip(*found, strict=True)
    ]


def save_plot(path: Path, title: str, rows: Mapping[str, Mapping[str, float]], unit: str) -> None:
    """A picture with a group of bars for each row and a bar for each peer; matplotlib must be installed."""
    from matplotlib import pyplot

    peers: Sequence[str] = list(next(iter(rows.values())))
    height = 0.8 / len(peers)
    figure, axes = pyplot.subplots(figsize=(8, 0.8 + 0.28 * len(rows) * len(peers)), layout="constrained")
    for i, peer in enumerate(peers):
        at = [row + i * height for row in range(len(rows))]
        bars = axes.barh(at, [values[peer] for values in rows.values()], height, label=peer)
        axes.bar_label(bars, fmt=lambda x: f"{x:.3g}", padding=3)
    axes.set_yticks([row + height * (len(peers) - 1) / 2 for row in range(len(rows))], list(rows))
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set(title=title, xlabel=unit)
    axes.legend()
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
    pyplot.close(figure)
