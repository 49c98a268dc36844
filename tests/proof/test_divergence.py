"""Figures of a comparison, against torch's own and by hand."""

from __future__ import annotations

import math

import pytest
import torch

from exaone4_gguf.proof.divergence import Comparison


def test_the_figures_are_torch_s() -> None:
    a, b = (torch.randn((40, 100), generator=torch.manual_seed(seed)) for seed in (0, 1))
    text = torch.arange(40)
    comparison = Comparison()
    for first in (0, 16, 32):  # the last piece has no token that follows its last
        comparison.add(a[first : first + 16], b[first : first + 16], text[first + 1 : first + 17])
    figures = comparison.figures()
    kl = torch.nn.functional.kl_div(b.log_softmax(-1), a.log_softmax(-1), reduction="none", log_target=True).sum(-1)
    assert figures.tokens == 40
    assert figures.mean_kl == pytest.approx(float(kl.mean()), rel=1e-5)
    assert figures.kl_99 == pytest.approx(float(kl.quantile(0.99)), rel=1e-5)
    assert figures.same_top == pytest.approx(float((a.argmax(-1) == b.argmax(-1)).float().mean()))
    surprise = torch.nn.functional.cross_entropy(b[:39], text[1:])
    assert figures.perplexity == pytest.approx(math.exp(surprise), rel=1e-5)
    assert 1.2 < figures.relative_error < 1.6  # of unrelated logits, the square root of 2


def test_equal_logits_differ_by_nothing_and_a_constant_is_nothing() -> None:
    a = torch.randn((5, 50), generator=torch.manual_seed(0))
    comparison = Comparison()
    comparison.add(a, a + 3, torch.arange(5))
    figures = comparison.figures()
    assert figures.mean_kl < 1e-10
    assert figures.relative_error < 1e-5
    assert figures.same_top == 1
    assert figures.perplexity == pytest.approx(figures.reference_perplexity, rel=1e-5)
