"""Whatever the history, the logits are those of a fresh evaluation."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.errors import RuntimeFailure
from exaone4_gguf.runtime.llama.context import Cancelled, Context
from exaone4_gguf.runtime.llama.interrupts import Flag
from exaone4_gguf.runtime.llama.model import Model
from tests import llama
from tests.checkpoints import hybrid_config, write_checkpoint
from tests.rounding import divergence, most_by_rounding

MOST = 700


@pytest.fixture(scope="module", params=["full", "hybrid"])
def model(request: pytest.FixtureRequest, full_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    path = full_gguf
    if request.param == "hybrid":
        folder = tmp_path_factory.mktemp("hybrid")
        path = convert(write_checkpoint(folder / "model", hybrid_config()), folder / "a.gguf").paths[0]
    model = Model(path)
    yield model
    model.close()


@pytest.fixture(scope="module")
def most(model: Model) -> float:
    return most_by_rounding(model)


@pytest.mark.parametrize("swa_full", [True, False])
def test_logits_after_any_history_are_those_of_a_fresh_evaluation(swa_full: bool, model: Model, most: float) -> None:
    """Conversations that go on, back and elsewhere, longer than the windowed cache (256 cells, window 32)."""
    dice = np.random.default_rng(3)
    used = Context(model, n_ctx=1024, n_threads=2, n_batch=16, swa_full=swa_full)
    prompt: list[int] = []
    for _ in range(25):
        back = int(dice.integers(0, len(prompt) + 1)) if dice.random() < 0.6 else len(prompt)
        prompt = (prompt[:back] + dice.integers(300, 680, int(dice.integers(1, 120))).tolist())[:MOST]
        used.evaluate(prompt)
        fresh = Context(model, n_ctx=1024, n_threads=2, n_batch=16, swa_full=swa_full)
        fresh.evaluate(prompt)
        assert used.tokens == prompt
        assert divergence(fresh.logits, used.logits) <= most
        fresh.close()
    used.close()


def test_a_window_is_evaluated_anew_only_where_its_cells_are_gone(model: Model) -> None:
    """Going back far in a windowed cache starts again; in a whole one, and without windows, it does not."""
    prompt = [300 + i % 300 for i in range(MOST)]
    kept = {}
    for swa_full in (True, False):
        context = Context(model, n_ctx=1024, n_threads=2, n_batch=16, swa_full=swa_full)
        context.evaluate(prompt)
        kept[swa_full] = context.evaluate([*prompt[:100], 5, 6])
        context.close()
    hybrid = model.metadata["exaone4.block_count"] == "64"
    assert kept == {True: 100, False: 0 if hybrid else 100}


def test_logits_are_those_of_llama_cpp_python(full_gguf: Path) -> None:
    model = Model(full_gguf)
    context = Context(model, n_ctx=256, n_threads=2)
    tokens = list(range(300, 360))
    assert context.evaluate(tokens) == 0
    assert divergence(llama.logits(full_gguf, tokens)[-1], context.logits) <= most_by_rounding(model)
    assert context.evaluate(tokens) == len(tokens) - 1
    context.close()
    model.close()


def test_a_prompt_can_be_cancelled_and_the_context_stays_usable(model: Model, most: float) -> None:
    context = Context(model, n_ctx=1024, n_threads=2, n_batch=16)
    prompt = list(range(300, 500))

    def stop(done: int) -> None:
        if done >= 48:
            thread = threading.Thread(target=cancelled.set)
            thread.start()
            thread.join()

    cancelled = Flag()
    with pytest.raises(Cancelled), context.cancelled_by(cancelled):
        context.evaluate(prompt, stop)
    assert context.tokens == prompt[: len(context.tokens)]
    assert len(context.tokens) < len(prompt)
    context.evaluate(prompt)
    fresh = Context(model, n_ctx=1024, n_threads=2, n_batch=16)
    fresh.evaluate(prompt)
    assert divergence(fresh.logits, context.logits) <= most
    fresh.close()
    context.close()


def test_more_tokens_than_the_context_holds_fail_and_leave_it_usable(model: Model) -> None:
    context = Context(model, n_ctx=256, n_threads=2, n_batch=16)
    with pytest.raises(RuntimeFailure, match="cannot evaluate"):
        context.evaluate([300] * 600)
    context.evaluate([300, 301])
    assert context.tokens == [300, 301]
    context.close()
