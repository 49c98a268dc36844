"""The other side of ``remote.py``: a process that loads a model and answers, until its stdin ends.

What goes through the pipes are pickled tuples, a name first. Both ends are this program.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
from typing import IO, TYPE_CHECKING, Any

from exaone4_gguf.errors import Exaone4Error

if TYPE_CHECKING:
    from exaone4_gguf.runtime.chat.answer_stream import AnswerStream
    from exaone4_gguf.runtime.events import Event
    from exaone4_gguf.runtime.exaone4 import Exaone4

Message = tuple[Any, ...]


def send(stream: IO[bytes], *message: Any) -> None:
    """Write one message, whole or not at all."""
    stream.write(pickle.dumps(message, pickle.HIGHEST_PROTOCOL))
    stream.flush()


def receive(stream: IO[bytes]) -> Message | None:
    """Read one message; None where the stream has ended, or breaks off, as the other side is gone."""
    try:
        message: Message = pickle.load(stream)  # noqa: S301 - our own process wrote it
    except (EOFError, pickle.UnpicklingError, ValueError, OSError):
        return None
    return message


def main() -> None:
    """Load the model that the first message names, and answer those that follow."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's: it sends "cancel"
    requests, replies = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get into the pipe
    first = receive(requests)
    if first is None:
        return
    try:
        _serve(first, requests, replies)
    except Exaone4Error as e:
        send(replies, "failed", type(e), str(e), vars(e))


def _serve(first: Message, requests: IO[bytes], replies: IO[bytes]) -> None:
    from exaone4_gguf.runtime.exaone4 import Exaone4
    from exaone4_gguf.runtime.remote.rpc import register

    path, servers, loading = first
    register(servers)
    send(replies, "registered")
    model = Exaone4(path, **loading)
    send(replies, "ready", model.n_ctx)
    requests_read = _Requests()
    threading.Thread(target=requests_read.read, args=(requests,), daemon=True).start()
    while (message := requests_read.waiting.get()) is not None:
        _answer(model, message, replies, requests_read)


class _Requests:
    """What was asked for, and what of it was cancelled, before it began or while it is answered."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._cancelled: set[int] = set()
        self._answers: dict[int, AnswerStream[Event]] = {}

    def read(self, stream: IO[bytes]) -> None:
        """Pass requests on; a cancellation at once, and the end at once as well, as nobody is left to answer to."""
        while (message := receive(stream)) is not None:
            if message[0] == "cancel":
                self._cancel(message[1])
            else:
                self.waiting.put(message)
        os._exit(0)

    def begin(self, request: int, answer: AnswerStream[Event]) -> None:
        """An answer begins, which may have been cancelled already."""
        with self._lock:
            self._answers = {request: answer}
            if request in self._cancelled:
                answer.cancel()
            self._cancelled.clear()  # of earlier ones

    def _cancel(self, request: int) -> None:
        with self._lock:
            self._cancelled.add(request)
            if request in self._answers:
                self._answers[request].cancel()


def _answer(model: Exaone4, message: Message, replies: IO[bytes], requests: _Requests) -> None:
    _, request, messages, tools, options = message
    try:
        with model.stream(messages, tools, **options) as answer:
            requests.begin(request, answer)
            send(replies, "begun")
            for event in answer:
                send(replies, "event", event)
        send(replies, "ended", answer.usage, answer.logprobs)
    except Exaone4Error as e:
        send(replies, "failed", type(e), str(e), vars(e))


if __name__ == "__main__":
    main()
