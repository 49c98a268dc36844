"""Texts that are judged, not talked with: their token ids, and where in the text each token stands.

The ids are those of transformers' tokenizer, a pair of texts one after the other. What reads like a control token is
text, unless it is asked for: nothing that a user writes ends a turn or pads a sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from exaone4_gguf.errors import RequestError, TextTooLong
from exaone4_gguf.runtime.llama.model import Model

Text = str | tuple[str, str]
"""A text, or a pair: a question and its context, a query and its document."""


@dataclass(frozen=True)
class Encoded:
    """A text's ids. ``second`` is where those of a pair's second text begin, 0 of a single text."""

    ids: tuple[int, ...]
    second: int = 0


@dataclass(frozen=True)
class TextWindow:
    """Some tokens of text number ``text``, from its token ``first`` on.

    No earlier window has its tokens from number ``fresh`` on.
    """

    text: int
    first: int
    fresh: int
    ids: tuple[int, ...]


def checked_texts(texts: Any, *, pairs: bool = False) -> list[Text]:
    """A list of texts, or of pairs of them where these may be.

    Raises:
        RequestError: it is something else, or one of them is.
    """
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise RequestError(f"texts is {str(texts)[:40]!r}", field="texts", hint="it must be a list of texts")
    return [_checked(i, text, pairs) for i, text in enumerate(texts)]


def _checked(i: int, text: Any, pairs: bool) -> Text:
    if pairs and isinstance(text, (tuple, list)) and len(text) == 2 and all(isinstance(part, str) for part in text):
        return (text[0], text[1])
    if not isinstance(text, str):
        wanted = "text"
        if pairs:
            wanted = "text or a pair of texts"
        raise RequestError(f"text {i + 1} is {str(text)[:40]!r}; it must be {wanted}")
    return text


def encode(model: Model, text: Text, *, control: bool = False) -> Encoded:
    """Token ids, with those that the tokenizer puts around a text.

    Args:
        control: what reads like a control token is one, as transformers' tokenizer has it.
    """
    before, after = model.around
    if isinstance(text, str):
        return Encoded((*before, *model.tokenize(text, control=control), *after))
    first, second = (model.tokenize(part, control=control) for part in text)
    return Encoded((*before, *first, *second, *after), len(before) + len(first))


def offsets(model: Model, text: str, ids: Sequence[int]) -> list[tuple[int, int]]:
    """The characters of the text, from and to, that each of its tokens stands for.

    A token may be some bytes of a character: it stands for the whole. Tokens around the text stand for none.
    """
    character_of: list[int] = []  # of each byte
    for i, character in enumerate(text):
        character_of += [i] * len(character.encode("utf-8", errors="replace"))
    character_of.append(len(text))
    found: list[tuple[int, int]] = []
    at = 0
    for token in ids:
        begin = end = character_of[at]
        size = len(model.piece(token))
        if size and not any(token in side for side in model.around):
            at += size
            end = character_of[at - 1] + 1
        found.append((begin, end))
    return found


def windows(
    model_limit: int, encoded: Sequence[Encoded], *, length: int | None = None, stride: int | None = None
) -> list[TextWindow]:
    """Every text as one window, or, with a ``stride``, the long ones as several that share that many tokens.

    Args:
        model_limit: the most tokens that can be evaluated together.
        length: the most in a window; by default all that can be.

    Raises:
        RequestError: a text is empty; TextTooLong: it is too long, and not to be cut.
    """
    most = checked_length(model_limit, length, stride)
    found: list[TextWindow] = []
    for i, text in enumerate(encoded):
        if not text.ids:
            raise RequestError(f"text {i + 1} is empty: there is nothing to judge")
        if len(text.ids) > most and stride is None:
            raise TextTooLong(f"text {i + 1}", len(text.ids), most)
        found += cut(i, text.ids, most, stride or 0)
    return found


def checked_length(model_limit: int, length: int | None, stride: int | None) -> int:
    """The most tokens in a window.

    Raises:
        RequestError: more than can be evaluated, or windows that share all of their tokens.
    """
    most = length
    if most is None:
        most = model_limit
    if not isinstance(most, int) or isinstance(most, bool) or not 0 < most <= model_limit:
        raise RequestError(
            f"max_length is {most!r}",
            field="max_length",
            hint=f"it must be a whole number from 1 to the context, {model_limit}",
        )
    if stride is not None and (not isinstance(stride, int) or isinstance(stride, bool) or not 0 <= stride < most):
        raise RequestError(
            f"stride is {stride!r}",
            field="stride",
            hint=f"windows of {most} tokens can share from 0 to {most - 1} of them",
        )
    return most


def cut(i: int, ids: tuple[int, ...], most: int, stride: int) -> Iterator[TextWindow]:
    """Windows of text number ``i``: of at most ``most`` tokens, each sharing ``stride`` of them with the next."""
    fresh = 0
    for first in range(0, len(ids), most - stride):
        yield TextWindow(i, first, fresh, ids[first : first + most])
        fresh = stride
        if first + most >= len(ids):
            return
