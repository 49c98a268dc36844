"""From a request's texts to vectors and labels: some texts at a time, so that a request can be stopped between."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

from exaone4_gguf.errors import GGUFError
from exaone4_gguf.format.keys import SEQUENCE
from exaone4_gguf.runtime.chat.answer_stream import AnswerStream, Making
from exaone4_gguf.runtime.chat.conversing import Conversing
from exaone4_gguf.runtime.encode.encoder import EncodeOptions
from exaone4_gguf.runtime.encode.head import Head, check_head
from exaone4_gguf.runtime.encode.lines import method_of
from exaone4_gguf.runtime.encode.texts import Text
from exaone4_gguf.runtime.events import Usage
from exaone4_gguf.runtime.server.bodies import ClassifyBody, EmbeddingBody
from exaone4_gguf.runtime.server.engine import Ended, Item, Said
from exaone4_gguf.runtime.server.errors import Problem
from exaone4_gguf.runtime.server.options import Asked

Json = dict[str, Any]

AT_ONCE = 32
"""Texts that are evaluated before the queue is looked at again."""


@dataclass(frozen=True)
class Judged:
    """Results of some of a request's texts; an event to the engine."""

    results: Sequence[Json]


def embeddings(model: Conversing, body: EmbeddingBody) -> Asked[Judged]:
    """A vector for each text.

    Raises:
        Exaone4Error: a text is empty or too long, or an option has a wrong value.
        Problem: a field is not supported.
    """
    if body.dimensions is not None and body.dimensions != model.model.n_embd:
        message = f"dimensions is {body.dimensions}; the model's vectors have {model.model.n_embd}"
        raise Problem(400, message, code="unsupported_parameter", param="dimensions")
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not all(isinstance(text, str) for text in texts):
        raise Problem(400, "input holds token ids; send texts", code="unsupported_parameter", param="input")
    told = _as_text if body.encoding_format == "base64" else _as_numbers
    options = _options(body)

    def embed(texts: Sequence[Any]) -> list[Json]:
        normalize = body.normalize is not False
        vectors = model.embed(texts, pooling=body.pooling, normalize=normalize, **options)
        return [{"object": "embedding", "embedding": told(vector)} for vector in vectors]

    return _asked(model, cast(list[Text], texts), options, embed)


def classify(model: Conversing, body: ClassifyBody) -> Asked[Judged]:
    """What the model's head makes of each text.

    Raises:
        Exaone4Error: a text is empty, too long, or no pair where the head needs one.
        Problem: the model has no head.
    """
    head, options, method = _head(model), _options(body), method_of(model.encoder)

    def judge(texts: Sequence[Any]) -> list[Json]:
        return [{"object": "classification", **found.to_json()} for found in method(texts, **options)]

    given = [body.input] if isinstance(body.input, str) else body.input
    texts: list[Text] = [text if isinstance(text, str) else (text[0], text[1]) for text in given]
    return _asked(model, texts, options, judge, head.task)


def _head(model: Conversing) -> Head:
    """The model's, or why there is none."""
    head = model.encoder.head
    try:
        return check_head(head, model.model, head.task if head else SEQUENCE)
    except GGUFError as e:
        raise Problem(400, str(e), code="unsupported_model") from None


class JudgedAnswers:
    """The form of the answer to one request: OpenAI's list, with ``count`` results."""

    def __init__(self, model: str, count: int) -> None:
        self._model, self._count = model, count

    def chunks(self, item: Item[Judged]) -> Iterator[Json]:
        """There are no streams of these."""
        return iter(())

    def closing(self) -> Iterator[Json]:
        """There are no streams of these."""
        return iter(())

    def whole(self, items: Sequence[Item[Judged]]) -> Json:
        """All of it as one answer.

        Raises:
            Problem: the time was up before all was done.
        """
        results = [result for item in items if isinstance(item, Said) for result in item.event.results]
        if len(results) < self._count:
            raise Problem(503, "the texts took too long; send fewer at once", code="timeout")
        tokens = sum(item.usage.prompt_tokens for item in items if isinstance(item, Ended))
        data = [{"index": i, **result} for i, result in enumerate(results)]
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {"object": "list", "data": data, "model": self._model, "usage": usage}


def _asked(
    model: Conversing,
    texts: Sequence[Text],
    options: EncodeOptions,
    judge: Callable[[Sequence[Any]], list[Json]],
    task: str | None = None,
) -> Asked[Judged]:
    """A choice for some texts each, after a look at all of them."""
    model.encoder.check(texts, task, **options)
    parts = [texts[i : i + AT_ONCE] for i in range(0, len(texts), AT_ONCE)]
    control = bool(options.get("control"))
    return Asked([_judged(model, part, judge, control) for part in parts])


def _judged(
    model: Conversing, texts: Sequence[Text], judge: Callable[[Sequence[Any]], list[Json]], control: bool
) -> AnswerStream[Judged]:
    def steps(answer: Making) -> Generator[Judged]:
        began = time.perf_counter()
        results = judge(texts)
        tokens = model.encoder.count_tokens(texts, control=control)
        answer.usage = Usage(tokens, 0, 0, 0, time.perf_counter() - began, 0.0)
        yield Judged(results)

    return AnswerStream(steps)


def _options(body: EmbeddingBody | ClassifyBody) -> EncodeOptions:
    return {"stride": body.stride, "max_length": body.max_length, "control": bool(body.control)}


def _as_numbers(vector: Any) -> list[float]:
    return [float(f"{x:.7g}") for x in vector]


def _as_text(vector: Any) -> str:
    """As OpenAI's client asks for it: the bytes of little-endian floats."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
