"""A server on the bundled model, in a thread of the tests, and plain requests to it."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone4_gguf.runtime.server.serve import Server
from exaone4_gguf.runtime.server.settings import Settings

LOADING = {"n_ctx": 2048, "n_threads": 1}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, read."""
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """OpenAI's error, after a look at its form."""
        assert set(self.json["error"]) == {"message", "type", "param", "code"}, self.body
        error: dict[str, Any] = self.json["error"]
        return error

    @property
    def events(self) -> list[Any]:
        """Those of a stream, after a look at its end."""
        *lines, last = [line for line in self.body.decode().split("\n\n") if line and not line.startswith(":")]
        assert last == "data: [DONE]"
        return [json.loads(line.removeprefix("data: ")) for line in lines]


@contextmanager
def running(path: Path, **settings: Any) -> Iterator[Server]:
    """A server on any free port, ready; stopped in the end."""
    loading = LOADING | settings.pop("loading", {})
    server = Server(path, Settings(**{"port": 0, **settings}), loading=loading)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: request(server, "GET", "/health").status == 200)
        yield server
    finally:
        server.stop()
        thread.join(30)
        assert not thread.is_alive()


def connection(server: Server) -> http.client.HTTPConnection:
    """A connection of one's own."""
    host, port = server.socket.getsockname()[:2]
    return http.client.HTTPConnection(host, port, timeout=60)


def request(server: Server, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    """One request; a body that is not bytes is sent as JSON."""
    made = connection(server)
    raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    made.request(method, path, raw, named)
    response = made.getresponse()
    answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    made.close()
    return answer


def post(server: Server, path: str, body: Any, **headers: str) -> Answer:
    """The usual request."""
    return request(server, "POST", path, body, **headers)


def chat(server: Server, content: str = "Hello!", **fields: Any) -> Answer:
    """A question to the model, answered greedily."""
    messages = [{"role": "user", "content": content}]
    return post(server, "/v1/chat/completions", {"messages": messages, "temperature": 0, **fields})


def wait_until(holds: Any, seconds: float = 30) -> None:
    """Until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it does not come to hold"
        time.sleep(0.01)
