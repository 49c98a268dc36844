"""Ctrl-C does what it should meanwhile, and afterwards what it did before."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from exaone4_gguf.runtime.llama.interrupts import (
    Flag,
    awaited,
    checkpoint,
    ignoring,
    in_steps,
    raising_once,
    stopping,
    untorn,
)


def press_ctrl_c() -> None:
    signal.raise_signal(signal.SIGINT)


@pytest.fixture(autouse=True)
def before() -> Any:
    handler = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is handler


def test_stopping_raises_nothing() -> None:
    stopped = threading.Event()
    with stopping() as interruption:
        interruption.stop = stopped.set
        press_ctrl_c()
        press_ctrl_c()
        assert interruption.seen
    assert stopped.wait(5)


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


def test_what_is_untorn_is_done_whole() -> None:
    done = []

    @untorn()
    def work() -> None:
        press_ctrl_c()
        with untorn():
            done.append(awaited())
        done.append(awaited())

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [True, True]
    assert not awaited()


def test_a_checkpoint_raises_once() -> None:
    done = []

    def work() -> None:
        with untorn():
            checkpoint()
            press_ctrl_c()
            try:
                checkpoint()
            except KeyboardInterrupt:
                done.append(awaited())
                checkpoint()
        done.append(True)

    work()
    assert done == [False, True]
    checkpoint()


def test_a_second_one_goes_on_where_the_first_was_handled() -> None:
    @untorn()
    def work() -> None:
        press_ctrl_c()
        try:
            checkpoint()
        finally:
            press_ctrl_c()

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert isinstance(caught.value.__context__, KeyboardInterrupt)


def test_other_signals_as_well() -> None:
    def handle(number: int, frame: Any) -> None:
        raise SystemExit(number)

    @untorn()
    def work() -> None:
        signal.raise_signal(signal.SIGTERM)
        assert awaited()

    before = signal.signal(signal.SIGTERM, handle)
    try:
        with pytest.raises(SystemExit):
            work()
        assert signal.getsignal(signal.SIGTERM) is handle
    finally:
        signal.signal(signal.SIGTERM, before)


def test_who_ignores_it_goes_on_ignoring_it() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with untorn():
            press_ctrl_c()
            assert not awaited()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_step_is_whole_and_between_them_it_is_as_before() -> None:
    handler = signal.getsignal(signal.SIGINT)
    steps: list[int | str] = []

    def items() -> Generator[int]:
        try:
            yield 1
            press_ctrl_c()
            steps.append("whole")
            yield 2
        finally:
            steps.append("closed")

    def read() -> None:
        for item in in_steps(items()):
            steps.append(item)
            assert signal.getsignal(signal.SIGINT) is handler

    with pytest.raises(KeyboardInterrupt):
        read()
    assert steps == [1, "whole", "closed"]
    assert list(in_steps(i for i in range(3))) == [0, 1, 2]


def test_a_flag() -> None:
    flag = Flag()
    assert not flag.is_set()
    flag.set()
    assert flag.is_set()


@pytest.mark.parametrize("meanwhile", [ignoring, raising_once, untorn, stopping])
def test_another_thread_leaves_signals_alone(meanwhile: Callable[[], Any]) -> None:
    def work() -> None:
        with meanwhile():
            seen.append(signal.getsignal(signal.SIGINT))

    seen: list[Any] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
