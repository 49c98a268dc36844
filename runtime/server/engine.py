"""The one thread that owns the model, and the queue before it.

The model answers one request at a time. Requests come from the event loop as jobs, and what the model says goes back
to it, event by event.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeAlias, TypeVar

from exaone4_gguf.errors import Exaone4Error
from exaone4_gguf.runtime.chat.answer_stream import AnswerStream
from exaone4_gguf.runtime.chat.conversing import Conversing
from exaone4_gguf.runtime.events import Usage
from exaone4_gguf.runtime.server.errors import Problem
from exaone4_gguf.runtime.server.fair_queue import FairQueue
from exaone4_gguf.runtime.server.metrics import Metrics

log = logging.getLogger("exaone4_gguf.server")

T = TypeVar("T")

_LONGEST_RETRY = 60  # seconds


@dataclass(frozen=True)
class Said(Generic[T]):
    """What one of a request's choices brings: an event of an answer, or results of texts."""

    choice: int
    event: T


@dataclass(frozen=True)
class Ended:
    """A choice is complete; what it took."""

    choice: int
    usage: Usage


Item: TypeAlias = Said[T] | Ended


class State(Enum):
    """What the engine can do."""

    LOADING = "loading"
    READY = "ok"
    FAILED = "failed"
    STOPPED = "stopped"


class Job(Generic[T]):
    """A request on its way through the engine: answers to be read one after the other.

    Made, and read, on the event loop.
    """

    def __init__(self, owner: Sequence[str], choices: Sequence[AnswerStream[T]]) -> None:
        self.owner, self.choices = owner, choices
        self.stopped = False
        """It is to end with what it has."""
        self.abandoned = False
        """Nobody reads it."""
        self.over = False
        self._loop = asyncio.get_running_loop()
        self._items: asyncio.Queue[Item[T] | BaseException | None] = asyncio.Queue()

    def cancel(self) -> None:
        """End its choices, from any thread: those that have not begun as well."""
        self.stopped = True
        for choice in self.choices:
            choice.cancel()

    def tell(self, item: Item[T] | BaseException | None) -> None:
        """Hand something over to the loop, from any thread; None is the end."""
        with suppress(RuntimeError):  # the loop may be gone, after a second signal
            self._loop.call_soon_threadsafe(self._items.put_nowait, item)

    async def items(self, patience: float | None = None) -> AsyncIterator[list[Item[T]]]:
        """What has come, all that is there at once; an empty list where nothing came for ``patience`` seconds.

        Raises:
            Exception: what went wrong.
        """
        while True:
            found = await self._next(patience)
            said = [item for item in found if isinstance(item, Said | Ended)]
            if said or not found:
                yield said
            for item in found:
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    return

    async def _next(self, patience: float | None) -> list[Item[T] | BaseException | None]:
        try:
            found = [await asyncio.wait_for(self._items.get(), patience)]
        except TimeoutError:
            return []
        while not self._items.empty():
            found.append(self._items.get_nowait())
        return found


class Engine:
    """Loads a model in a thread of its own, and answers jobs there.

    Args:
        load: makes the model.
        max_queue: how many jobs may wait.
        when_loaded: called in the thread, with what went wrong, if anything did.
    """

    def __init__(
        self,
        load: Callable[[], Conversing],
        *,
        max_queue: int,
        metrics: Metrics,
        when_loaded: Callable[[BaseException | None], None] = lambda error: None,
    ) -> None:
        self._load, self._when_loaded = load, when_loaded
        self._max_queue, self._metrics = max_queue, metrics
        self._model: Conversing | None = None
        self._current: Job[Any] | None = None
        self._queue: FairQueue[Job[Any]] = FairQueue()
        self._changed = threading.Condition()
        self._mean_seconds = 1.0
        self._thread = threading.Thread(target=self._work, name="model", daemon=True)
        self.state = State.LOADING

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def stop(self) -> None:
        """Stop what is being answered, free the model, and wait until that is done."""
        with self._changed:
            self.state = State.STOPPED
            self._changed.notify()
            if self._current is not None:
                self._current.cancel()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def model(self) -> Conversing:
        """The model, for what does not evaluate: prompts, tokens.

        Raises:
            Problem: it is not there.
        """
        self._check_ready()
        return self._loaded

    def _check_ready(self) -> None:
        if self.state is not State.READY:
            raise Problem(503, f"the model is not ready: {self.state.value}", code="model_not_ready", retry_after=1)

    @property
    def waiting(self) -> int:
        """How many jobs wait."""
        with self._changed:
            return len(self._queue)

    @property
    def running(self) -> int:
        """How many are being answered: one, or none."""
        return int(self._current is not None)

    def check_room(self) -> None:
        """Raises Problem if the queue is full."""
        if self.waiting >= self._max_queue:
            after = max(1, min(_LONGEST_RETRY, round(self._mean_seconds * self.waiting)))
            raise Problem(429, "too many requests are waiting", code="queue_full", retry_after=after)

    def submit(self, job: Job[Any]) -> None:
        """Put a job into the queue.

        Raises:
            Problem: the queue is full, or there is no model.
        """
        with self._changed:
            self._check_ready()
            self.check_room()
            self._queue.put(job.owner, job)
            self._changed.notify()

    def abandon(self, job: Job[Any]) -> None:
        """Nobody is interested any more: the job ends within a token."""
        if not (job.over or job.stopped):
            self._metrics.add("requests_cancelled_total")
        job.abandoned = True
        self._end(job, None)

    def expire(self, job: Job[Any]) -> None:
        """The job has taken too long: it ends with what it has, or with an error if it is still waiting."""
        if job.over:
            return
        self._metrics.add("requests_timed_out_total")
        self._end(job, Problem(503, "the request waited too long for its turn", code="timeout", retry_after=1))

    def _end(self, job: Job[Any], word: Problem | None) -> None:
        job.cancel()
        with self._changed:
            waited = self._queue.remove(job)
        if waited:
            job.over = True
            job.tell(word)

    @property
    def _loaded(self) -> Conversing:
        assert self._model is not None
        return self._model

    def _work(self) -> None:
        try:
            self._model = self._load()
        except BaseException as e:
            self.state = State.FAILED
            self._when_loaded(e)
            return
        with self._changed:
            stopped = self.state is State.STOPPED
            self.state = State.STOPPED if stopped else State.READY
        if not stopped:
            self._when_loaded(None)
        while job := self._next():
            self._answer(job)
        self._model.close()

    def _next(self) -> Job[Any] | None:
        """The job whose turn it is; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self.waiting or self.state is State.STOPPED)
            self._current = self._queue.take() if self.waiting and self.state is not State.STOPPED else None
            return self._current

    def _answer(self, job: Job[Any]) -> None:
        began = time.monotonic()
        failure: Exception | None = None
        try:
            self._read(job)
        except Exaone4Error as e:
            log.error("a request failed: %s", e)
            failure = e
        except Exception as e:
            log.exception("a request failed")
            failure = e
        with self._changed:
            self._current, job.over = None, True
        job.tell(failure)
        self._mean_seconds += 0.2 * (time.monotonic() - began - self._mean_seconds)

    def _read(self, job: Job[Any]) -> None:
        """Read the job's streams to their ends, or until it is stopped."""
        for choice, answer in enumerate(job.choices):
            with answer:
                for event in answer:
                    job.tell(Said(choice, event))
                    if job.abandoned:
                        break
            self._metrics.add_usage(answer.usage)
            job.tell(Ended(choice, answer.usage))
            if job.stopped:
                return
