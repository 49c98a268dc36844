"""A whole answer, and what it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from exaone4_gguf.runtime.events import Message, Token, ToolCall, Usage


@dataclass(frozen=True)
class Reply:
    """A whole answer."""

    message: Message
    usage: Usage
    logprobs: tuple[Token, ...] | None = None

    @property
    def content(self) -> str | None:
        """The answer's text; None where there is none beside the calls."""
        return self.message.content

    @property
    def reasoning_content(self) -> str | None:
        """The thoughts."""
        return self.message.reasoning_content

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls; their arguments are JSON text."""
        return self.message.tool_calls

    @property
    def finish_reason(self) -> str | None:
        """Why it ended: stop, length, tool_calls or cancelled."""
        return self.message.finish_reason

    def to_openai(self) -> dict[str, Any]:
        """The assistant's message, to be put into the conversation."""
        message: dict[str, Any] = {"role": "assistant", "content": self.content}
        if self.reasoning_content:
            message["reasoning_content"] = self.reasoning_content
        if self.tool_calls:
            message["tool_calls"] = [
                {"id": c.id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
                for c in self.tool_calls
            ]
        return message
