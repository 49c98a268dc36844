"""How far two right evaluations are from each other on this processor: measured, never a figure that is fixed.

Kernels for one token and for many add in other orders, and round to other types, as the processor's instructions have
it: a hybrid of 64 layers in BF16 differs by 1.7e-4 with AVX-512's, where a cache that is wrong gives 0.07.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import numpy.typing as npt

from exaone4_gguf.runtime.llama.context import Context
from exaone4_gguf.runtime.llama.model import Model

Floats = npt.NDArray[np.float32]

TIMES = 10.0
"""How many times the largest divergence that was measured a right evaluation may have: others were not measured."""

_STEPS = (1, 5, 16, 64)
"""Tokens evaluated at once."""
_TOKENS = 200
_UNLIKELY = -10.0


def divergence(a: Floats, b: Floats) -> float:
    """Kullback and Leibler's, of two rows of logits."""
    p, q = (np.exp(x - x.max()) / np.exp(x - x.max()).sum() for x in (a.astype(float), b.astype(float)))
    return float((p * np.log(p / q)).sum())


def most_by_rounding(model: Model) -> float:
    """The largest divergence of logits that rounding explains."""
    measured = max(divergence(a, b) for a, b in _pairs(model))
    return TIMES * max(measured, float(np.finfo(np.float32).eps))


def most_of_a_logprob(model: Model) -> float:
    """The largest difference of a token's log probability that rounding explains, where it can be chosen at all."""
    pairs = ((_logprobs(a), _logprobs(b)) for a, b in _pairs(model))
    return TIMES * max(float(np.abs(a - b)[a > _UNLIKELY].max()) for a, b in pairs)


def _logprobs(logits: Floats) -> Floats:
    shifted = logits - logits.max()
    logprobs: Floats = shifted - np.log(np.exp(shifted).sum())
    return logprobs


def _pairs(model: Model) -> Iterator[tuple[Floats, Floats]]:
    """The logits after each token of a text, by two right ways to evaluate it."""
    tokens = np.random.default_rng(5).integers(300, 680, _TOKENS).tolist()
    runs = [_logits(model, tokens, step) for step in _STEPS]
    for one in runs:
        for other in runs:
            yield from zip(one, other, strict=True)


def _logits(model: Model, tokens: list[int], step: int) -> list[Floats]:
    """After each token."""
    found: list[Floats] = []
    with closing(Context(model, n_ctx=256, n_threads=2, n_batch=64)) as context:
        for first in range(0, len(tokens), step):
            part = tokens[first : first + step]
            context.append(part, all_logits=True)
            found.extend(context.last_logits(len(part)).copy())
    return found
