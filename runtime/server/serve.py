"""``serve``: listen, load, answer until told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn

from exaone4_gguf.errors import RuntimeFailure
from exaone4_gguf.runtime.llama.model import check_file
from exaone4_gguf.runtime.remote.remote import open_model
from exaone4_gguf.runtime.server.app import make_app
from exaone4_gguf.runtime.server.engine import Engine
from exaone4_gguf.runtime.server.metrics import Metrics
from exaone4_gguf.runtime.server.service import Service
from exaone4_gguf.runtime.server.settings import Settings

log = logging.getLogger("exaone4_gguf.server")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server:
    """A server that listens and loads; ``run`` answers until ``stop``, or a signal.

    Raises:
        GGUFError: there is no such file, or it is no GGUF file.
        RuntimeFailure: the address cannot be listened on.
    """

    def __init__(self, path: str | Path, settings: Settings, *, loading: Mapping[str, Any]) -> None:
        self.path, self.settings = Path(path), settings
        check_file(self.path)
        self.metrics = Metrics()
        self._failure: BaseException | None = None
        self._began = time.monotonic()
        self.socket = _listening(settings)
        engine = Engine(
            lambda: open_model(path, **loading),
            max_queue=settings.max_queue,
            metrics=self.metrics,
            when_loaded=self._loaded,
        )
        self.service = Service(engine, settings, self.metrics, settings.alias or self.path.stem)
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                make_app(self.service),
                http="h11",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=int(settings.timeout) + 1,
            )
        )

    @property
    def url(self) -> str:
        """Where it is."""
        host, port = self.socket.getsockname()[:2]
        if ":" in host:
            return f"http://[{host}]:{port}"
        return f"http://{host}:{port}"

    def run(self) -> None:
        """Answer until told to stop, then finish what has been accepted.

        Raises:
            Exaone4Error: the model cannot be loaded.
        """
        self.service.engine.start()
        try:
            with _own_signals():
                asyncio.run(self._uvicorn.serve(sockets=[self.socket]))
        finally:
            self.service.close()
            self.socket.close()
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """As a signal does, from any thread."""
        self._uvicorn.should_exit = True

    def _loaded(self, failure: BaseException | None) -> None:
        """Called by the engine's thread."""
        if failure:
            self._failure = failure
            self.stop()
            return
        model = self.service.engine.model
        seconds = time.monotonic() - self._began
        log.info("%s is loaded (%.1f s), context %d", self.service.model_name, seconds, model.n_ctx)


def serve(path: Path, settings: Settings, *, loading: Mapping[str, Any]) -> None:
    """Serve the model in a file until told to stop; what happens is told on stderr.

    Raises:
        Exaone4Error: the file cannot be loaded, or the address not be listened on.
    """
    _log_to_stderr()
    server = Server(path, settings, loading=loading)
    log.info("listening on %s", server.url)
    server.run()
    log.info("stopped")


class _Uvicorn(uvicorn.Server):
    """Any second signal stops at once, not SIGINT alone."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal lets finish what runs."""
        if self.should_exit:
            self.force_exit = True
            logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what is cut off now is no error
        self.should_exit = True


@contextmanager
def _own_signals() -> Iterator[None]:
    """The signals belong to nobody when uvicorn raises them once more at its end: they have done their work."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {each: signal.signal(each, lambda number, frame: None) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _listening(settings: Settings) -> socket.socket:
    try:
        family, *_, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=512)
    except (OSError, OverflowError) as e:
        why = getattr(e, "strerror", None) or e
        raise RuntimeFailure(f"{settings.host}:{settings.port}: {why}; choose another --port") from None


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
