"""What the routes do: read a body, ask the runtime, wait in the queue, answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from exaone4_gguf.errors import ContextOverflow, TextTooLong
from exaone4_gguf.runtime.chat.conversing import Conversing
from exaone4_gguf.runtime.server import encode_routes as judging
from exaone4_gguf.runtime.server import options as asking
from exaone4_gguf.runtime.server.answers_chat import ChatAnswers
from exaone4_gguf.runtime.server.answers_text import TextAnswers
from exaone4_gguf.runtime.server.bodies import (
    Body,
    ChatBody,
    ClassifyBody,
    CompletionBody,
    ConversationBody,
    EmbeddingBody,
    TokenizeBody,
    parsed,
)
from exaone4_gguf.runtime.server.encode_routes import Judged, JudgedAnswers
from exaone4_gguf.runtime.server.engine import Engine, Item, Job
from exaone4_gguf.runtime.server.errors import Problem, too_long
from exaone4_gguf.runtime.server.guard import too_large
from exaone4_gguf.runtime.server.metrics import Metrics
from exaone4_gguf.runtime.server.options import Asked
from exaone4_gguf.runtime.server.settings import Settings
from exaone4_gguf.runtime.server.stream import WAITING, EventStream, events, watching

Form = TypeVar("Form", bound=Body)
Found = TypeVar("Found")
T = TypeVar("T")

PREPARING = 2
"""Threads that make prompts and grammars, so that a large request does not hold up the others."""

_PATIENCE = 10.0
"""Seconds of silence after which a stream says that it is still there; errors until then have their status."""


class Answers(Protocol[T]):
    """How answers look: ``ChatAnswers``, ``TextAnswers``."""

    def chunks(self, item: Item[T]) -> Any:
        """What a stream tells of an item."""

    def closing(self) -> Any:
        """What a stream tells in the end."""

    def whole(self, items: list[Item[T]]) -> Any:
        """The answer to a request without a stream."""


class Service:
    """The server's work, without its routes."""

    def __init__(self, engine: Engine, settings: Settings, metrics: Metrics, model_name: str) -> None:
        self.engine, self.settings, self.metrics, self.model_name = engine, settings, metrics, model_name
        self._preparing = ThreadPoolExecutor(PREPARING, thread_name_prefix="prepare")

    def close(self) -> None:
        """Stop the engine and the threads."""
        self._preparing.shutdown(cancel_futures=True)
        self.engine.stop()

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions."""
        body, asked = await self._asked(request, ChatBody, lambda m, b: asking.chat(m, b, self.settings))
        usage = bool(body.stream_options and body.stream_options.include_usage)
        form = ChatAnswers(
            self.model_name,
            asked.tools,
            logprobs=bool(body.logprobs),
            include_usage=usage,
            include_reasoning=body.include_reasoning,
        )
        return await self._answer(request, asked, form, stream=bool(body.stream))

    async def completions(self, request: Request) -> Response:
        """POST /v1/completions."""
        body, asked = await self._asked(request, CompletionBody, asking.completions)
        usage = bool(body.stream_options and body.stream_options.include_usage)
        told = body.logprobs is not None
        form = TextAnswers(self.model_name, asked.echo, n=body.n or 1, logprobs=told, include_usage=usage)
        return await self._answer(request, asked, form, stream=bool(body.stream))

    async def embeddings(self, request: Request) -> Response:
        """POST /v1/embeddings."""
        body, asked = await self._asked(request, EmbeddingBody, judging.embeddings)
        return await self._judged(request, asked, body.input)

    async def classify(self, request: Request) -> Response:
        """POST /v1/classify."""
        body, asked = await self._asked(request, ClassifyBody, judging.classify)
        return await self._judged(request, asked, body.input)

    async def _judged(self, request: Request, asked: Asked[Judged], given: str | Sequence[Any]) -> Response:
        form = JudgedAnswers(self.model_name, 1 if isinstance(given, str) else len(given))
        return await self._answer(request, asked, form, stream=False)

    async def apply_template(self, request: Request) -> Response:
        """POST /apply-template."""
        _, prompt = await self._asked(request, ConversationBody, lambda m, b: asking.prompt(m, b, self.settings))
        return JSONResponse({"prompt": prompt.text})

    async def tokenize(self, request: Request) -> Response:
        """POST /tokenize."""
        body, ids = await self._asked(request, TokenizeBody, asking.token_ids)
        if body.with_pieces:
            return JSONResponse({"tokens": [{"id": i, "piece": self._piece(i)} for i in ids]})
        return JSONResponse({"tokens": ids})

    def _piece(self, token: int) -> str | list[int]:
        """As llama-server has it: the text, or the bytes where they are none."""
        piece = self.engine.model.model.piece(token)
        try:
            return piece.decode()
        except UnicodeDecodeError:
            return list(piece)

    async def _asked(
        self, request: Request, form: type[Form], ask: Callable[[Conversing, Form], Found]
    ) -> tuple[Form, Found]:
        """The body, and what the runtime makes of it, in a thread: a large one takes its time.

        Raises:
            Problem, Exaone4Error, ValidationError: it is wrong.
        """
        model = self.engine.model
        self.engine.check_room()
        raw = await self._read(request)

        def work() -> tuple[Form, Found]:
            body = parsed(raw, form)
            try:
                return body, ask(model, body)
            except (ContextOverflow, TextTooLong) as e:
                raise too_long(e, form.text_field) from None

        return await asyncio.get_running_loop().run_in_executor(self._preparing, work)

    async def _read(self, request: Request) -> bytes:
        pieces, size = [], 0
        try:
            async with asyncio.timeout(self.settings.timeout):
                async for piece in request.stream():
                    pieces.append(piece)
                    size += len(piece)
                    if size > self.settings.max_body:
                        raise too_large(self.settings)
        except TimeoutError:
            raise Problem(408, "the body took too long to come", code="timeout") from None
        except ClientDisconnect:
            raise Problem(400, "the body broke off", code="invalid_json") from None
        return b"".join(pieces)

    async def _answer(self, request: Request, asked: Asked[T], form: Answers[T], *, stream: bool) -> Response:
        job = Job(_owner(request), asked.choices)
        self.engine.submit(job)
        expiry = asyncio.get_running_loop().call_later(self.settings.timeout, self.engine.expire, job)

        def gone() -> None:
            expiry.cancel()
            self.engine.abandon(job)

        try:
            if stream:
                return await self._streamed(request, job, form, gone)
            async with watching(request.receive, gone):
                items = [item async for found in job.items() for item in found]
            return JSONResponse(form.whole(items))
        finally:
            if not stream:
                gone()

    async def _streamed(self, request: Request, job: Job[T], form: Answers[T], gone: Callable[[], None]) -> Response:
        """A stream that begins with the first event, or after a while without; an error before has its own status."""
        items = job.items(_PATIENCE)
        try:
            async with watching(request.receive, gone):
                first = await anext(items, None)
        except BaseException:
            gone()
            raise

        async def pieces() -> AsyncIterator[bytes]:
            found = first
            while found is not None:
                yield events(chunk for item in found for chunk in form.chunks(item)) if found else WAITING
                found = await anext(items, None)
            yield events(form.closing())

        return EventStream(pieces(), gone)


def _owner(request: Request) -> tuple[str, str]:
    """Who asks: a key and an address first, which cannot be made up; then the program, as it calls itself."""
    headers = request.headers
    key = headers.get("authorization") or headers.get("x-api-key") or ""
    return f"{key} {request.client.host if request.client else ''}", headers.get("user-agent", "")
