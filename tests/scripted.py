"""A model that says what it is told to, and the functions that its calls run."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

from exaone4_gguf.errors import Exaone4Error
from exaone4_gguf.runtime.answer.reply import Reply
from exaone4_gguf.runtime.chat.answer_stream import AnswerStream, Making
from exaone4_gguf.runtime.chat.chat_model import ChatModel
from exaone4_gguf.runtime.events import (
    Content,
    Event,
    Finish,
    ToolCallArguments,
    ToolCallBegin,
    ToolCallEnd,
    Usage,
    collect,
)
from exaone4_gguf.runtime.prompt.builder import Prompt

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
        self.cancelled = False
        self.name, self.n_ctx, self.uses_gpu = "Scripted", 1000, False
        self.silent: str | None = None

    def as_model(self) -> ChatModel:
        """Itself, for whom it may concern."""
        return self

    def cancel(self) -> None:
        """Remember it."""
        self.cancelled = True

    def close(self) -> None:
        """Nothing is open."""

    def prompt(self, messages: Iterable[Any], tools: Iterable[Any] | None = None, **options: Any) -> Prompt:
        """It reads none."""
        raise NotImplementedError

    def chat(self, messages: Iterable[Any], tools: Iterable[Any] | None = None, **options: Any) -> Reply:
        """The next answer, whole."""
        with self.stream(messages, tools, **options) as answer:
            return Reply(collect(answer), answer.usage)

    def stream(
        self, messages: Iterable[Any], tools: Iterable[Any] | None = None, **options: Any
    ) -> AnswerStream[Event]:
        """The next answer."""
        self.asked.append(list(messages))
        self.options.append(options)
        script = next(self._answers)
        if script and isinstance(script[0], Exaone4Error):
            raise script[0]

        def steps(answer: Making) -> Generator[Event]:
            try:
                for event in script:
                    if isinstance(event, Exception):
                        raise event
                    yield event
            finally:
                answer.usage = Usage(*vars(USAGE).values())

        return AnswerStream(steps)
