"""The seam between a model and those who talk with it: what a model that chats can do.

``Exaone4`` and ``RemoteExaone4`` are such models; terminal and tests depend on no more than this.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol, Unpack

if TYPE_CHECKING:
    from exaone4_gguf.runtime.answer.reply import Reply
    from exaone4_gguf.runtime.chat.answer_stream import AnswerStream
    from exaone4_gguf.runtime.events import Event
    from exaone4_gguf.runtime.generate.request import ChatOptions
    from exaone4_gguf.runtime.prompt.builder import Prompt


class ChatModel(Protocol):
    """A model that chats, here or elsewhere."""

    @property
    def name(self) -> str:
        """What the model calls itself; else its file's name."""

    @property
    def uses_gpu(self) -> bool:
        """Whether layers lie on a GPU."""

    @property
    def n_ctx(self) -> int:
        """The most tokens of a conversation."""

    @property
    def silent(self) -> str | None:
        """Why the model cannot chat, in one line; None of one that can."""

    def prompt(
        self, messages: Iterable[Any], tools: Iterable[Any] | None = None, **options: Unpack[ChatOptions]
    ) -> Prompt:
        """The prompt that a request would be evaluated as."""

    def stream(
        self, messages: Iterable[Any], tools: Iterable[Any] | None = None, **options: Unpack[ChatOptions]
    ) -> AnswerStream[Event]:
        """Answer, as events."""

    def chat(
        self, messages: Iterable[Any], tools: Iterable[Any] | None = None, **options: Unpack[ChatOptions]
    ) -> Reply:
        """Answer, whole."""

    def cancel(self) -> None:
        """Stop the answer that is being made, from any thread."""

    def close(self) -> None:
        """Free the model."""
