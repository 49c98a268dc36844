"""Ctrl-C does what it should meanwhile, and afterwards what it did before."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from exaone4_gguf.runtime.interrupts import ignoring, raising_once, stopping


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def before() -> Any:
    handler = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is handler


def test_stopping_raises_nothing() -> None:
    stopped = threading.Event()
    with stopping(stopped.set) as interruption:
        press_ctrl_c()
        press_ctrl_c()
        assert interruption.seen
    assert stopped.wait(5)


def test_the_lock_that_stopping_takes_may_be_held_here() -> None:
    lock = threading.Lock()
    taken = threading.Event()

    def stop() -> None:
        with lock:
            taken.set()

    with stopping(stop), lock:
        press_ctrl_c()
    assert taken.wait(5)


def test_ignoring() -> None:
    with ignoring():
        press_ctrl_c()


def test_raising_once_is_once() -> None:
    with pytest.raises(KeyboardInterrupt), raising_once():
        press_twice()


def press_twice() -> None:
    """The second time while the first is handled."""
    try:
        press_ctrl_c()
    finally:
        press_ctrl_c()


@pytest.mark.parametrize("meanwhile", [ignoring, raising_once, lambda: stopping(press_ctrl_c)])
def test_another_thread_leaves_signals_alone(meanwhile: Callable[[], Any]) -> None:
    def work() -> None:
        with meanwhile():
            seen.append(signal.getsignal(signal.SIGINT))

    seen: list[Any] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
