"""How many tokens to guess: what evaluations take, and how often guesses are right, as measured in this answer.

``k`` guesses bring E(p, k) = (1 - p^(k+1)) / (1 - p) tokens, where each is right with probability ``p`` if those
before it were: the ones that are right, and one more. They cost T(k + 1) + k g seconds, an evaluation of ``k + 1``
tokens and ``g`` for guessing each. The size is the ``k`` whose rate E / (T + k g) is largest, and 0 where that does
not reach 1.05 / T(1), the rate without guesses and a margin.

``p`` is counted for each kind of draft, and fades by 0.97 a guess; ``T`` and ``g`` are medians of the last five
measurements, ``T`` between measured sizes a straight line. Every 64 evaluations one token is evaluated alone, so that
T(1) stays known. Where memory is the limit, T(k + 1) is little more than T(1); where arithmetic is, T(2) is almost
twice T(1), and only long runs of right guesses pay.
"""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48)
"""Numbers of guesses: few, so that each is measured often. At 64 tokens llama.cpp's attention for prompts begins."""
YARDSTICK = 64
"""After so many evaluations one is made without guesses, to know what that takes."""

_REMEMBERED = 5  # measurements of a size: their median counts
_WORTH = 1.05  # how much quicker it must be
_FADING = 0.97  # the weight of earlier guesses, with each later one
_IDLE = 0.02  # the share of the time that guesses which do not pay may take
UNEVALUATED = 4
"""Guesses that are made now and then although they do not pay, to notice when they would; they are not evaluated."""


@dataclass
class _Odds:
    """How often the next guess of a kind is right, given that those before it were. It begins with two of three."""

    right: float = 2.0
    wrong: float = 1.0

    def saw(self, right: bool) -> None:
        self.right *= _FADING
        self.wrong *= _FADING
        if right:
            self.right += 1
        else:
            self.wrong += 1

    @property
    def probability(self) -> float:
        return self.right / (self.right + self.wrong)


@dataclass
class Pace:
    """Chooses the number of guesses that promises the most tokens a second; one is made for each answer.

    Args:
        most: the most guesses at a time.
    """

    most: int = SIZES[-1]
    _seconds: dict[int, deque[float]] = field(default_factory=dict)
    _odds: dict[str, _Odds] = field(default_factory=dict)
    _guessing: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    _since_yardstick: int = 0
    _pause: float = 0.0

    @property
    def wants_yardstick(self) -> bool:
        """Whether the next evaluation is to be one without guesses."""
        return 1 not in self._seconds or self._since_yardstick >= YARDSTICK

    def evaluated(self, n_tokens: int, seconds: float) -> None:
        """An evaluation of so many tokens took so long."""
        self._seconds.setdefault(n_tokens, deque(maxlen=_REMEMBERED)).append(seconds)
        self._since_yardstick += 1
        if n_tokens == 1:
            self._since_yardstick = 0

    def proved(self, kind: str, right: bool) -> None:
        """A guess of that kind, those before it being right, was right or wrong."""
        self._odds.setdefault(kind, _Odds()).saw(right)

    def guessed(self, n_tokens: int, seconds: float, reading: float, *, pays: bool) -> None:
        """A drafter that takes its time guessed so many tokens in ``seconds``, after ``reading`` those since the last.

        Where that does not pay, it is not asked again before a fiftieth of the time would be spent on it. The first
        time the reading does not count: it is that of the prompt.
        """
        if not self._guessing:
            reading = 0.0
        self._guessing.append(seconds / max(1, n_tokens))
        self._pause = 0.0
        if not pays:
            self._pause = (seconds + reading) / (_IDLE * statistics.median(self._seconds[1]))

    def may_ask(self) -> bool:
        """Whether such a drafter is asked for this token."""
        self._pause -= 1
        return self._pause < 0

    def size(self, kind: str, room: int, *, is_free: bool) -> int:
        """How many guesses to evaluate, at most ``room``; 0 where it is quicker without."""
        p = self._odds.setdefault(kind, _Odds()).probability
        each = 0.0
        if self._guessing and not is_free:
            each = statistics.median_low(self._guessing)
        known = {n: statistics.median(seconds) for n, seconds in self._seconds.items()}
        rates: dict[int, float] = {}
        for k in SIZES:
            if k <= min(room, self.most):
                rates[k] = expected_tokens(p, k) / (_estimate(known, k + 1) + k * each)
        best = max(rates, key=rates.__getitem__, default=0)
        if not best or rates[best] < _WORTH / known[1]:
            return 0
        # About twice what was measured at the most, so that no evaluation takes surprisingly long.
        return min(best, fitting(2 * max(known) + 1))


def fitting(n_guesses: int) -> int:
    """The largest of the sizes that so many guesses fill; 0 for none."""
    return max((k for k in SIZES if k <= n_guesses), default=0)


def expected_tokens(p: float, k: int) -> float:
    """The tokens that ``k`` guesses bring, each right with probability ``p`` (Leviathan et al. 2023, equation 1)."""
    if p >= 1:
        return float(k + 1)
    return (1 - p ** (k + 1)) / (1 - p)


def _estimate(known: dict[int, float], n_tokens: int) -> float:
    """Seconds for an evaluation: as measured, or between the two next to it.

    Beyond all that was measured a token more is taken to cost half of what it has cost so far: llama.cpp's kernels are
    the better the more tokens there are, and what is tried is measured then.
    """
    if n_tokens in known:
        return known[n_tokens]
    below = max(n for n in known if n < n_tokens)
    above = [n for n in known if n > n_tokens]
    slope = 0.0
    if above:
        slope = (known[min(above)] - known[below]) / (min(above) - below)
    elif below > 1:
        slope = (known[below] - known[1]) / (2 * (below - 1))
    return known[below] + max(0.0, slope) * (n_tokens - below)
