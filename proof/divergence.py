"""How far two models' predictions are apart, collected over the tokens of a text."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Divergence:
    """Figures of a comparison; the Kullback-Leibler divergences are in nats.

    ``relative_error`` is that of the logits (each token's about their mean), where 1 means unrelated.
    """

    tokens: int
    mean_kl: float
    kl_99: float
    max_kl: float
    same_top: float
    relative_error: float
    perplexity: float
    reference_perplexity: float
    kl: list[float]
    """By token."""


@dataclass
class Comparison:
    """Logits of a reference and of a model, taken in token by token."""

    kl: list[float] = field(default_factory=list)
    _same: list[float] = field(default_factory=list)
    _error: list[float] = field(default_factory=list)
    _surprise: list[float] = field(default_factory=list)
    _expected_surprise: list[float] = field(default_factory=list)

    def add(self, reference: Tensor, model: Tensor, following: Tensor) -> None:
        """Some tokens more: logits of shape (tokens, vocabulary), and the tokens that follow in the text.

        After the last token of the text nothing follows: ``following`` may be one shorter.
        """
        p, q = reference.double().log_softmax(-1), model.double().log_softmax(-1)
        self.kl += (p.exp() * (p - q)).sum(-1).clamp_min(0).tolist()
        self._same += (reference.argmax(-1) == model.argmax(-1)).double().tolist()
        centred = reference - reference.mean(-1, keepdim=True)
        difference = model - model.mean(-1, keepdim=True) - centred
        self._error += (difference.norm(dim=-1) / centred.norm(dim=-1).clamp_min(1e-30)).tolist()
        index = torch.arange(len(following))
        self._surprise += (-q[index, following]).tolist()
        self._expected_surprise += (-p[index, following]).tolist()

    def figures(self) -> Divergence:
        """Over all tokens so far."""
        kl = torch.tensor(self.kl, dtype=torch.float64)
        return Divergence(
            tokens=len(self.kl),
            mean_kl=float(kl.mean()),
            kl_99=float(kl.quantile(0.99)),
            max_kl=float(kl.max()),
            same_top=_mean(self._same),
            relative_error=_mean(self._error),
            perplexity=_perplexity(self._surprise),
            reference_perplexity=_perplexity(self._expected_surprise),
            kl=self.kl,
        )


def _mean(values: list[float]) -> float:
    return sum(values) / max(1, len(values))


def _perplexity(surprises: list[float]) -> float:
    return float(torch.tensor(_mean(surprises), dtype=torch.float64).exp())
