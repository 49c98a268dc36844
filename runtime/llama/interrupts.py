"""Signals in the main thread: what they do meanwhile. Another thread gets none, and nothing changes there.

Python runs a signal's handler between any two steps of the main thread. What the handler raises (KeyboardInterrupt, by
default) is lost where C has called back into Python, as llama.cpp does, and elsewhere it may leave half of a change
done: tokens in llama.cpp's cache of which nobody knows. So while something must not be torn (``untorn``), handlers are
called as ever, and what they raise waits: for a place where it may be raised (``checkpoint``), or for the end.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK", "SIGALRM", "SIGUSR1", "SIGUSR2")
_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
"""Those that programs handle, often by raising something."""


@dataclass
class _Untorn:
    """The handlers that were there before, and what they have raised."""

    handlers: dict[signal.Signals, Callable[[int, FrameType | None], Any]] = field(default_factory=dict)
    raised: list[BaseException] = field(default_factory=list)

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Call the handler; what it raises waits."""
        try:
            self.handlers[signal.Signals(number)](number, frame)
        except BaseException as e:
            self.raised.append(e.with_traceback(e.__traceback__ and e.__traceback__.tb_next))

    def begin(self) -> None:
        """Take the place of the handlers."""
        for number in _SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                self.handlers[number] = handler
                signal.signal(number, self.handle)

    def end(self) -> None:
        """Give them their places back, whatever those that have it already raise meanwhile."""
        while True:
            try:
                for number, handler in self.handlers.items():
                    signal.signal(number, handler)
                return
            except BaseException as e:
                self.raised.append(e)


class Flag:
    """As ``threading.Event``, but nobody waits for it and it has no lock, so that a signal's handler may set it."""

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        """Whether it is."""
        return self._is_set

    def set(self) -> None:
        """From any thread."""
        self._is_set = True


_untorn: _Untorn | None = None
"""The main thread's, while it is in one."""


@contextmanager
def untorn() -> Iterator[None]:
    """What is done in it is done whole: what signal handlers raise is raised at a ``checkpoint``, or at the end.

    In another one it is part of that.
    """
    global _untorn
    if _untorn is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    whole = _Untorn()
    try:
        whole.begin()
        _untorn = whole
        yield
    finally:
        _untorn = None
        whole.end()
        if whole.raised:
            raise whole.raised.pop()


def awaited() -> int:
    """How much waits to be raised, so that this thread is to come to a ``checkpoint``, or an end."""
    if _untorn is None or threading.current_thread() is not threading.main_thread():
        return 0
    return len(_untorn.raised)


def checkpoint() -> None:
    """Raise what waits, if anything does: nothing is half done here."""
    if _untorn and awaited():
        raise _untorn.raised.pop()


_END: Any = object()


def in_steps(items: Generator[T]) -> Generator[T]:
    """The same items: each is made ``untorn``, and between them, where the caller has it, signals do what they did."""
    try:
        while True:
            with untorn():
                item = next(items, _END)
                if awaited():
                    items.close()
            if item is _END:
                return
            yield item
    finally:
        with untorn():
            items.close()


@dataclass
class Interruption:
    """Whether Ctrl-C was pressed, and what it stops."""

    seen: bool = False
    stop: Callable[[], None] = lambda: None


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
def stopping() -> Iterator[Interruption]:
    """Ctrl-C calls ``stop`` and raises nothing: llama.cpp calls back into Python, where an exception would be lost."""
    interruption = Interruption()

    def act() -> None:
        interruption.seen = True
        interruption.stop()

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
