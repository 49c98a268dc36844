"""A model that says what it is told to, and the functions that its calls run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

from exaone4_gguf.errors import Exaone4Error
from exaone4_gguf.runtime.events import Content, Event, Finish, ToolCallArguments, ToolCallBegin, ToolCallEnd, Usage
from exaone4_gguf.runtime.exaone4 import Exaone4

USAGE = Usage(100, 90, 20, 5, 0.25, 2.0)


def says(text: str) -> list[Event]:
    """An answer in words."""
    return [*(Content(f"{word} ") for word in text.split()), Finish("stop")]


def calls(*arguments: str, name: str = "roll_dice") -> list[Event]:
    """An answer that is calls."""
    events: list[Event] = []
    for i, text in enumerate(arguments):
        events += [ToolCallBegin(i, f"call_{i}", name), ToolCallArguments(i, text), ToolCallEnd(i)]
    return [*events, Finish("tool_calls")]


def roll_dice(sides: int) -> int:
    """Roll one die."""
    return sides - 1


class Scripted:
    """Says one answer after the other, and keeps what it was asked. An exception in an answer is raised."""

    def __init__(self, *answers: Sequence[Event | Exception]) -> None:
        self._answers = iter(answers)
        self.asked: list[list[Any]] = []
        self.options: list[dict[str, Any]] = []
        self.usage: Usage | None = None
        self.cancelled = False
        self.context = SimpleNamespace(n_ctx=1000)
        metadata = {"general.name": "Scripted"}
        self.model = SimpleNamespace(metadata=metadata)

    def as_model(self) -> Exaone4:
        """Itself, for whom it may concern."""
        return cast(Exaone4, self)

    def cancel(self) -> None:
        """Remember it."""
        self.cancelled = True

    def stream(self, messages: Sequence[Any], tools: Sequence[Any], **options: Any) -> Iterator[Event]:
        """The next answer."""
        self.asked.append(list(messages))
        self.options.append(options)
        answer = next(self._answers)
        if answer and isinstance(answer[0], Exaone4Error):
            raise answer[0]
        return self._events(answer)

    def _events(self, answer: Sequence[Event | Exception]) -> Iterator[Event]:
        try:
            for event in answer:
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.usage = Usage(*vars(USAGE).values())
