"""Progress on stderr: a bar with bytes, rate and time left on a terminal, a few quiet lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape

if TYPE_CHECKING:
    from exaone4_gguf.converter.plan import Plan

_LINE_EVERY = 30.0  # seconds, where there is no terminal
_QUIET = 1.0  # seconds in which nothing is shown


@contextmanager
def show_progress(plan: Plan) -> Iterator[Callable[[int], None]]:
    """Show how much of the plan has been written, while the context lasts."""
    console = Console(stderr=True)
    title = escape(plan.files[0].path.name)
    if console.is_terminal:
        with _bar(console, title, plan.size) as advance:
            yield advance
    else:
        with _lines(console, title, lambda n: f"{decimal(n)} of {decimal(plan.size)}") as advance:
            yield advance


@contextmanager
def show_count(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how much of a total is done, in percent, while the context lasts."""
    console = Console(stderr=True)
    if console.is_terminal:
        with _percent_bar(console, escape(title), total) as advance:
            yield advance
    else:
        with _lines(console, escape(title), lambda done: f"{100 * done // max(1, total)} %") as advance:
            yield advance


@contextmanager
def _percent_bar(console: Console, title: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda n: progress.advance(task, n)


@contextmanager
def show_rate(what: str) -> Iterator[Callable[[int], None]]:
    """Show how many there were and how many come in a second, where how many will come is not known."""
    console, began, last, count = Console(stderr=True), time.monotonic(), 0.0, 0
    every, end = _LINE_EVERY, "\n"
    if console.is_terminal:
        every, end = 0.1, "\r"

    def advance(n: int) -> None:
        nonlocal last, count
        count += n
        now = time.monotonic()
        if now - last >= every and now - began > _QUIET:
            last = now
            console.print(f"{count:,} {what}, {count / (now - began):.1f} a second", end=end, highlight=False)

    yield advance
    if console.is_terminal and last:
        console.print()


@contextmanager
def show_steps() -> Iterator[Callable[[str, float], None]]:
    """Show what is being done, and which share of it is done, while the context lasts."""
    console, last = Console(stderr=True), time.monotonic()

    def line(what: str, done: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LINE_EVERY:
            last = now
            console.print(f"{what}: {done:.0%}", highlight=False, markup=False, soft_wrap=True)

    if not console.is_terminal:
        yield line
        return
    from rich.progress import Progress

    with Progress(console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda what, done: bar.update(task, description=what, completed=done)


@contextmanager
def _bar(console: Console, title: str, total: int) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda n_bytes: progress.advance(task, n_bytes)


@contextmanager
def _lines(console: Console, title: str, told: Callable[[int], str]) -> Iterator[Callable[[int], None]]:
    done, last, lock = 0, time.monotonic(), threading.Lock()

    def advance(n_bytes: int) -> None:
        nonlocal done, last
        with lock:
            done += n_bytes
            now = time.monotonic()
            if now - last >= _LINE_EVERY:
                last = now
                console.print(f"{title}: {told(done)}", highlight=False)

    yield advance
