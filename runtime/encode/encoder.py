"""``Encoder``: hidden states as embeddings, and what a classifier's head makes of them."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Self, TypedDict, TypeVar, Unpack

from exaone4_gguf.errors import RequestError, RuntimeFailure, TextTooLong
from exaone4_gguf.format.keys import QUESTION, SEQUENCE, TOKEN
from exaone4_gguf.runtime.encode.head import Head, check_head, find_head
from exaone4_gguf.runtime.encode.pooling import chosen_pooling
from exaone4_gguf.runtime.encode.spans import Answer, Tagged, TokenLabel, best_span, merged, trimmed
from exaone4_gguf.runtime.encode.texts import (
    Encoded,
    Text,
    TextWindow,
    checked_length,
    checked_texts,
    cut,
    encode,
    offsets,
    windows,
)
from exaone4_gguf.runtime.llama.context import default_context
from exaone4_gguf.runtime.llama.hidden_states import HiddenStates
from exaone4_gguf.runtime.llama.interrupts import checkpoint, untorn
from exaone4_gguf.runtime.llama.machine import physical_cores
from exaone4_gguf.runtime.llama.model import Loaded, Model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

P = ParamSpec("P")
R = TypeVar("R")


class EncodeOptions(TypedDict, total=False):
    """How texts are read.

    ``stride``: judge a text that is too long in windows that share this many tokens; without it, it is refused.
    ``max_length``: the most tokens in a window; by default the context. ``control``: what reads like a control token is
    one, as in transformers; by default it is text. ``progress``: called with the number of tokens just evaluated.
    """

    stride: int | None
    max_length: int | None
    control: bool
    progress: Callable[[int], None] | None


@dataclass(frozen=True)
class Classified:
    """The best label and its probability, and those of all labels in the head's order.

    Of a regression the score is the value itself.
    """

    label: str
    score: float
    scores: tuple[tuple[str, float], ...]

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        scores = [{"label": label, "score": score} for label, score in self.scores]
        return {"label": self.label, "score": self.score, "scores": scores}


def _one_at_a_time(
    method: Callable[Concatenate[Encoder, P], R],
) -> Callable[Concatenate[Encoder, P], R]:
    """The method, waiting for its turn; the model must be open, and cannot be closed meanwhile."""

    @functools.wraps(method)
    def waiting(self: Encoder, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._turn:
            if not self._free.alive:
                raise RuntimeFailure("the model is closed")
            return method(self, *args, **kwargs)

    return waiting


class Encoder(Loaded):
    """An EXAONE 4 model that reads texts: for embeddings, and with a head for labels, entities, answers.

    Several texts are evaluated at once, without padding; results do not depend on which. One call runs at a time,
    others wait.

    Args:
        path: the GGUF file, or a loaded model, which then is not closed with it.
        n_ctx: the most tokens of a text; by default what fits memory, up to the trained length. The cache is only as
            large as the texts that come.
        n_threads: by default the physical cores.
        n_batch: the most tokens evaluated at once.
        head: the head's file; by default that beside the base.

    Raises:
        GGUFError: not a file that llama.cpp runs right, or a head that is not its own.
        RuntimeFailure: llama.cpp cannot load it.
    """

    @untorn()
    def __init__(
        self,
        path: str | Path | Model,
        *,
        n_ctx: int | None = None,
        n_threads: int | None = None,
        n_gpu_layers: int = -1,
        n_batch: int = 512,
        flash_attn: bool = True,
        use_mmap: bool = True,
        head: str | Path | None = None,
    ) -> None:
        own = None
        if isinstance(path, Model):
            self.model = path
        else:
            self.model = own = Model(path, n_gpu_layers=n_gpu_layers, use_mmap=use_mmap)
        try:
            self.head = find_head(self.model, head)
            self._hidden = HiddenStates(
                self.model,
                n_ctx=n_ctx or default_context(self.model),
                n_threads=n_threads or physical_cores(),
                n_batch=n_batch,
                flash_attn=flash_attn,
            )
            checkpoint()
        except BaseException:
            if own:
                own.close()
            raise
        self._turn = threading.RLock()
        self._free = weakref.finalize(self, _free, self._hidden, own)

    def __repr__(self) -> str:
        size = "closed"
        if self._free.alive:
            size = f"texts of up to {self.n_ctx:,} tokens"
        return f"<{type(self).__name__} {str(self.model.path)!r}: {size}>"

    def close(self) -> None:
        """Free the cache, and the model if it is the encoder's own. It cannot be used afterwards."""
        with self._turn:
            self._free()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def n_ctx(self) -> int:
        """The most tokens that are evaluated together."""
        return self._hidden.n_ctx

    @_one_at_a_time
    def count_tokens(self, texts: Iterable[Text], *, control: bool = False) -> int:
        """How many tokens the texts have together."""
        return sum(len(encode(self.model, text, control=control).ids) for text in checked_texts(texts, pairs=True))

    def check(self, texts: Iterable[Text], task: str | None = None, **options: Unpack[EncodeOptions]) -> int:
        """How many tokens the texts have together; raises what evaluating them would, and does not wait for a turn.

        Args:
            task: a head's, see ``head.TASKS``; None for embeddings.
        """
        if not self._free.alive:
            raise RuntimeFailure("the model is closed")
        if task == QUESTION:
            encoded = self._encoded(_checked_pairs(texts), options)
            self._question_windows(encoded, options)
        else:
            encoded = self._encoded(checked_texts(texts, pairs=task == SEQUENCE), options)
            self._windows(encoded, options)
        return sum(len(text.ids) for text in encoded)

    @_one_at_a_time
    def embed(
        self,
        texts: Iterable[str],
        *,
        pooling: str | None = None,
        normalize: bool = True,
        **options: Unpack[EncodeOptions],
    ) -> Floats:
        """A vector for each text, of shape (texts, width).

        Args:
            pooling: the ``mean`` of all its tokens' hidden states, that of the first (``cls``), or of the ``last``; by
                default what the file asks for, else the mean. In windows, each token counts once.
            normalize: to a length of 1.

        Raises:
            RequestError: a text is empty or too long, or an option has a wrong value.
        """
        import numpy as np

        pooling = chosen_pooling(pooling, self.model.metadata)
        listed = checked_texts(texts)
        sums = np.zeros((len(listed), self.model.n_embd), np.float64)
        counts = np.zeros((len(listed), 1))
        windows = self._windows(self._encoded(listed, options), options)
        for window, first, states in self._states(windows, options):
            pooled = _pooled(pooling, window, first, states)
            if pooling == "last":
                sums[window.text] = counts[window.text] = 0
            sums[window.text] += pooled.sum(axis=0, dtype=np.float64)
            counts[window.text] += len(pooled)
        vectors = sums / np.maximum(counts, 1)
        if normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return vectors.astype(np.float32)

    @_one_at_a_time
    def classify(self, texts: Iterable[Text], **options: Unpack[EncodeOptions]) -> list[Classified]:
        """The label of each text, or pair of texts. In windows, the mean of their logits decides.

        Raises:
            GGUFError: the model has no head.
            RequestError: its head is for another task, or a text or an option is not right.
        """
        import numpy as np

        head = check_head(self.head, self.model, SEQUENCE)
        listed = checked_texts(texts, pairs=True)
        logits = np.zeros((len(listed), len(head.labels)), np.float32)
        counts = np.zeros((len(listed), 1), np.float32)
        windows = self._windows(self._encoded(listed, options), options)
        for window, first, states in self._states(windows, options):
            at = head.pooled(window.ids) - first
            if 0 <= at < len(states):
                logits[window.text] += head.logits(states[at : at + 1])[0]
                counts[window.text] += 1
        if not listed:
            return []
        return [_classified(head, row) for row in head.scores(logits / counts)]

    def tag(self, text: str, **options: Unpack[EncodeOptions]) -> Tagged:
        """A label for each token of a text, and the entities that they make.

        Raises:
            As ``classify``.
        """
        return self.tag_all([text], **options)[0]

    @_one_at_a_time
    def tag_all(self, texts: Iterable[str], **options: Unpack[EncodeOptions]) -> list[Tagged]:
        """As ``tag``, for several texts. In windows, the first that has a token labels it: it knows most before it."""
        head = check_head(self.head, self.model, TOKEN)
        listed = checked_texts(texts)
        encoded = self._encoded(listed, options)
        found: list[list[tuple[str, float]]] = [[] for _ in listed]
        for window, first, states in self._states(self._windows(encoded, options), options):
            scores = head.scores(head.logits(states[max(0, window.fresh - first) :]))
            found[window.text] += [(head.labels[row.argmax()], float(row.max())) for row in scores]
        tagged = []
        for text, ids, labels in zip(map(str, listed), encoded, found, strict=True):
            places = offsets(self.model, text, ids.ids)
            tokens = tuple(TokenLabel(*label, *place) for label, place in zip(labels, places, strict=True))
            tagged.append(Tagged(tokens, merged(text, tokens)))
        return tagged

    def answer(
        self, question: str, context: str, *, max_answer_tokens: int = 15, **options: Unpack[EncodeOptions]
    ) -> Answer:
        """The part of the context that answers the question, of at most ``max_answer_tokens`` tokens.

        Raises:
            As ``classify``.
        """
        return self.answer_all([(question, context)], max_answer_tokens=max_answer_tokens, **options)[0]

    @_one_at_a_time
    def answer_all(
        self,
        pairs: Iterable[tuple[str, str]],
        *,
        max_answer_tokens: int = 15,
        **options: Unpack[EncodeOptions],
    ) -> list[Answer]:
        """As ``answer``, for several pairs. Windows begin with the question each; the best span of all counts."""
        import numpy as np

        head = check_head(self.head, self.model, QUESTION)
        if not isinstance(max_answer_tokens, int) or max_answer_tokens < 1:
            raise RequestError(
                f"max_answer_tokens is {max_answer_tokens!r}",
                field="max_answer_tokens",
                hint="it must be at least 1",
            )
        listed = _checked_pairs(pairs)
        encoded = self._encoded(listed, options)
        found = self._question_windows(encoded, options)
        logits = [np.zeros((len(window.ids), 2), np.float32) for window in found]
        number = {id(window): i for i, window in enumerate(found)}
        for window, first, states in self._states(found, options):
            logits[number[id(window)]][first : first + len(states)] = head.logits(states)
        best = [(-1.0, 0, 0)] * len(listed)
        for window, rows in zip(found, logits, strict=True):
            second = encoded[window.text].second
            first, last, score = best_span(rows[second:, 0], rows[second:, 1], max_answer_tokens)
            best[window.text] = max(best[window.text], (score, window.first + first, window.first + last))
        return [self._answer(context, e, *span) for (_, context), e, span in zip(listed, encoded, best, strict=True)]

    def _answer(self, context: str, encoded: Encoded, score: float, first: int, last: int) -> Answer:
        places = offsets(self.model, context, encoded.ids[encoded.second :])
        start, end = trimmed(context, places[first][0], places[last][1])
        return Answer(context[start:end], start, end, score)

    def _question_windows(self, encoded: Sequence[Encoded], options: EncodeOptions) -> list[TextWindow]:
        """Windows of pairs: the question, and some of the context, from its token ``first`` on."""
        stride = options.get("stride")
        found: list[TextWindow] = []
        for i, pair in enumerate(encoded):
            most = checked_length(self.n_ctx, options.get("max_length"), stride)
            question, context = pair.ids[: pair.second], pair.ids[pair.second :]
            if not question:
                raise RequestError(f"text {i + 1}: the question is empty")
            if not context:
                raise RequestError(f"text {i + 1}: the context is empty")
            shared = 0
            if len(pair.ids) > most:
                if stride is None:
                    raise TextTooLong(f"text {i + 1}", len(pair.ids), most)
                shared = stride
            room = most - len(question)
            if room <= shared:
                raise RequestError(
                    f"text {i + 1}: its question has {len(question)} tokens, which leaves no room "
                    f"for windows of {most} that share {shared}"
                )
            windows = cut(i, context, room, shared)
            found += [replace(window, ids=(*question, *window.ids)) for window in windows]
        return found

    def _encoded(self, texts: Sequence[Text], options: EncodeOptions) -> list[Encoded]:
        unknown = options.keys() - EncodeOptions.__annotations__.keys()
        if unknown:
            raise RequestError(
                f"there is no option {min(unknown)}; there are {', '.join(EncodeOptions.__annotations__)}"
            )
        return [encode(self.model, text, control=bool(options.get("control"))) for text in texts]

    def _windows(self, encoded: Sequence[Encoded], options: EncodeOptions) -> list[TextWindow]:
        return windows(self.n_ctx, encoded, length=options.get("max_length"), stride=options.get("stride"))

    def _states(self, cut: Sequence[TextWindow], options: EncodeOptions) -> Iterator[tuple[TextWindow, int, Floats]]:
        """Hidden states of windows, in pieces: the window, the first of its tokens in the piece, their states."""
        progress = options.get("progress")
        with closing(self._hidden.run([window.ids for window in cut])) as pieces:
            for rows in pieces:
                if progress:
                    progress(len(rows.states))
                yield cut[rows.index], rows.first, rows.states


@untorn()
def _free(hidden: HiddenStates, model: Model | None) -> None:
    """Also when the last reference goes, so that a forgotten ``close`` leaks nothing."""
    hidden.close()
    if model:
        model.close()


def _pooled(pooling: str, window: TextWindow, first: int, states: Floats) -> Floats:
    """Those of a window's states, from its token ``first`` on, that a text's vector is made of."""
    if pooling == "mean":
        return states[max(0, window.fresh - first) :]
    if pooling == "last":
        return states[-1:]
    return states[: int(window.first == first == 0)]


def _checked_pairs(pairs: Any) -> list[tuple[str, str]]:
    listed = checked_texts(pairs, pairs=True)
    for i, pair in enumerate(listed):
        if isinstance(pair, str):
            raise RequestError(f"text {i + 1} is {pair[:40]!r}; it must be a pair: a question and its context")
    return [pair for pair in listed if not isinstance(pair, str)]


def _classified(head: Head, scores: Floats) -> Classified:
    best = int(scores.argmax())
    pairs = tuple((label, float(score)) for label, score in zip(head.labels, scores, strict=True))
    return Classified(head.labels[best], float(scores[best]), pairs)
