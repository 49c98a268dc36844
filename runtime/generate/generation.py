"""The loop that makes tokens: evaluate, choose, steer, repeat."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from exaone4_gguf.errors import ContextOverflow
from exaone4_gguf.runtime.events import Token, TopLogprob
from exaone4_gguf.runtime.generate.drafting.lookahead import Lookahead
from exaone4_gguf.runtime.generate.sampling import Sampler
from exaone4_gguf.runtime.generate.steering import Steering, ThoughtTracker
from exaone4_gguf.runtime.llama.context import Cancelled, Context
from exaone4_gguf.runtime.llama.model import Model

if TYPE_CHECKING:
    from exaone4_gguf.runtime.llama.context import Logits


@dataclass(frozen=True)
class Constraint:
    """A grammar for what follows ``start``: of the whole answer, or of a call from its opening tag on."""

    grammar: str
    start: str = ""
    begins_at: Literal["answer", "call"] = "answer"


class Generation:
    """One answer, token by token. Iterate once; then ``finish_reason`` is "stop", "length" or "cancelled".

    Args:
        max_tokens: the most tokens; None for as many as the context holds.
        top_logprobs: how many alternatives each token tells; None for no logprobs (they are NaN then).
    """

    def __init__(
        self,
        model: Model,
        ahead: Lookahead,
        sampler: Sampler,
        tracker: ThoughtTracker,
        *,
        steerings: Sequence[Steering] = (),
        constraint: Constraint | None = None,
        max_tokens: int | None = None,
        top_logprobs: int | None = None,
    ) -> None:
        self._model, self._ahead, self._sampler = model, ahead, sampler
        self._tracker, self._steerings, self._constraint = tracker, steerings, constraint
        self._max_tokens = max_tokens
        self._top = top_logprobs
        self._forced: deque[int] = deque()
        self._pending_grammar: str | None = None
        self._constrained = False
        self._awaits_answer = constraint is not None and constraint.begins_at == "answer"
        self._opening = model.tokenize("<tool_call>")[-1]
        self.finish_reason = "stop"
        self.n_tokens = 0

    def __iter__(self) -> Iterator[Token]:
        """The tokens, without the one that ends the turn."""
        if self._constraint and self._awaits_answer and not self._tracker.thinking:
            self._begin(self._constraint.start)
        try:
            while self._room > 0:
                token = self._next()
                if token.id in self._model.end_tokens:
                    return
                yield token
                self._ahead.append(token.id, self._room)
        except Cancelled:
            self.finish_reason = "cancelled"
            return
        self.finish_reason = "length"

    @property
    def _steering(self) -> Sequence[Steering]:
        """A grammar must not be interfered with: llama.cpp ends the process on a token that it does not allow."""
        if self._constrained:
            return ()
        return self._steerings

    @property
    def _room(self) -> int:
        """How many tokens may still come."""
        room = self._ahead.room
        if self._max_tokens is None:
            return room
        return min(room, self._max_tokens - self.n_tokens)

    def _next(self) -> Token:
        logits = self._ahead.logits
        if self._steering:
            logits = logits.copy()
            for steering in self._steering:
                steering.adjust(logits)
        chosen = self._forced.popleft() if self._forced else self._chosen(logits)
        self._sampler.accept(chosen)
        self._after(chosen)
        self.n_tokens += 1
        return self._token(chosen, logits)

    def _chosen(self, logits: Logits) -> int:
        if self._pending_grammar is not None:
            self._sampler.use_grammar(self._pending_grammar)
            self._pending_grammar = None
        token = self._sampler.sample(logits)
        instead = self._instead(token)
        if instead is None:
            return token
        first, *rest = instead
        self._forced.extend(rest)
        return first

    def _instead(self, token: int) -> Sequence[int] | None:
        """What comes instead of the chosen token, if anything."""
        for steering in self._steering:
            instead = steering.replace(token)
            if instead is not None:
                return instead
        if self._awaits_answer and not self._constrained and self._tracker.thinking and token in self._model.end_tokens:
            return self._tracker.closing  # an answer was promised: the model may not end in its thoughts
        return None

    def _after(self, token: int) -> None:
        """What the token leads to: the end of the thoughts, forced tokens, a grammar."""
        was_thinking = self._tracker.thinking
        self._tracker.see(token)
        for steering in self._steering:
            self._forced.extend(steering.follow(token))
        if self._constraint is None or self._constrained:
            return
        if self._awaits_answer and was_thinking and not self._tracker.thinking:
            self._forced.clear()
            self._begin("\n\n" + self._constraint.start)
        elif self._constraint.begins_at == "call" and token == self._opening and not self._tracker.thinking:
            self._begin("")

    def _begin(self, start: str) -> None:
        """Write ``start``, then follow the grammar."""
        assert self._constraint is not None
        self._constrained = True
        self._forced.extend(self._model.tokenize(start))
        self._pending_grammar = self._constraint.grammar

    def _token(self, token: int, logits: Logits) -> Token:
        if self._top is None:
            return Token(token, self._model.piece(token), math.nan, is_control=self._model.is_control(token))
        import numpy as np

        logprobs = logits - np.logaddexp.reduce(logits.astype(np.float64))
        most = min(self._top, len(logprobs))
        likely = np.argpartition(logprobs, -most)[-most:].tolist() if most else []
        best = sorted(likely, key=lambda i: (-logprobs[i], i))
        top = tuple(self._likely(i, float(logprobs[i])) for i in best)
        itself = self._likely(token, float(logprobs[token]))
        return Token(itself.id, itself.piece, itself.logprob, top, is_control=itself.is_control)

    def _likely(self, token: int, logprob: float) -> TopLogprob:
        return TopLogprob(token, self._model.piece(token), logprob, is_control=self._model.is_control(token))


def check_fits(prompt: Sequence[int], context: Context) -> None:
    """A prompt must leave room for one token at least; nothing is ever cut off in silence.

    Raises:
        ContextOverflow: it does not; the message says by how much.
    """
    if len(prompt) > context.n_ctx - 1:
        raise ContextOverflow(len(prompt), context.n_ctx - 1)
