"""Which tokens a piece of the answer is made of."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from exaone4_gguf.runtime.events import Content, Event, Token


class TokenSpans:
    """Gives each token to the event in whose ``raw`` its first character stands.

    Tokens come before the events that they lead to. A token that completes no character stands at the character
    that it is a part of.
    """

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Token]] = deque()
        self._decoded = 0
        self._passed = 0

    def came(self, token: Token, text: str) -> None:
        """A token, and the characters that it completed."""
        self._waiting.append((self._decoded, token))
        self._decoded += len(text)

    def told(self, event: Event) -> Event:
        """The event, with its tokens if it is content."""
        self._passed += len(event.raw)
        tokens = []
        while self._waiting and self._waiting[0][0] < self._passed:
            tokens.append(self._waiting.popleft()[1])
        if isinstance(event, Content):
            return replace(event, tokens=tuple(tokens))
        return event
