"""Answers that take long: noticing that the client has gone, and server-sent events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from exaone4_gguf.runtime.server.errors import problem_of

DONE = b"data: [DONE]\n\n"
WAITING = b": waiting\n\n"
"""A comment, so that nobody between here and the client takes the silence for an end."""


def event(data: Any) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def events(data: Iterable[Any]) -> bytes:
    """Several of them."""
    return b"".join(map(event, data))


@asynccontextmanager
async def watching(receive: Receive, gone: Callable[[], None]) -> AsyncIterator[None]:
    """While this runs, a client that hangs up is noticed: ``gone`` is called."""
    watcher = asyncio.create_task(_watch(receive, gone))
    try:
        yield
    finally:
        watcher.cancel()


async def _watch(receive: Receive, gone: Callable[[], None]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    gone()


class EventStream(Response):
    """A response of server-sent events.

    Args:
        pieces: bytes as they come. An exception is told as a last event.
        gone: called when the client hangs up, and at the end.
    """

    media_type = "text/event-stream"

    def __init__(self, pieces: AsyncIterator[bytes], gone: Callable[[], None]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._pieces, self._gone = pieces, gone

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what comes, until the end or until nobody listens."""
        try:
            async with watching(receive, self._gone):
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                async for piece in self._told():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except OSError:
            pass  # the client has gone
        finally:
            self._gone()

    async def _told(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._pieces:
                yield piece
        except Exception as e:
            yield event(problem_of(e).body)
        yield DONE
