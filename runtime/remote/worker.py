"""The other side of ``remote.py``: a process that loads a model and answers, until its stdin ends.

What goes through the pipes are pickled tuples, a name first. Both ends are this program.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import signal
import sys
import threading
from typing import IO, Any

from exaone4_gguf.errors import Exaone4Error

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
    send(replies, "ready", model.context.n_ctx)
    asked: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(requests, asked, model), daemon=True).start()
    while (message := asked.get()) is not None:
        _answer(model, message, replies)


def _read(requests: IO[bytes], asked: queue.SimpleQueue[Message | None], model: Any) -> None:
    """Pass requests on; a cancellation at once, and the end at once as well, as nobody is left to answer to."""
    while (message := receive(requests)) is not None:
        if message[0] == "cancel":
            model.cancel()
        else:
            asked.put(message)
    os._exit(0)


def _answer(model: Any, message: Message, replies: IO[bytes]) -> None:
    kind, messages, tools, options = message
    try:
        if kind == "prompt":
            send(replies, "prompt", model.prompt(messages, tools, **options))
            return
        with contextlib.closing(model.stream(messages, tools, **options)) as events:
            send(replies, "begun")
            for event in events:
                send(replies, "event", event)
        send(replies, "ended", model.usage, model.logprobs)
    except Exaone4Error as e:
        send(replies, "failed", type(e), str(e), vars(e))


if __name__ == "__main__":
    main()
