"""An answer of a model while it is made."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Generic, Self, TypeVar

from exaone4_gguf.runtime.events import Token, Usage
from exaone4_gguf.runtime.llama.interrupts import Flag

T = TypeVar("T")


class Making:
    """What a model and the reader of an answer share while it is made.

    The model holds this and not the answer, so that an answer that nobody holds any more is closed.
    """

    def __init__(self, usage: Usage) -> None:
        self.usage = usage
        self.logprobs: tuple[Token, ...] | None = None
        self.cancelled = Flag()
        self.reader: int | None = None
        """The thread that has read it last, while it has its turn."""


class AnswerStream(Generic[T]):
    """An answer while it is made: iterate once over what it brings, events for a conversation.

    A cancellation is the answer's own, from before its turn comes, and once set it stays set.

    Args:
        steps: makes what the answer brings.
        usage: what is known before it begins.
    """

    def __init__(self, steps: Callable[[Making], Generator[T]], usage: Usage | None = None) -> None:
        self._making = Making(usage or Usage(0, 0, 0, 0, 0.0, 0.0))
        self._steps = steps(self._making)

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        return next(self._steps)

    @property
    def usage(self) -> Usage:
        """What the answer took; whole at its end."""
        return self._making.usage

    @property
    def logprobs(self) -> tuple[Token, ...] | None:
        """The tokens of the answer, whole at its end; None where logprobs were not asked for."""
        return self._making.logprobs

    @property
    def has_begun(self) -> bool:
        """Whether it has its turn, and something of it has come."""
        return self._making.reader is not None

    def cancel(self) -> None:
        """End it soon, from any thread, also before it begins: its last event is then a Finish, "cancelled"."""
        self._making.cancelled.set()

    def close(self) -> None:
        """Stop the generation. What has come stays in ``usage`` and ``logprobs``."""
        self._steps.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
