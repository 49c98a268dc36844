"""``RemoteExaone4``: a model in a process of its own, for backends of llama.cpp that may end theirs.

It answers as ``Exaone4`` does. Where its process ends, the request that ran fails with one clear line, and the next
one loads the model again.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Generator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Unpack

from exaone4_gguf.errors import Exaone4Error, RequestError, RuntimeFailure
from exaone4_gguf.runtime.chat.answer_stream import AnswerStream, Making
from exaone4_gguf.runtime.chat.conversing import Conversing, offered_tools
from exaone4_gguf.runtime.encode.encoder import Encoder
from exaone4_gguf.runtime.events import Event
from exaone4_gguf.runtime.generate.request import ChatOptions, Request
from exaone4_gguf.runtime.llama.interrupts import Flag, awaited, checkpoint, untorn
from exaone4_gguf.runtime.llama.model import Model
from exaone4_gguf.runtime.prompt.plain import plain
from exaone4_gguf.runtime.remote.rpc import check_reachable, check_supported, parse_servers
from exaone4_gguf.runtime.remote.worker import Message, receive, send

REGISTERING_SECONDS = 30.0
"""How long the servers may take to say what they have; what is no RPC server says nothing."""

_WORKER = "exaone4_gguf.runtime.remote.worker"
_LOOKING = 0.2
"""Seconds between looks at what signals and other threads want meanwhile."""
_ENDING_SECONDS = 5.0


def open_model(path: str | Path, *, rpc: str | None = None, **loading: Any) -> Conversing:
    """The model, in this process; with ``rpc`` (HOST:PORT, several with commas between) spread over these servers.

    Raises:
        Exaone4Error: as ``Exaone4`` and ``RemoteExaone4``.
    """
    if rpc is not None:
        return RemoteExaone4(path, parse_servers(rpc), **loading)
    from exaone4_gguf.runtime.exaone4 import Exaone4

    return Exaone4(path, **loading)


class RemoteExaone4(Conversing):
    """A model whose weights lie on RPC servers of llama.cpp, loaded by a process of its own. Its vocabulary is here.

    Args:
        path: the GGUF file, here; its weights are sent to the servers.
        servers: HOST:PORT of each.
        loading: the other arguments of ``Exaone4``.

    Raises:
        GGUFError: as ``Exaone4``.
        RuntimeFailure: a server cannot be reached, or llama.cpp has no RPC backend.
    """

    @untorn()
    def __init__(self, path: str | Path, servers: Sequence[str], **loading: Any) -> None:
        check_supported()
        self._path, self._servers, self._loading = Path(path), tuple(servers), loading
        if loading.get("draft_gpu_layers") is None:
            loading["draft_gpu_layers"] = 0  # it is small: guesses are made here, and no network is waited for
        self._closed = False
        self._n_ctx = 0
        self._requests = itertools.count()
        model = Model(path, vocab_only=True)
        try:
            super().__init__(model, loading.get("chat_template"))
            if self.silent:
                raise RequestError(self.silent)
            self._process = self._started()
        except BaseException:
            model.close()
            raise

    @untorn()
    def close(self) -> None:
        """Stop what is being answered, and end the model's process. It cannot be used afterwards."""
        self._closed = True
        self._process.end()
        self.model.close()

    @property
    def n_ctx(self) -> int:
        """The most tokens of a conversation."""
        return self._n_ctx

    def stream(
        self, messages: Iterable[Any], tools: Iterable[Any] | None = None, **options: Unpack[ChatOptions]
    ) -> AnswerStream[Event]:
        """Answer, as events. Closing it stops the generation; ``usage`` and ``logprobs`` are the answer's own.

        Raises:
            Exaone4Error: as ``Exaone4.stream``, some only when the first event is asked for; and RuntimeFailure if
                the model's process ends. The model stays usable.
        """
        portable = _portable(messages, tools, options)
        self._check_open()
        return AnswerStream(lambda answer: self._in_turn(answer, self._made(answer, portable)))

    def complete(
        self, prompt: str | Sequence[int], *, markers: bool = False, **options: Unpack[ChatOptions]
    ) -> AnswerStream[Event]:
        """Raises RequestError: conversations alone are carried to the model's process."""
        raise RequestError("a model on RPC servers answers conversations, and goes on with no other text")

    @property
    def encoder(self) -> Encoder:
        """Raises RequestError, as ``complete``."""
        raise RequestError("a model on RPC servers answers conversations; embed and classify without --rpc")

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeFailure("the model is closed")

    def _made(self, answer: Making, portable: Message) -> Generator[Event]:
        """The events of an answer, until the process has told its end, or is no more."""
        process = self._running()
        request = next(self._requests)
        process.send("stream", request, *portable)
        cancelling = _Cancelling(process, request, answer.cancelled)
        try:
            while True:
                kind, *rest = self._told(self._reply(process, cancelling))
                if kind == "event":
                    yield rest[0]
                elif kind == "ended":
                    answer.usage, answer.logprobs = rest
                    return
        finally:
            _abandon(process, answer, cancelling)

    def _reply(
        self, process: _Process, cancelling: _Cancelling | None = None, seconds: float = math.inf
    ) -> Message | None:
        """As ``_Process.reply``; a cancellation is passed on meanwhile, and a handler of signals may raise."""
        until = time.monotonic() + seconds
        while True:
            checkpoint()
            if cancelling is not None:
                cancelling.pass_on()
            message = process.reply(_LOOKING)
            if message is not _NOTHING or time.monotonic() > until:
                return message

    def _told(self, message: Message | None) -> Message:
        """The message, if it is no failure."""
        if message is None:
            raise self._gone()
        if message[0] == "failed":
            raise _rebuilt(*message[1:])
        return message

    def _gone(self) -> RuntimeFailure:
        """Why the process ended: a server that does not answer any more, or what was printed last."""
        said = self._process.last_words()
        try:
            check_reachable(self._servers)
        except RuntimeFailure as e:
            return RuntimeFailure(f"the answer broke off: {e}")
        return RuntimeFailure(f"the answer broke off, as the model's process ended: {said}; ask again to load it anew")

    def _running(self) -> _Process:
        """The process; a new one where it has ended."""
        if not self._process.is_alive:
            self._process.end()
            self._process = self._started()
        return self._process

    def _started(self) -> _Process:
        check_reachable(self._servers)
        process = self._process = _Process((str(self._path), self._servers, self._loading))
        weakref.finalize(self, process.end)
        try:
            registered = self._reply(process, seconds=REGISTERING_SECONDS)
            if registered is _NOTHING:
                raise RuntimeFailure(
                    f"{', '.join(self._servers)}: no answer in {REGISTERING_SECONDS:.0f} s; an rpc-server serves one "
                    "program at a time, and what is none never answers"
                )
            self._told(registered)
            _, self._n_ctx = self._told(self._reply(process))
        except BaseException:
            process.end(at_once=True)
            raise
        return process


_NOTHING: Message = ("nothing",)
_LAST_MESSAGES = ("ended", "failed")


class _Cancelling:
    """A request's cancellation on its way to the process: passed on once, as it stays there."""

    def __init__(self, process: _Process, request: int, cancelled: Flag) -> None:
        self._process, self._request, self._cancelled = process, request, cancelled
        self._sent = False

    def pass_on(self) -> None:
        """Send it, if it is set and was not sent."""
        if self._cancelled.is_set() and not self._sent:
            self._sent = True
            self._process.send("cancel", self._request)


class _Process:
    """The worker, and the two pipes to it. ``is_idle``: it has nothing left to tell of the last request."""

    def __init__(self, first: Message) -> None:
        self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end
        self._popen = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=os.environ | {"GGML_NO_BACKTRACE": "1"},
            start_new_session=True,  # Ctrl-C is ours
        )
        assert self._popen.stdin is not None
        self._stdin = self._popen.stdin
        self._writing = threading.Lock()
        self._replies: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        self.is_idle = True
        self._passing_on = threading.Thread(target=_pass_on, args=(self._popen.stdout, self._replies), daemon=True)
        self._passing_on.start()
        self.send(*first)
        self.is_idle = True

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._popen.poll() is None

    def send(self, *message: Any) -> None:
        """Ask for something; where the process is gone, its end is read as the answer."""
        try:
            with self._writing, contextlib.suppress(OSError):
                send(self._stdin, *message)
        except (TypeError, AttributeError, ValueError) as e:
            raise RequestError(f"a part of the request cannot be sent to the model's process: {e}") from None
        if message[0] != "cancel":
            self.is_idle = False

    def reply(self, seconds: float) -> Message | None:
        """The next message: None at the process's end, ``_NOTHING`` if none comes in time."""
        try:
            message = self._replies.get(timeout=seconds)
        except queue.Empty:
            return _NOTHING
        self.is_idle = message is None or message[0] in _LAST_MESSAGES
        if message is None:
            self._replies.put(None)  # for whoever asks next
        return message

    def last_words(self) -> str:
        """The last line that it printed, or how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(_ENDING_SECONDS)
        if self._stderr.closed:
            return "it was closed"
        self._stderr.seek(0)
        lines = [line.strip() for line in self._stderr.read().decode("utf-8", errors="replace").splitlines()]
        said = [line for line in lines if line]
        if said:
            return said[-1][:200]
        return f"code {self._popen.returncode}"

    def end(self, at_once: bool = False) -> None:
        """End it, also while it answers; it may tell the servers so, unless ``at_once``."""
        with contextlib.suppress(OSError):
            self._stdin.close()
        if at_once:
            self._popen.kill()
        try:
            self._popen.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
        self._passing_on.join()
        self._stderr.close()


def _abandon(process: _Process, answer: Making, cancelling: _Cancelling) -> None:
    """Cancel what nobody wants, and read to its end; who signals once more ends the process."""
    if process.is_idle:
        return
    before = awaited()
    answer.cancelled.set()
    cancelling.pass_on()
    while not process.is_idle:
        if awaited() > before:
            process.end(at_once=True)
            return
        message = process.reply(_LOOKING)
        if message is not None and message[0] == "ended":
            _, answer.usage, answer.logprobs = message


def _pass_on(stream: Any, replies: queue.SimpleQueue[Message | None]) -> None:
    with stream:
        while (message := receive(stream)) is not None:
            replies.put(message)
    replies.put(None)


def _portable(messages: Any, tools: Iterable[Any] | None, options: ChatOptions) -> Message:
    """A request in plain data, as far as it can be checked here."""
    offered = offered_tools(tools)
    Request(options, offered)
    listed = messages if isinstance(messages, str | bytes | Mapping) else list(messages)
    return plain(listed, "messages"), [tool.to_openai() for tool in offered], dict(options)


def _rebuilt(kind: type[Exaone4Error], text: str, fields: dict[str, Any]) -> Exaone4Error:
    """An error of the other process, as it was raised there."""
    error = kind.__new__(kind, text)
    error.__dict__.update(fields)
    return error
