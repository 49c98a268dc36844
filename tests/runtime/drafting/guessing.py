"""Drafters and paces for tests: they guess what they are told to, and always."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from exaone4_gguf.runtime.drafting.draft import Draft
from exaone4_gguf.runtime.drafting.pace import Pace

if TYPE_CHECKING:
    from exaone4_gguf.runtime.drafting.draft import Tokens


class Eager(Pace):
    """Guesses as much as it may, each time."""

    wants_yardstick = False

    def size(self, kind: str, room: int, *, is_free: bool) -> int:
        """All of it."""
        return min(room, self.most)

    def may_ask(self) -> bool:
        """Always."""
        return True


class Prophet:
    """Knows how the text goes on, and is wrong now and then."""

    is_free = True

    def __init__(self, text: Sequence[int], wrong: float, seed: int = 0) -> None:
        self._text, self._wrong = text, wrong
        self._dice = random.Random(seed)

    def draft(self, history: Tokens) -> Draft | None:
        """The next tokens of the text, each of them wrong with a probability of its own."""
        rest = self._text[len(history) :]
        return Draft("prophet", lambda n: [self._told(token) for token in rest[:n]]) if rest else None

    def _told(self, token: int) -> int:
        return token ^ 1 if self._dice.random() < self._wrong else token
