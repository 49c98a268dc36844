"""From a score for each token to spans of the text: entities, and answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

OUTSIDE = "O"
"""The label of tokens that are part of no entity."""


@dataclass(frozen=True)
class TokenLabel:
    """A token's best label, its probability, and the characters of the text that the token stands for."""

    label: str
    score: float
    start: int
    end: int


@dataclass(frozen=True)
class Span:
    """A part of a text: ``text[start:end]``. ``score`` is the mean probability of its tokens."""

    label: str
    score: float
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Tagged:
    """A label for each token, and the entities that they make."""

    tokens: tuple[TokenLabel, ...]
    spans: tuple[Span, ...]

    def to_json(self) -> dict[str, Any]:
        """The entities, in JSON's types."""
        return {"spans": [vars(span) for span in self.spans]}


@dataclass(frozen=True)
class Answer:
    """The part of the context that answers: ``context[start:end]``, with its probability."""

    text: str
    start: int
    end: int
    score: float

    def to_json(self) -> dict[str, Any]:
        """In JSON's types."""
        return {"answer": self.text, "score": self.score, "start": self.start, "end": self.end}


def merged(text: str, tokens: Sequence[TokenLabel]) -> tuple[Span, ...]:
    """Neighbours of one entity put together, those outside of all left out.

    B- begins an entity, I- and labels without either go on with one of the same name (the strategy "simple" of
    transformers' token classification pipeline); the blanks around it are not part of it.
    """
    groups = _grouped([token for token in tokens if token.end > token.start])
    return tuple(_span(text, group) for group in groups if _name(group[0].label) != OUTSIDE)


def _grouped(tokens: Sequence[TokenLabel]) -> Iterator[list[TokenLabel]]:
    group: list[TokenLabel] = []
    for token in tokens:
        goes_on = group and not token.label.startswith("B-") and _tag(token.label) == _tag(group[-1].label)
        if group and not goes_on:
            yield group
            group = []
        group.append(token)
    if group:
        yield group


def _tag(label: str) -> str:
    if label.startswith(("B-", "I-")):
        return label[2:]
    return label


def _name(label: str) -> str:
    return label.split("-", 1)[-1]


def _span(text: str, group: list[TokenLabel]) -> Span:
    start, end = trimmed(text, group[0].start, group[-1].end)
    score = sum(token.score for token in group) / len(group)
    return Span(_name(group[0].label), score, start, end, text[start:end])


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The same without the blanks at its ends; nothing but blanks stays as it is."""
    part = text[start:end]
    if not part.strip():
        return start, end
    return start + len(part) - len(part.lstrip()), end - len(part) + len(part.rstrip())


def best_span(starts: Floats, ends: Floats, most: int) -> tuple[int, int, float]:
    """The span of at most ``most`` tokens, first and last, whose product of probabilities is largest, and that product.

    As transformers' question answering pipeline: ``starts`` and ``ends`` are logits of the context's tokens alone.
    """
    import numpy as np

    begin, finish = (np.exp(x.astype(np.float64) - x.max()) for x in (starts, ends))
    begin, finish = begin / begin.sum(), finish / finish.sum()
    best = (0, 0, -1.0)
    for size in range(min(most, len(begin))):
        products = begin[: len(begin) - size] * finish[size:]
        first = int(products.argmax())
        if products[first] > best[2]:
            best = (first, first + size, float(products[first]))
    return best
