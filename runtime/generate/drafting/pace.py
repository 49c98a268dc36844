"""How many tokens to guess: what evaluations take, and how often guesses are right, as measured in this answer.

``k`` guesses cost an evaluation of ``k + 1`` tokens and the guessing, and bring as many tokens as are right, and one
more. Where memory is the limit, several tokens take little longer than one; where arithmetic is, two take almost twice
as long, and only long runs of right guesses pay. So it is measured, and where guesses do not pay there are none.
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
_FADING = 0.97  # of what is known about earlier guesses, with each later one
_IDLE = 0.02  # of the time, for guesses that do not pay
LOOKED_AT = 4
"""Guesses of a drafter that takes its time, where they are not worth an evaluation: to see what becomes of them."""


@dataclass
class _Odds:
    """How often the next guess of a kind is right, given that those before it were. It begins with two of three."""

    right: float = 2.0
    wrong: float = 1.0

    def saw(self, right: bool) -> None:
        self.right = self.right * _FADING + right
        self.wrong = self.wrong * _FADING + (not right)

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
        self._since_yardstick = 0 if n_tokens == 1 else self._since_yardstick + 1

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
        self._pause = 0.0 if pays else (seconds + reading) / (_IDLE * statistics.median(self._seconds[1]))

    def may_ask(self) -> bool:
        """Whether such a drafter is asked for this token."""
        self._pause -= 1
        return self._pause < 0

    def size(self, kind: str, room: int, *, is_free: bool) -> int:
        """How many guesses to evaluate, at most ``room``; 0 where it is quicker without."""
        p = self._odds.setdefault(kind, _Odds()).probability
        each = 0.0 if is_free or not self._guessing else statistics.median_low(self._guessing)
        known = {n: statistics.median(seconds) for n, seconds in self._seconds.items()}
        rates = {
            k: expected_tokens(p, k) / (_estimate(known, k + 1) + k * each) for k in SIZES if k <= min(room, self.most)
        }
        best = max(rates, key=lambda k: rates[k], default=0)
        if not best or rates[best] < _WORTH / known[1]:
            return 0
        # About twice what was measured at the most, so that no evaluation takes surprisingly long.
        return min(best, fitting(2 * max(known) + 1))


def fitting(n_guesses: int) -> int:
    """The largest of the sizes that so many guesses fill; 0 for none."""
    return max((k for k in SIZES if k <= n_guesses), default=0)


def expected_tokens(p: float, k: int) -> float:
    """Of an evaluation with ``k`` guesses, each right with probability ``p`` (Leviathan et al. 2023, equation 1)."""
    return float(k + 1) if p >= 1 else (1 - p ** (k + 1)) / (1 - p)


def _estimate(known: dict[int, float], n_tokens: int) -> float:
    """Seconds for an evaluation: as measured, or between the two next to it.

    Beyond all that was measured a token more is taken to cost half of what it has cost so far: llama.cpp's kernels are
    the better the more tokens there are, and what is tried is measured then.
    """
    if n_tokens in known:
        return known[n_tokens]
    below = max(n for n in known if n < n_tokens)
    if above := [n for n in known if n > n_tokens]:
        slope = (known[min(above)] - known[below]) / (min(above) - below)
    else:
        slope = (known[below] - known[1]) / (2 * (below - 1)) if below > 1 else 0.0
    return known[below] + max(0.0, slope) * (n_tokens - below)
