"""SIGINT at a chosen step of Python, and what a program would see of it."""

from __future__ import annotations

import _thread
import operator
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Sigint:
    """SIGINT at these steps of this thread, also in llama.cpp's callbacks.

    A step is where Python looks for signals, a function that begins or one of C that returns: the handler runs there.
    Afterwards that must be the handler which was it before, and no thread more be there.

    Args:
        moments: the steps, counted from 1; ``seen`` are those that there were.
        tell: is asked when the signal comes, for ``told``.
        threads: whether those there are must stay the same.
    """

    def __init__(self, *moments: int, tell: Callable[[], Any] = lambda: None, threads: bool = True) -> None:
        self.seen = 0
        self.told: list[Any] = []
        self._past: set[int] = set()
        self._moments, self._tell, self._threads = frozenset(moments), tell, threads

    def __enter__(self) -> None:
        self._before = self._seen()
        sys.setprofile(self._look)

    def __exit__(self, *raised: object) -> None:
        sys.setprofile(None)
        assert self._seen() == self._before, (self._moments, self._seen(), self._before)

    def _seen(self) -> tuple[Any, ...]:
        return signal.getsignal(signal.SIGINT), threading.enumerate() if self._threads else None

    def _look(self, frame: FrameType, event: str, argument: Any) -> None:
        self.seen += event in ("call", "c_return")
        if self.seen in self._moments - self._past:
            self._past.add(self.seen)
            self.told.append(self._tell())
            self._comes  # noqa: B018 - Python looks for signals after each call: an attribute is none, so not in here

    _interrupt = staticmethod(_thread.interrupt_main)
    _comes = property(operator.methodcaller("_interrupt"))


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
        if self.seen in self._moments - self._past:
            self._past.add(self.seen)
            print("now", flush=True)
