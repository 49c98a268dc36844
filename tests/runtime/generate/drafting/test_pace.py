"""The number of guesses on machines that are made up: near the best that is possible, and none where none pays."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from exaone4_gguf.runtime.generate.drafting.pace import SIZES, UNEVALUATED, Pace, expected_tokens, fitting

Seconds = Callable[[int], float]


def bound_by_memory(n_tokens: int) -> float:
    """Up to eight tokens take little longer than one."""
    return 0.1 * (1 + 0.02 * n_tokens + max(0, n_tokens - 8) * 0.1)


def bound_by_arithmetic(n_tokens: int) -> float:
    """As two cores with the 1.2B in Q4_K_M: 1.7 times for two, 7 times for sixteen."""
    return 0.03 * {1: 1.0, 2: 1.74, 3: 2.28, 4: 2.75, 5: 3.4, 7: 4.6, 9: 6.2, 13: 7.2, 17: 8.0}.get(
        n_tokens, 0.5 * n_tokens
    )


def rate(seconds: Seconds, p: float, each: float, tokens: int = 2000, most: int = SIZES[-1], seed: int = 0) -> float:
    """Tokens a second of an answer, the guesses of which take ``each`` and are right with probability ``p``."""
    dice, pace, made, clock = random.Random(seed), Pace(most), 0, 0.0
    while made < tokens:
        k, asked = 0, False
        if not pace.wants_yardstick and (each == 0 or pace.may_ask()):
            k, asked = pace.size("kind", 100, is_free=each == 0), True
            if each:
                guesses = k or UNEVALUATED
                pace.guessed(guesses, guesses * each, 0.0, pays=k > 0)
                clock += guesses * each
        took = seconds(k + 1) * dice.uniform(0.9, 1.1)
        pace.evaluated(k + 1, took)
        clock, made = clock + took, made + 1
        for _ in range(k or (UNEVALUATED if each else 1) * asked):  # looked at, where they are not worth an evaluation
            right = dice.random() < p
            pace.proved("kind", right)
            made += right and k > 0
            if not right:
                break
    return made / clock


def best_rate(seconds: Seconds, p: float, each: float) -> float:
    return max(expected_tokens(p, k) / (seconds(k + 1) + k * each) for k in (0, *SIZES))


@pytest.mark.parametrize("each", [0.0, 0.004])
@pytest.mark.parametrize("p", [0.0, 0.3, 0.6, 0.8, 0.95, 1.0])
@pytest.mark.parametrize("seconds", [bound_by_memory, bound_by_arithmetic])
def test_it_is_near_the_best_fixed_number(seconds: Seconds, p: float, each: float) -> None:
    assert rate(seconds, p, each) > 0.9 * best_rate(seconds, p, each)


@pytest.mark.parametrize("each", [0.0, 0.004, 0.03])
@pytest.mark.parametrize("p", [0.0, 0.2, 0.5])
def test_where_it_does_not_pay_it_is_off(p: float, each: float) -> None:
    assert rate(bound_by_arithmetic, p, each) > 0.96 / bound_by_arithmetic(1)


def test_it_comes_back_when_the_text_becomes_easy() -> None:
    pace = Pace()
    pace.evaluated(1, 1.0)
    for n in (2, 3, 4, 5):
        pace.evaluated(n, 1.1)
    for _ in range(100):
        pace.proved("kind", False)
    assert pace.size("kind", 100, is_free=True) == 0
    for _ in range(20):
        pace.proved("kind", True)
    assert pace.size("kind", 100, is_free=True) > 0


def test_an_evaluation_is_never_much_longer_than_the_longest_before() -> None:
    """Twice as long at the most, though the guesses are always right and nothing is known of what they cost."""
    pace, before = Pace(), 1
    pace.evaluated(1, 1.0)
    for _ in range(30):
        pace.proved("kind", True)
        k = pace.size("kind", 100, is_free=True)
        assert k <= 2 * before + 1
        pace.evaluated(k + 1, 1.0)
        before = max(before, k + 1)
    assert before == SIZES[-1] + 1


@pytest.mark.parametrize(("most", "room"), [(3, 100), (100, 3), (5, 4)])
def test_bounds(most: int, room: int) -> None:
    pace = Pace(most)
    for n in range(1, 60):
        pace.evaluated(n, 1.0)
    assert pace.size("kind", room, is_free=True) == fitting(min(most, room))


def test_sizes() -> None:
    assert [fitting(n) for n in (0, 1, 5, 6, 47, 48, 500)] == [0, 1, 4, 6, 32, 48, 48]
    assert [expected_tokens(p, 3) for p in (0.0, 0.5, 1.0)] == [1.0, 1.875, 4.0]
