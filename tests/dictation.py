"""The bundled model, made to write what it is told: everything but the choice of its tokens is real."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from exaone4_gguf.runtime import exaone4 as chat
from exaone4_gguf.runtime.generate.sampling import Sampler, Sampling
from exaone4_gguf.runtime.llama.model import Model

if TYPE_CHECKING:
    from exaone4_gguf.runtime.llama.context import Logits


@contextmanager
def dictating(*texts: str) -> Iterator[None]:
    """While this lasts, answers are these texts, one after the other, until the last one is said again and again."""
    left = deque(texts)

    class Dictated(Sampler):
        """Chooses the tokens of the next text, then the end of the turn; a ban or a grammar it heeds."""

        def __init__(self, model: Model, sampling: Sampling) -> None:
            super().__init__(model, sampling)
            text = left.popleft() if len(left) > 1 else left[0]
            self._dictated = deque([*model.tokenize(text), min(model.end_tokens)])

        def _choose(self, logits: Logits) -> int:
            token = self._dictated.popleft() if self._dictated else min(self._model.end_tokens)
            return token if logits[token] > float("-inf") else super()._choose(logits)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chat, "Sampler", Dictated)
        yield
