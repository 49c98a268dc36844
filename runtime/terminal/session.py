"""What a chat remembers: the conversation, the model and how to ask it. It neither reads keys nor prints."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exaone4_gguf.errors import ConversationError, OutputError
from exaone4_gguf.format.atomic import replacing
from exaone4_gguf.runtime.chat.chat_model import ChatModel
from exaone4_gguf.runtime.generate.request import ChatOptions
from exaone4_gguf.runtime.prompt.messages import normalized
from exaone4_gguf.runtime.terminal.turn import MAX_ROUNDS, Turn, View, run_turn
from exaone4_gguf.runtime.tools.toolbox import Toolbox

Message = dict[str, Any]


class Session:
    """A conversation that goes on. ``turns`` are its messages in OpenAI's form, without the system's.

    A turn that fails leaves everything as it was before.
    """

    def __init__(
        self,
        model: ChatModel,
        toolbox: Toolbox,
        options: ChatOptions,
        *,
        system: str | None = None,
        max_rounds: int = MAX_ROUNDS,
    ) -> None:
        self.model, self.toolbox, self.options = model, toolbox, options
        self.system, self.max_rounds = system, max_rounds
        self.turns: list[Message] = []

    def ask(self, text: str, view: View | None = None) -> Turn:
        """The user says something, and the model answers.

        Raises:
            Exaone4Error: as ``run_turn``.
        """
        return self._answer([*self.turns, {"role": "user", "content": text}], view)

    def retry(self, view: View | None = None) -> Turn:
        """Answer what the user said last once more, instead of what was answered.

        Raises:
            ConversationError: the user has said nothing.
            Exaone4Error: as ``run_turn``.
        """
        asked = [i for i, message in enumerate(self.turns) if message.get("role") == "user"]
        if not asked:
            raise ConversationError("there is nothing to answer again")
        return self._answer(self.turns[: asked[-1] + 1], view)

    @property
    def messages(self) -> list[Message]:
        """The whole conversation."""
        return self._after_system(self.turns)

    @property
    def last_answer(self) -> str:
        """What the model said last; empty if it said nothing."""
        said = (message.get("content") for message in reversed(self.turns) if message.get("role") == "assistant")
        return str(next((text for text in said if text), ""))

    def save(self, path: Path) -> None:
        """Write the conversation as JSON: an object with ``messages``, as OpenAI's clients send it. Links are followed.

        Raises:
            OutputError: it cannot be written, or would replace a file that is no conversation.
        """
        path = _followed(path)
        if path.exists() and not _holds_conversation(path):
            raise OutputError(f"{path}: it exists and holds no conversation; it was not replaced")
        text = json.dumps({"messages": self.messages}, ensure_ascii=False, indent=1) + "\n"
        try:
            with replacing(path) as partial:
                partial.write_text(text, encoding="utf-8", errors="replace")
        except OSError as e:
            raise OutputError(f"{path}: {e.strerror}") from None

    def load(self, path: Path) -> None:
        """Go on with a conversation that was saved, here or by anyone who writes OpenAI's form.

        Raises:
            ConversationError: the file cannot be read, or is not JSON with messages.
            MessageError: a message has not the right form.
        """
        messages = _read_messages(path)
        first = normalized(messages)[0] if messages else {}
        is_system = first.get("role") == "system"
        self.system = first["content"] if is_system else None
        self.turns = messages[1:] if is_system else messages

    def _answer(self, turns: list[Message], view: View | None) -> Turn:
        messages = self._after_system(turns)
        turn = run_turn(self.model, messages, self.toolbox, view=view, max_rounds=self.max_rounds, **self.options)
        self.turns = [*turns, *turn.messages]
        return turn

    def _after_system(self, turns: Sequence[Message]) -> list[Message]:
        return [*([{"role": "system", "content": self.system}] if self.system else []), *turns]


def _followed(path: Path) -> Path:
    """The file behind links, which is replaced instead of them."""
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError) as e:
        raise OutputError(f"{path}: {getattr(e, 'strerror', None) or e}") from None


def _read_messages(path: Path) -> list[Message]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConversationError(f"{path}: {e.strerror}") from None
    except (ValueError, RecursionError) as e:
        raise ConversationError(f"{path}: not JSON: {e}") from None
    messages = value.get("messages") if isinstance(value, dict) else value
    if not isinstance(messages, list):
        raise ConversationError(f"{path}: it holds no list of messages")
    return messages


def _holds_conversation(path: Path) -> bool:
    try:
        _read_messages(path)
    except ConversationError:
        return False
    return True
