"""Ctrl-C in the main thread: what it does meanwhile. Another thread gets no signals, and nothing changes there."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Interruption:
    """Whether Ctrl-C was pressed."""

    seen: bool = False


@contextmanager
def on_ctrl_c(act: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C calls ``act``."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, lambda number, frame: act())
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[Interruption]:
    """Ctrl-C calls ``stop`` and raises nothing: llama.cpp calls back into Python, where an exception would be lost."""
    interruption = Interruption()

    def act() -> None:
        interruption.seen = True
        # In another thread, because it takes a lock that this one may hold.
        threading.Thread(target=stop).start()

    with on_ctrl_c(act):
        yield interruption


@contextmanager
def raising_once() -> Iterator[None]:
    """Ctrl-C raises KeyboardInterrupt, the first time: a second one does not disturb whoever handles it."""
    armed = True

    def act() -> None:
        nonlocal armed
        if armed:
            armed = False
            raise KeyboardInterrupt

    with on_ctrl_c(act):
        try:
            yield
        finally:
            armed = False


@contextmanager
def ignoring() -> Iterator[None]:
    """Ctrl-C does nothing."""
    with on_ctrl_c(lambda: None):
        yield
