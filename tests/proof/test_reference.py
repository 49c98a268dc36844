"""The streamed reference is transformers' model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.format.file import read_gguf
from exaone4_gguf.proof import reference
from exaone4_gguf.proof.reading.checkpoint import read_checkpoint
from exaone4_gguf.proof.reading.names import by_transformers_names
from exaone4_gguf.proof.reference import Hook, Reference, Weights, attended
from tests.checkpoints import random_tensors, write_checkpoint
from tests.test_faithful import MODELS, reference_logits


def some_tokens(n: int, low: int = 300, high: int = 704) -> list[int]:
    return [int(i) for i in np.random.default_rng(1).integers(low, high, n)]


def of_checkpoint(folder: Path, hook: Hook = lambda name, x: x) -> Reference:
    checkpoint = read_checkpoint(folder)
    return Reference(checkpoint.config, Weights(checkpoint.tensors), hook)


def streamed_logits(folder: Path, tokens: list[int]) -> torch.Tensor:
    model = of_checkpoint(folder)
    return model.logits(model.hidden_states(torch.tensor([tokens])))[0]


@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_transformers(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On more tokens than the window has, in slabs and blocks of queries that are cut."""
    monkeypatch.setattr(reference, "QUERIES", 48)
    monkeypatch.setattr(reference, "SLAB_WEIGHTS", 5000)
    config = {key: value for key, value in MODELS[name].items() if value is not None or key == "sliding_window"}
    folder = write_checkpoint(tmp_path / "model", config, random_tensors(config, "F32"))
    tokens = some_tokens(160)
    expected = torch.from_numpy(reference_logits(folder, tokens))
    assert (streamed_logits(folder, tokens) - expected).abs().max() <= 1e-4


@pytest.mark.parametrize("window", [None, 1, 7, 100])
def test_blocks_of_queries_change_nothing(window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = (torch.randn((2, heads, 50, 8), generator=torch.manual_seed(heads)) for heads in (4, 2, 2))
    whole = attended(q, k, v, window)
    monkeypatch.setattr(reference, "QUERIES", 16)
    torch.testing.assert_close(attended(q, k, v, window), whole)


def test_a_window_of_one_sees_the_token_itself() -> None:
    v = torch.randn((1, 2, 9, 8))
    torch.testing.assert_close(attended(v, v, v, 1), v)


def test_a_gguf_gives_its_own_weights(full: Path, full_gguf: Path, tmp_path: Path) -> None:
    """The lossless file those of the checkpoint, a quantized one others, both through one interface."""
    quantized = convert(full, tmp_path / "q.gguf", "Q4_0").paths[0]
    config, tokens = read_checkpoint(full).config, torch.tensor([some_tokens(20)])
    files = [by_transformers_names(read_gguf(path).tensors.values(), 4) for path in (full_gguf, quantized)]
    models = [Reference(config, Weights(tensors)) for tensors in files]
    lossless, other = (model.logits(model.hidden_states(tokens))[0] for model in models)
    expected = streamed_logits(full, tokens[0].tolist())
    assert torch.equal(lossless, expected)
    assert 0.01 < (other - expected).std() / expected.std() < 0.5


def test_the_hook_sees_each_linear_layer_once(full: Path) -> None:
    """And what it returns is what is multiplied."""
    seen: list[str] = []

    def nothing(name: str, x: torch.Tensor) -> torch.Tensor:
        seen.append(name)
        return x * 0 if name == "model.layers.3.mlp.down_proj.weight" else x

    tokens, tensors = torch.tensor([[5, 6, 7]]), read_checkpoint(full).tensors
    hidden = of_checkpoint(full, nothing).hidden_states(tokens)
    assert sorted(seen) == sorted(name for name, t in tensors.items() if len(t.shape) == 2 and ".layers." in name)
    assert not torch.allclose(hidden, of_checkpoint(full).hidden_states(tokens))


def test_sequences_do_not_see_each_other(hybrid: Path) -> None:
    model = of_checkpoint(hybrid)
    a, b = some_tokens(40), some_tokens(40)[::-1]
    both = model.hidden_states(torch.tensor([a, b]))
    torch.testing.assert_close(both[1:], model.hidden_states(torch.tensor([b])), atol=1e-5, rtol=1e-4)
