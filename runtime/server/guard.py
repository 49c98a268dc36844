"""What every request passes before it is looked into: host, origin, key, size. And what every answer carries.

It stands around the application (ASGI), so that nothing in there can forget it.
"""

from __future__ import annotations

import hmac
import logging
import time
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from exaone4_gguf.runtime.server.errors import Problem
from exaone4_gguf.runtime.server.metrics import Metrics
from exaone4_gguf.runtime.server.settings import Settings

log = logging.getLogger("exaone4_gguf.server")

_HEALTH = ("/health", "/v1/health")
PUBLIC = (*_HEALTH, "/", "/page/")
"""What needs no key: whether the server is up, and the page, which holds nothing secret. The last is a folder."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses what must not come in, and answers with OpenAI's errors."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._keys = [key.encode() for key in settings.api_keys]
        self._checks_host = settings.is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check and pass on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope, Headers(scope=scope))
        except Problem as problem:
            response = JSONResponse(problem.body, problem.status, problem.headers)
            await response(scope, receive, _with_headers(send))
            return
        await self._app(scope, receive, _with_headers(send))

    def _check(self, scope: Scope, headers: Headers) -> None:
        self._check_host(headers.get("host", ""))
        self._check_origin(scope["scheme"], headers)
        if not _is_public(scope["path"]) and scope["method"] != "OPTIONS":
            self._check_key(headers)
        self._check_size(headers.get("content-length", "0"))

    def _check_host(self, host: str) -> None:
        """A page of another site whose name was made to lead to this machine (DNS rebinding) has its own host."""
        if self._checks_host and _name_of(host) not in self._settings.names:
            raise Problem(403, "this server is not called by that name; --allow-host adds one", code="wrong_host")

    def _check_origin(self, scheme: str, headers: Headers) -> None:
        """A page of another site must not even start a generation of which it could not see the answer."""
        origin = headers.get("origin")
        own = f"{scheme}://{headers.get('host', '')}"
        if origin is None or origin == own or not {origin, "*"}.isdisjoint(self._settings.cors):
            return
        raise Problem(403, "pages of that origin may not call this server; --cors allows one", code="wrong_origin")

    def _check_key(self, headers: Headers) -> None:
        if not self._keys:
            return
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given = bearer.strip()
        else:
            given = headers.get("x-api-key", "")
        if not _is_one_of(given.encode(), self._keys):
            raise Problem(401, "the API key is missing or wrong", code="invalid_api_key")

    def _check_size(self, length: str) -> None:
        if length.isascii() and length.isdigit() and int(length[:20]) > self._settings.max_body:
            raise too_large(self._settings)


def too_large(settings: Settings) -> Problem:
    """What is answered to a body that is over the limit."""
    return Problem(413, f"the body is larger than {settings.max_body} bytes", code="request_too_large")


def _is_one_of(given: bytes, keys: Iterable[bytes]) -> bool:
    """In a time that tells nothing of the keys; every one is compared."""
    return sum(hmac.compare_digest(given, key) for key in keys) > 0


def _is_public(path: str) -> bool:
    *whole, folder = PUBLIC
    return path in whole or path.startswith(folder)


def _name_of(host: str) -> str:
    """The name in a Host header, without its port."""
    name, colon, port = host.rpartition(":")
    return (name if colon and (port.isdigit() or not port) else host).lower().rstrip(".")


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


class Recorder:
    """Counts requests by route and status, and logs each in a line without what it holds.

    That the server is well is asked every few seconds, by the page among others, and not logged.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: frozenset[str]) -> None:
        self._app, self._metrics, self._routes = app, metrics, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on, and note the status."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 499  # nginx's number for a client that hung up before the answer

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        began = time.monotonic()
        try:
            await self._app(scope, receive, noting)
        finally:
            route = scope["path"] if scope["path"] in self._routes else "other"
            self._metrics.add("requests_total", route=route, status=str(status))
            method = scope["method"] if route != "other" else "-"
            level = logging.DEBUG if route in _HEALTH and status == 200 else logging.INFO
            log.log(level, "%s %s %d, %.2f s", method, route, status, time.monotonic() - began)
