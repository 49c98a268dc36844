"""Lines in, results out: what the commands embed and classify do with a file, some lines at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Unpack

from exaone4_gguf.errors import RequestError
from exaone4_gguf.runtime.encoder import EncodeOptions, Encoder
from exaone4_gguf.runtime.head import QUESTION, SEQUENCE, TOKEN
from exaone4_gguf.runtime.plain_text import Text

AT_ONCE = 64
"""Lines that are read before their results are given out."""

_PAIRS = (("question", "context"), ("text", "text_pair"))
"""The keys of a pair's two texts."""

Result = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """A text, the number of its line from 1 on, and the other keys of its JSON object."""

    number: int
    text: Text
    others: Result = field(default_factory=dict)


def read_lines(lines: Iterable[str], *, as_json: bool) -> Iterator[Line]:
    """The texts of lines, the blank ones left out.

    In JSON a line is a text, or an object with ``text``, and ``text_pair`` for a pair, or ``question`` and ``context``.

    Raises:
        RequestError: a line is not of that form.
    """
    for number, line in enumerate(lines, 1):
        text = line.rstrip("\r\n")
        if text.strip():
            yield _json_line(number, text) if as_json else Line(number, text)


def embed_lines(
    encoder: Encoder, lines: Iterable[Line], *, pooling: str, normalize: bool, **options: Unpack[EncodeOptions]
) -> Iterator[Result]:
    """A vector for each line.

    Raises:
        RequestError: a text is empty or too long; which lines it is among.
    """

    def embed(texts: list[Any]) -> list[Result]:
        vectors = encoder.embed(texts, pooling=pooling, normalize=normalize, **options)
        return [{"embedding": [float(f"{x:.7g}") for x in vector]} for vector in vectors]

    return _results(lines, embed)


def classify_lines(encoder: Encoder, lines: Iterable[Line], **options: Unpack[EncodeOptions]) -> Iterator[Result]:
    """What the model's head makes of each line: a label, entities, or an answer.

    Raises:
        GGUFError: it has none.
        RequestError: as ``embed_lines``.
    """
    method = method_of(encoder)

    def classify(texts: list[Any]) -> list[Result]:
        return [found.to_json() for found in method(texts, **options)]

    if encoder.head is None:
        classify([])  # it says what is missing, before a line is read
    return _results(lines, classify)


def method_of(encoder: Encoder) -> Callable[..., list[Any]]:
    """What the model's head is for; without one, the method that says so."""
    methods: dict[str, Callable[..., list[Any]]] = {
        SEQUENCE: encoder.classify,
        TOKEN: encoder.tag_all,
        QUESTION: encoder.answer_all,
    }
    return methods[encoder.head.task if encoder.head else SEQUENCE]


def _results(lines: Iterable[Line], judge: Callable[[list[Any]], list[Result]]) -> Iterator[Result]:
    coming = iter(lines)
    while some := list(islice(coming, AT_ONCE)):
        try:
            results = judge([line.text for line in some])
        except RequestError as e:
            where = f"line {some[0].number}" if len(some) == 1 else f"lines {some[0].number} to {some[-1].number}"
            raise RequestError(f"{where}: {e}") from None
        for line, result in zip(some, results, strict=True):
            yield {"line": line.number, **line.others, **result}


def _json_line(number: int, line: str) -> Line:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as e:
        raise RequestError(f"line {number}: not JSON: {e}") from None
    if isinstance(value, str):
        return Line(number, value)
    if not isinstance(value, dict):
        raise RequestError(f"line {number}: {line[:40]} is neither a text nor an object")
    for keys in _PAIRS:
        if all(isinstance(value.get(key), str) for key in keys):
            return Line(number, (value[keys[0]], value[keys[1]]), _others(value, keys))
    if not isinstance(value.get("text"), str):
        raise RequestError(f"line {number}: it has no text: the keys are text, and text_pair, or question and context")
    return Line(number, value["text"], _others(value, ("text",)))


def _others(value: Result, keys: tuple[str, ...]) -> Result:
    return {key: other for key, other in value.items() if key not in keys}
