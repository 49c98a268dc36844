"""A pace for tests: as much is guessed as may be, whatever it brings."""

from __future__ import annotations

from exaone4_gguf.runtime.generate.drafting.pace import Pace


class Eager(Pace):
    """Guesses as much as it may, each time."""

    wants_yardstick = False

    def size(self, kind: str, room: int, *, is_free: bool) -> int:
        """All of it."""
        return min(room, self.most)

    def may_ask(self) -> bool:
        """Always."""
        return True
