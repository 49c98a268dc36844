"""The tokens of an answer, evaluated with guesses of what comes next: logits are there when their token is chosen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exaone4_gguf.runtime.generate.drafting.draft import Drafter
from exaone4_gguf.runtime.generate.drafting.pace import UNEVALUATED, Pace, fitting
from exaone4_gguf.runtime.llama.context import Context

if TYPE_CHECKING:
    from exaone4_gguf.runtime.llama.context import Logits

_NO_LIMIT = 1 << 31


@dataclass
class Gain:
    """What guessing brought: ``drafted`` tokens were evaluated on a guess, ``accepted`` of them came.

    The ``appended`` tokens took ``seconds``, guesses included; ``alone`` of them were evaluated by themselves, in
    ``seconds_alone``.
    """

    drafted: int = 0
    accepted: int = 0
    appended: int = 0
    seconds: float = 0.0
    alone: int = 0
    seconds_alone: float = 0.0

    def speedup(self, seconds: float) -> float | None:
        """How many times as fast an answer of so many seconds was as without guesses.

        None if there were none, or if no token was evaluated alone.
        """
        if not (self.drafted and self.alone) or seconds <= 0:
            return None
        without = self.seconds_alone / self.alone * self.appended
        return (seconds - self.seconds + without) / seconds


class Lookahead:
    """Goes on after the prompt that a context holds. Without drafters it is the plain context.

    Args:
        pace: decides how many; by default one that measures what they bring.
    """

    def __init__(self, context: Context, drafters: Sequence[Drafter] = (), pace: Pace | None = None) -> None:
        self._context, self._drafters = context, drafters
        self._pace = pace or Pace()
        self.n_tokens = len(context.tokens)
        """Of the prompt and the answer, without guesses."""
        self.gain = Gain()
        self._guesses: list[int] = []
        self._kind = ""
        self._row, self._rows = 0, 1
        self._unevaluated: list[int] = []
        """Guesses that were not worth an evaluation, to see what becomes of them."""
        if drafters:
            import numpy as np  # here, as importing it takes a tenth of a second

            self._history = np.empty(context.n_ctx, np.int32)
            self._history[: self.n_tokens] = context.tokens

    @property
    def logits(self) -> Logits:
        """The logits after the last token, of shape (n_vocab,): llama.cpp's own memory, until the next token."""
        if self._rows == 1:
            return self._context.logits
        row: Logits = self._context.last_logits(self._rows)[self._row]
        return row

    @property
    def room(self) -> int:
        """Tokens that still fit the context."""
        return self._context.n_ctx - self.n_tokens

    def append(self, token: int, room: int = _NO_LIMIT) -> None:
        """Take the token that was chosen. ``room``: how many may follow it.

        Raises:
            Cancelled, RuntimeFailure: as ``Context.append``.
        """
        if not self._drafters:
            self._context.append([token])
            self.n_tokens += 1
            return
        self.gain.appended += 1
        if self._was_guessed(token):
            self._row += 1
        else:
            self._evaluate(token, room)

    def _was_guessed(self, token: int) -> bool:
        """Whether its logits are there already."""
        if not self._guesses:
            self._check(self._unevaluated, token)
            return False
        if not self._check(self._guesses, token):
            return False
        self._history[self.n_tokens] = token
        self.n_tokens += 1
        self.gain.accepted += 1
        return True

    def _check(self, guesses: list[int], token: int) -> bool:
        """Whether the first of the guesses was right: then it is taken off, else all that follow it are wrong too."""
        if not guesses:
            return False
        right = guesses[0] == token
        self._pace.proved(self._kind, right)
        if right:
            del guesses[0]
        else:
            guesses.clear()
        return right

    def _evaluate(self, token: int, room: int) -> None:
        began = time.perf_counter()
        self._context.rewind(self.n_tokens)
        self._history[self.n_tokens] = token
        guesses = self._draft(min(room, self.room) - 1)
        before = time.perf_counter()
        self._context.append([token, *guesses], all_logits=bool(guesses))
        now = time.perf_counter()
        self.n_tokens += 1
        self._guesses, self._row, self._rows = guesses, 0, 1 + len(guesses)
        self._pace.evaluated(self._rows, now - before)
        self.gain.drafted += len(guesses)
        self.gain.seconds += now - began
        if not guesses:
            self.gain.alone += 1
            self.gain.seconds_alone += now - before

    def _draft(self, room: int) -> list[int]:
        """The guesses that are worth an evaluation, of the first drafter that has some."""
        if self._pace.wants_yardstick or room < 1:
            return []
        for drafter in self._drafters:
            if drafter.is_free or self._pace.may_ask():
                guesses = self._guesses_of(drafter, room)
                if guesses:
                    return guesses
        return []

    def _guesses_of(self, drafter: Drafter, room: int) -> list[int]:
        """Those that are worth an evaluation; others are looked at, when their tokens have come."""
        began = time.perf_counter()
        draft = drafter.draft(self._history[: self.n_tokens + 1])
        if draft is None:
            return []
        size = self._pace.size(draft.kind, room, is_free=drafter.is_free)
        before = time.perf_counter()
        guesses = draft.take(size or UNEVALUATED)
        if not drafter.is_free:
            now = time.perf_counter()
            self._pace.guessed(len(guesses), now - before, before - began, pays=size > 0)
        if guesses:
            self._kind = draft.kind
        if not size:
            self._unevaluated = guesses
            return []
        self._unevaluated = []
        return guesses[: fitting(len(guesses))]
