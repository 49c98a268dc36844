"""Lines in, results out: what the commands embed and classify do with a file, some lines at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Unpack

from exaone4_gguf.errors import RequestError
from exaone4_gguf.format.keys import QUESTION, SEQUENCE, TOKEN
from exaone4_gguf.runtime.encode.encoder import EncodeOptions, Encoder
from exaone4_gguf.runtime.encode.texts import Text
from exaone4_gguf.runtime.text import without_lone_surrogates

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


def decoded(lines: Iterable[bytes]) -> Iterator[str]:
    """Lines of UTF-8, with or without a byte order mark before the first.

    Raises:
        RequestError: a line is not UTF-8.
    """
    for number, line in enumerate(lines, 1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as e:
            raise RequestError(f"line {number}: not UTF-8: byte {e.start + 1} is {line[e.start]:#04x}") from None


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
    encoder: Encoder, lines: Iterable[Line], *, pooling: str | None, normalize: bool, **options: Unpack[EncodeOptions]
) -> Iterator[Result]:
    """A vector for each line.

    Raises:
        RequestError: a text is empty or too long; which line it is.
    """

    def embed(texts: list[Any]) -> list[Result]:
        vectors = encoder.embed(texts, pooling=pooling, normalize=normalize, **options)
        return [{"embedding": [float(f"{x:.7g}") for x in vector]} for vector in vectors]

    return _results(lines, embed, lambda text: encoder.check([text], **options))


def classify_lines(encoder: Encoder, lines: Iterable[Line], **options: Unpack[EncodeOptions]) -> Iterator[Result]:
    """What the model's head makes of each line: a label, entities, or an answer.

    Raises:
        GGUFError: it has none.
        RequestError: as ``embed_lines``.
    """
    method = method_of(encoder)
    if encoder.head is None:
        method([])  # it says what is missing, before a line is read
    task = encoder.head.task if encoder.head else None

    def classify(texts: list[Any]) -> list[Result]:
        return [found.to_json() for found in method(texts, **options)]

    return _results(lines, classify, lambda text: encoder.check([text], task, **options))


def method_of(encoder: Encoder) -> Callable[..., list[Any]]:
    """What the model's head is for; without one, the method that says so."""
    methods: dict[str, Callable[..., list[Any]]] = {
        SEQUENCE: encoder.classify,
        TOKEN: encoder.tag_all,
        QUESTION: encoder.answer_all,
    }
    return methods[encoder.head.task if encoder.head else SEQUENCE]


def _results(
    lines: Iterable[Line], judge: Callable[[list[Any]], list[Result]], check: Callable[[Any], object]
) -> Iterator[Result]:
    coming = iter(lines)
    for first in coming:
        some = [first, *islice(coming, AT_ONCE - 1)]
        try:
            results = judge([line.text for line in some])
        except RequestError as e:
            raise _at_fault(some, check) or e from None
        for line, result in zip(some, results, strict=True):
            yield {"line": line.number, **_kept(line.others, result), **result}


def _at_fault(lines: Iterable[Line], check: Callable[[Any], object]) -> RequestError | None:
    """The first line that is refused by itself."""
    for line in lines:
        try:
            check(line.text)
        except RequestError as e:
            return RequestError(f"line {line.number}: {e}")
    return None


def _kept(others: Result, result: Result) -> Result:
    """A line's other keys; those that the result has too, a label that is to be found say, are under ``given``."""
    given = {key: other for key, other in others.items() if key in ("line", "given", *result)}
    kept = {key: other for key, other in others.items() if key not in given}
    if given:
        kept["given"] = given
    return kept


def _json_line(number: int, line: str) -> Line:
    try:
        value = json.loads(without_lone_surrogates(line))
    except (ValueError, RecursionError) as e:
        raise RequestError(f"line {number}: not JSON: {e}") from None
    if isinstance(value, str):
        return Line(number, value)
    if not isinstance(value, dict):
        raise RequestError(f"line {number}: {line[:40]} is neither a text nor an object")
    for keys in _PAIRS:
        if all(isinstance(value.get(key), str) for key in keys):
            return Line(number, (value[keys[0]], value[keys[1]]), _others(value, keys))
    pair = value.get("text_pair")
    if not isinstance(pair, str | None):
        raise RequestError(f"line {number}: text_pair is {str(pair)[:40]!r}; it must be text")
    if not isinstance(value.get("text"), str):
        raise RequestError(f"line {number}: it has no text: the keys are text, and text_pair, or question and context")
    return Line(number, value["text"], _others(value, ("text",)))


def _others(value: Result, keys: tuple[str, ...]) -> Result:
    return {key: other for key, other in value.items() if key not in keys}
