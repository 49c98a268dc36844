"""SIGINT at a chosen step of Python, and what a program would see of it."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Sigint:
    """SIGINT at these steps of this thread: calls and returns, of C's functions too, in llama.cpp's callbacks too.

    Once it has raised, Python watches no longer. Afterwards the handler must be there that was there before, and no
    thread more.

    Args:
        moments: the steps, counted from 1; ``seen`` are those that there were.
        tell: is asked when the signal comes, for ``told``.
    """

    def __init__(self, *moments: int, tell: Callable[[], Any] = lambda: None) -> None:
        self.seen = 0
        self.told: list[Any] = []
        self._moments, self._tell = frozenset(moments), tell

    def __enter__(self) -> None:
        self._before = signal.getsignal(signal.SIGINT), threading.enumerate()
        sys.setprofile(self._look)

    def __exit__(self, *raised: object) -> None:
        sys.setprofile(None)
        assert (signal.getsignal(signal.SIGINT), threading.enumerate()) == self._before

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        self.seen += 1
        if self.seen in self._moments:
            self.told.append(self._tell())
            signal.raise_signal(signal.SIGINT)


def steps(work: Callable[[], Any]) -> int:
    """How many a piece of work takes if nothing comes between."""
    watch = Sigint()
    with watch:
        work()
    return watch.seen


class Announcing(Sigint):
    """At the step, whoever reads stdout is told, and may send the signal."""

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        self.seen += 1
        if self.seen in self._moments:
            print("now", flush=True)
