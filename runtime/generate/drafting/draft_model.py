"""Guesses of a smaller model with the same vocabulary: EXAONE 4.0 1.2B for the 32B."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from exaone4_gguf.errors import GGUFError
from exaone4_gguf.runtime.generate.drafting.draft import Draft
from exaone4_gguf.runtime.llama.context import Context
from exaone4_gguf.runtime.llama.model import Model, why_silent

if TYPE_CHECKING:
    from exaone4_gguf.runtime.generate.drafting.draft import Tokens

UNSURE = 0.5
"""A guess is left out, and those after it, where the smaller model itself gives it less than this probability."""
_KIND = "model"


def load_draft_model(path: str | Path, model: Model, *, n_gpu_layers: int) -> Model:
    """The smaller model, which must have the vocabulary of ``model``, token by token.

    Raises:
        GGUFError: it cannot be loaded, makes no text, or has another vocabulary.
    """
    draft = Model(path, n_gpu_layers=n_gpu_layers)
    try:
        why = why_silent(draft)
        if why:
            raise GGUFError(f"{why}; it cannot draft")
        _check_vocabulary(draft, model)
    except GGUFError:
        draft.close()
        raise
    return draft


def _check_vocabulary(draft: Model, model: Model) -> None:
    refusal = f"{draft.path}: it cannot draft for {model.path.name}"
    if draft.n_vocab != model.n_vocab:
        raise GGUFError(f"{refusal}: {draft.n_vocab} tokens, and there {model.n_vocab}")
    for token, (mine, its) in enumerate(zip(draft.token_texts, model.token_texts, strict=True)):
        if mine != its:
            raise GGUFError(f"{refusal}: token {token} is {_shown(mine)}, and there {_shown(its)}")


def _shown(text: bytes) -> str:
    return repr(text.decode("utf-8", errors="replace"))


class DraftModel:
    """Guesses greedily, as long as it is sure. It has a context of its own, and as many threads as the other.

    Args:
        beside: the context that it guesses for; what cancels that one cancels this one.

    Raises:
        RuntimeFailure: llama.cpp cannot make its context.
    """

    is_free = False

    def __init__(self, model: Model, beside: Context, *, flash_attn: bool) -> None:
        self._model = model
        self._context = Context(
            model,
            n_ctx=min(beside.n_ctx, model.context_length),
            n_threads=beside.n_threads,
            flash_attn=flash_attn,
            beside=beside,
        )

    def draft(self, history: Tokens) -> Draft | None:
        """What it would say; None where the text is longer than its context.

        Raises:
            Cancelled: while it read what it has not read yet.
        """
        if len(history) > self._context.n_ctx:
            return None
        self._context.evaluate(history.tolist())
        return Draft(_KIND, self._take)

    def close(self) -> None:
        """Free its cache."""
        self._context.close()

    def _take(self, most: int) -> list[int]:
        guesses: list[int] = []
        token = self._likeliest()
        while token is not None:
            guesses.append(token)
            if len(guesses) == most or len(self._context.tokens) == self._context.n_ctx:
                break
            self._context.append([token])
            token = self._likeliest()
        return guesses

    def _likeliest(self) -> int | None:
        """The likeliest token; None where that is unsure, or the end of the turn, after which nothing is evaluated."""
        import numpy as np

        logits = self._context.logits
        token = int(logits.argmax())
        # The probability of the likeliest is one over the sum of all the others' ratios to it.
        sure = 1 / float(np.exp(logits - logits[token]).sum()) >= UNSURE
        if sure and token not in self._model.end_tokens:
            return token
        return None
