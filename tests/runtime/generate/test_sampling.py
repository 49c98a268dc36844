"""Sampling does what its values say: measured on the distribution of what is chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import pytest

from exaone4_gguf.commands.chat import chat_command
from exaone4_gguf.errors import RuntimeFailure, SamplingError
from exaone4_gguf.runtime.generate.request import ChatOptions
from exaone4_gguf.runtime.generate.sampling import PARAMETERS, PRESETS, Sampler, Sampling, preset
from exaone4_gguf.runtime.llama.api import load_api
from exaone4_gguf.runtime.llama.model import Model
from exaone4_gguf.runtime.server.bodies import ChatBody, CompletionBody

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def model(demo_gguf: Path) -> Iterator[Model]:
    model = Model(demo_gguf, vocab_only=True)
    yield model
    model.close()


def some_logits(model: Model) -> np.ndarray:
    logits = np.full(model.n_vocab, -20.0, np.float32)
    logits[:4] = np.log([0.4, 0.3, 0.2, 0.1])
    return logits


def drawn(model: Model, sampling: Sampling, n: int = 2000) -> Counter[int]:
    sampler = Sampler(model, sampling)
    found = Counter(sampler.sample(some_logits(model)) for _ in range(n))
    sampler.close()
    return found


def test_temperature_zero_is_greedy(model: Model) -> None:
    assert drawn(model, Sampling(temperature=0), 50) == {0: 50}


def test_temperature_one_draws_the_distribution(model: Model) -> None:
    found = drawn(model, Sampling(temperature=1.0, seed=1))
    for token, probability in enumerate((0.4, 0.3, 0.2, 0.1)):
        assert found[token] / 2000 == pytest.approx(probability, abs=0.05)


@pytest.mark.parametrize(
    ("values", "possible"),
    [({"top_k": 2}, {0, 1}), ({"top_p": 0.65}, {0, 1}), ({"min_p": 0.6}, {0, 1}), ({"top_k": 1}, {0})],
)
def test_what_is_cut_off_never_comes(values: dict[str, float], possible: set[int], model: Model) -> None:
    assert set(drawn(model, PRESETS["answer"].changed(temperature=1.0, seed=2, **values))) == possible


def test_a_seed_repeats_the_draw(model: Model) -> None:
    draws = []
    for seed in (7, 7, 8):
        sampler = Sampler(model, Sampling(temperature=1.0, seed=seed))
        draws.append([sampler.sample(some_logits(model)) for _ in range(50)])
        sampler.close()
    assert draws[0] == draws[1] != draws[2]


def test_penalties_count_the_whole_answer(model: Model) -> None:
    """llama.cpp's default looks at the last 64 tokens only."""
    sampler = Sampler(model, Sampling(temperature=0, presence_penalty=1.0))
    sampler.accept(0)
    for _ in range(300):
        sampler.accept(500)
    assert sampler.sample(some_logits(model)) == 1
    sampler.close()


def test_a_grammar_holds(model: Model) -> None:
    sampler = Sampler(model, Sampling(temperature=0))
    sampler.use_grammar('root ::= "b" "ca"')
    text = b""
    for _ in range(10):
        token = sampler.sample(some_logits(model))
        sampler.accept(token)
        if token in model.end_tokens:
            break
        text += model.piece(token)
    assert text == b"bca"
    sampler.close()


def test_a_wrong_grammar_is_refused(model: Model) -> None:
    sampler = Sampler(model, Sampling())
    with pytest.raises(RuntimeFailure, match="cannot use the grammar"):
        sampler.use_grammar("root ::= (")
    sampler.close()


def test_presets_are_what_lg_advises() -> None:
    assert (PRESETS["reasoning"].temperature, PRESETS["reasoning"].top_p) == (0.6, 0.95)
    assert PRESETS["answer"].temperature < 0.6
    assert PRESETS["steady"].presence_penalty == 1.5
    assert PRESETS["korean"].temperature == 0.1
    assert preset(None, reasoning=True) == PRESETS["reasoning"]
    assert preset(None, reasoning=False) == PRESETS["answer"]


@pytest.mark.parametrize("values", [{"temperature": -1}, {"top_p": 1.5}, {"top_k": -1}, {"temperature": "hot"}])
def test_a_value_out_of_range_is_named(values: dict[str, float]) -> None:
    with pytest.raises(SamplingError, match=f"{next(iter(values))} is .*; it must be a number from"):
        Sampling(**values)  # type: ignore[arg-type]


def test_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(SamplingError, match="no preset 'wild'; one of: answer, reasoning"):
        preset("wild", reasoning=False)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_in_every_place(name: str) -> None:
    """Those that are made from the table, and those written by hand: the options' types and the pages."""
    row = PARAMETERS[name]
    assert set(get_args(get_type_hints(ChatOptions)[name])) == {row.kind, type(None)}
    assert set(get_args(get_type_hints(Sampling)[name])) <= {row.kind, type(None)}
    for form in (ChatBody, CompletionBody):
        assert form.model_fields[name].annotation == row.kind | None
    (option,) = (param for param in chat_command.params if param.name == name)
    assert option.opts == [row.option or f"--{name.replace('_', '-')}"]
    for page in ("chat.md", "server.md"):
        assert f"`{name}`" in (ROOT / "docs" / page).read_text()


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_parameter_is_checked_and_known_to_llama_cpp(name: str) -> None:
    row = PARAMETERS[name]
    with pytest.raises(SamplingError, match=f"{name} is 'much'; it must be a "):
        Sampling(**{name: "much"})  # type: ignore[arg-type]
    if row.low is not None and row.high is not None:
        for value in (row.low - 1, row.high + 1):
            with pytest.raises(SamplingError, match=f"{name} is .*; it must be a number from {row.low:g}"):
                Sampling(**{name: row.kind(value)})  # type: ignore[arg-type]
    if row.sampler:
        made = getattr(load_api(), row.sampler)(row.kind(1), *row.arguments)
        assert made
        load_api().llama_sampler_free(made)


def test_boards_run_with_the_values_of_the_presets() -> None:
    script = (ROOT / "edge" / "files" / "run.sh").read_text()
    for name in ("reasoning", "answer"):
        values = PRESETS[name]
        assert f'sampling="--temp {values.temperature:g} --top-p {values.top_p:g}"' in script
    assert script.count(f"--min-p {PRESETS['answer'].min_p:g} ") == 2
