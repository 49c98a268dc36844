"""Whatever is guessed, the logits are those of a plain evaluation, and the cache holds what was chosen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.drafting import Prophet
from exaone4_gguf.converter.convert import convert
from exaone4_gguf.runtime.generate.drafting.lookahead import Lookahead
from exaone4_gguf.runtime.generate.drafting.lookup import PromptLookup
from exaone4_gguf.runtime.generate.drafting.pace import Pace
from exaone4_gguf.runtime.llama.context import Cancelled, Context
from exaone4_gguf.runtime.llama.interrupts import Flag
from exaone4_gguf.runtime.llama.model import Model
from tests.rounding import divergence, most_by_rounding
from tests.runtime.generate.drafting.guessing import Eager

PROMPT = [300 + i * 7 % 350 for i in range(80)]
TEXT = [300 + i * i % 371 for i in range(200)]
"""What is said after it, more than the windowed cache holds."""


@pytest.fixture(scope="module", params=["full", "hybrid"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    folder = request.getfixturevalue(request.param)
    model = Model(convert(folder, tmp_path_factory.mktemp("lookahead") / "a.gguf", "F32").paths[0])
    yield model
    model.close()


def context_of(model: Model, swa_full: bool = True) -> Context:
    context = Context(model, n_ctx=512, n_threads=1, n_batch=64, swa_full=swa_full)
    context.evaluate(PROMPT)
    return context


def said(ahead: Lookahead) -> list[np.ndarray]:
    """The logits after each token of the text."""
    found = []
    for i, token in enumerate(TEXT):
        ahead.append(token, len(TEXT) - i - 1)
        found.append(ahead.logits.copy())
    return found


@pytest.fixture(scope="module")
def most(model: Model) -> float:
    return most_by_rounding(model)


@pytest.fixture(scope="module")
def plain(model: Model) -> list[np.ndarray]:
    context = context_of(model)
    found = said(Lookahead(context))
    context.close()
    return found


@pytest.mark.parametrize("swa_full", [True, False])
@pytest.mark.parametrize("wrong", [0.0, 0.1, 0.5, 1.0])
def test_logits_are_those_of_a_plain_evaluation(
    wrong: float, swa_full: bool, model: Model, most: float, plain: list[np.ndarray]
) -> None:
    context = context_of(model, swa_full=swa_full)
    prophet = Prophet([*PROMPT, *TEXT], wrong)
    ahead = Lookahead(context, [prophet], pace=Eager(16))
    for mine, its in zip(said(ahead), plain, strict=True):
        assert divergence(its, mine) <= most
    assert ahead.n_tokens == len(PROMPT) + len(TEXT)
    assert context.tokens[: ahead.n_tokens] == [*PROMPT, *TEXT]
    gain = ahead.gain
    assert gain.appended == len(TEXT)
    assert gain.drafted > 0
    if wrong == 0.0:
        assert gain.accepted == gain.drafted
        assert len(TEXT) - gain.accepted <= 15  # evaluations: of seventeen tokens, but for the last ones
    if wrong == 1.0:
        assert gain.accepted == 0
    context.close()


def test_the_next_prompt_forgets_what_was_guessed_in_vain(model: Model, most: float) -> None:
    context = context_of(model)
    ahead = Lookahead(context, [Prophet([*PROMPT, *TEXT], 0.0)], pace=Eager(8))
    ahead.append(TEXT[0])
    assert len(context.tokens) == len(PROMPT) + 9
    following = [*PROMPT, TEXT[0], 5, 6]
    assert context.evaluate(following) == len(PROMPT) + 1
    fresh = Context(model, n_ctx=512, n_threads=1)
    fresh.evaluate(following)
    assert divergence(fresh.logits, context.logits) <= most
    fresh.close()
    context.close()


@pytest.mark.parametrize("room", [0, 1, 2, 5])
def test_no_more_is_guessed_than_may_come(room: int, model: Model) -> None:
    """The last token that may come needs no evaluation after it."""
    context = context_of(model)
    ahead = Lookahead(context, [Prophet([*PROMPT, *TEXT], 0.0)], pace=Eager(48))
    ahead.append(TEXT[0], room)
    assert ahead.gain.drafted == max(0, {5: 4}.get(room, room - 1))
    context.close()


def test_the_context_is_filled_to_its_end_and_no_further(model: Model) -> None:
    context = Context(model, n_ctx=256, n_threads=1)
    text = [300 + i % 300 for i in range(256)]
    context.evaluate(text[:200])
    ahead = Lookahead(context, [Prophet(text + text, 0.0)], pace=Eager(48))
    for token in text[200:]:
        assert ahead.room > 0
        ahead.append(token)
    assert (ahead.room, len(context.tokens)) == (0, 256)
    context.close()


def test_the_first_drafter_with_an_idea_guesses(model: Model) -> None:
    context = context_of(model)
    silent, prophet = Prophet([], 0.0), Prophet([*PROMPT, *TEXT], 0.0)
    ahead = Lookahead(context, [PromptLookup(), silent, prophet], pace=Eager(4))
    ahead.append(TEXT[0])
    assert ahead.gain.drafted == 4
    context.close()


def test_a_guess_that_is_not_evaluated_still_counts(model: Model) -> None:
    """So that guessing begins again where the text becomes easy."""

    class Reluctant(Pace):
        seen: list[bool]

        def size(self, kind: str, room: int, *, is_free: bool) -> int:
            return 0

        def proved(self, kind: str, right: bool) -> None:
            self.seen.append(right)

    context, pace = context_of(model), Reluctant()
    pace.seen = []
    ahead = Lookahead(context, [Prophet([*PROMPT, *TEXT], 0.3, seed=1)], pace=pace)
    said(ahead)
    assert ahead.gain.drafted == 0
    assert len(pace.seen) > 0.9 * len(TEXT)
    assert 0.5 < sum(pace.seen) / len(pace.seen) < 0.9
    assert ahead.gain.speedup(1.0) is None
    context.close()


def test_a_cancelled_evaluation_leaves_what_was_chosen(model: Model) -> None:
    context = context_of(model)
    ahead = Lookahead(context, [Prophet([*PROMPT, *TEXT], 0.0)], pace=Eager(4))
    ahead.append(TEXT[0])
    for token in TEXT[1:5]:
        ahead.append(token)
    cancelled = Flag()
    cancelled.set()
    with pytest.raises(Cancelled), context.cancelled_by(cancelled):
        ahead.append(TEXT[5])
    assert context.tokens == [*PROMPT, *TEXT][: len(context.tokens)]
    assert context.evaluate([*PROMPT, *TEXT[:3]]) > 0
    context.close()


def test_what_it_brought_is_measured_against_single_tokens() -> None:
    """Ten tokens in a second and a half, of which two were evaluated alone in half a second each: five seconds."""
    from exaone4_gguf.runtime.generate.drafting.lookahead import Gain

    gain = Gain(drafted=8, accepted=8, appended=10, seconds=1.5, alone=2, seconds_alone=1.0)
    assert gain.speedup(1.5) == pytest.approx(5.0 / 1.5)
    assert gain.speedup(2.0) == pytest.approx(5.5 / 2.0)  # half a second went into sampling, in either case
