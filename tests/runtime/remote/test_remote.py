"""A model on two RPC servers: the same text, and a server that dies ends neither the program nor the talk.

These tests run where llama-cpp-python has the RPC backend, and where a folder with llama.cpp's programs is known.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import pytest

from exaone4_gguf.demo.conversations import CONVERSATIONS
from exaone4_gguf.errors import ContextOverflow, GGUFError, MessageError, RequestError, RuntimeFailure
from exaone4_gguf.runtime.events import Finish, collect
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.remote.remote import RemoteExaone4, open_model
from tests.app.test_cli import Run, run  # noqa: F401 - a fixture
from tests.edge.peers import free_port, program
from tests.signals import Sigint, steps

EVERY = "EXAONE4_CASES" in os.environ
SOME = ("reasoning", "greeting-ko", "dice")
HELLO = [{"role": "user", "content": "Hello!"}]
LONG: dict[str, Any] = {"ignore_eos": True, "preset": "greedy", "max_tokens": 100_000}


class Server:
    """An rpc-server on a port of its own."""

    def __init__(self, path: Path) -> None:
        self._path, self._port = path, free_port()
        self.start()

    @property
    def name(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [str(self._path), "--host", "127.0.0.1", "--port", str(self._port), "--threads", "1"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(200):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self._port)) == 0:
                    return
            time.sleep(0.05)

    def kill(self) -> str:
        """End it at once; what it has printed, the first time."""
        self._process.kill()
        if self._process.stdout is None or self._process.stdout.closed:
            return ""
        return self._process.communicate()[0]


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Two servers."""
    if not llama_cpp.llama_supports_rpc():
        pytest.skip("this llama-cpp-python has no RPC backend")
    path = program("ggml-rpc-server", "rpc-server")
    found = [Server(path), Server(path)]
    yield found
    for server in found:
        server.kill()


@pytest.fixture
def remote(servers: list[Server], demo_gguf: Path) -> Iterator[RemoteExaone4]:
    """The bundled model on both."""
    with open_model(demo_gguf, rpc=",".join(s.name for s in servers), n_ctx=2048) as model:
        assert isinstance(model, RemoteExaone4)
        yield model


def test_the_same_text_as_in_one_process(remote: RemoteExaone4, talker: Exaone4, servers: list[Server]) -> None:
    for name, talk in CONVERSATIONS.items() if EVERY else ((name, CONVERSATIONS[name]) for name in SOME):
        for turn in talk.turns():
            options: dict[str, Any] = {"reasoning": talk.reasoning, "preset": "greedy", "logprobs": 0}
            here, there = (m.chat(turn.messages, talk.tools, **options) for m in (talker, remote))
            # a call's id is made anew each time
            assert (there.content, there.reasoning_content) == (here.content, here.reasoning_content), name
            assert [(c.name, c.arguments) for c in there.tool_calls] == [(c.name, c.arguments) for c in here.tool_calls]
            assert there.usage.completion_tokens == here.usage.completion_tokens
            assert [t.id for t in there.logprobs or ()] == [t.id for t in here.logprobs or ()]
            assert remote.prompt(turn.messages, talk.tools) == talker.prompt(turn.messages, talk.tools)
    assert (remote.n_ctx, remote.model.metadata) == (2048, talker.model.metadata)
    assert remote.model.piece(100) == talker.model.piece(100)
    assert remote.model.context_length == talker.model.context_length
    remote.close()
    assert all("Accepted client connection" in server.kill() for server in servers)


def test_a_smaller_model_guesses_here(servers: list[Server], demo_gguf: Path, talker: Exaone4) -> None:
    """The same text; what it drafts with must fit, as in one process."""
    names = ",".join(server.name for server in servers)
    with open_model(demo_gguf, rpc=names, n_ctx=2048, draft=demo_gguf, lookup=True) as model:
        for name in SOME:
            talk = CONVERSATIONS[name]
            for turn in talk.turns():
                options: dict[str, Any] = {"reasoning": talk.reasoning, "preset": "greedy"}
                here, there = (m.chat(turn.messages, talk.tools, **options) for m in (talker, model))
                assert (there.content, there.reasoning_content) == (here.content, here.reasoning_content), name
    with pytest.raises(GGUFError, match="no such file"):
        open_model(demo_gguf, rpc=names, draft=demo_gguf.with_name("none.gguf"))


def test_a_server_dies(remote: RemoteExaone4, servers: list[Server]) -> None:
    """While an answer is made: one line that names it; and after it is started again, an answer."""
    stream = remote.stream(HELLO, **LONG)
    next(stream)
    servers[1].kill()
    with pytest.raises(RuntimeFailure, match=f"the answer broke off: no RPC server answers at {servers[1].name}") as e:
        list(stream)
    assert "\n" not in str(e.value)
    with pytest.raises(RuntimeFailure, match=f"no RPC server answers at {servers[1].name}"):
        remote.chat(HELLO)
    servers[1].start()
    assert remote.chat(HELLO, preset="greedy").content == CONVERSATIONS["greeting-en"].messages[1]["content"]


def test_the_process_of_the_model_dies(remote: RemoteExaone4, servers: list[Server]) -> None:
    stream = remote.stream(HELLO, **LONG)
    next(stream)
    remote._process._popen.kill()
    with pytest.raises(RuntimeFailure, match="as the model's process ended: code -9; ask again to load it anew"):
        list(stream)
    assert remote.chat(HELLO, preset="greedy").finish_reason == "stop"


def test_it_answers_conversations_alone(remote: RemoteExaone4) -> None:
    with pytest.raises(RequestError, match="goes on with no other text"):
        remote.complete("Once upon a time")
    with pytest.raises(RequestError, match="without --rpc"):
        remote.embed(["text"])
    assert remote.text_prompt("Hello").ids


def test_an_answer_can_be_stopped(remote: RemoteExaone4) -> None:
    stream = remote.stream(HELLO, **LONG)
    next(stream)
    with pytest.raises(RequestError, match="a stream of this thread is still open"):
        next(iter(remote.stream(HELLO)))
    stream.close()
    stream = remote.stream(HELLO, **LONG)
    next(stream)
    threading.Thread(target=remote.cancel).start()
    assert list(stream)[-1] == Finish("cancelled")
    assert collect(remote.stream(HELLO, preset="greedy")).finish_reason == "stop"


def test_ctrl_c(remote: RemoteExaone4) -> None:
    """Whenever it comes, it is raised, and the next answer is right; a second one does not wait for the process."""
    expected = remote.chat(HELLO, preset="greedy").content

    def ask() -> None:
        remote.prompt(HELLO)
        remote.chat(HELLO, ignore_eos=True, max_tokens=20)

    for moment in random.sample(range(1, steps(ask)), 10):
        for sigint in (Sigint(moment), Sigint(moment, moment + 1, threads=False)):
            with contextlib.suppress(KeyboardInterrupt), sigint:
                ask()
                assert not sigint.told
            assert remote.chat(HELLO, preset="greedy").content == expected, moment


def test_ctrl_c_while_it_loads(servers: list[Server], demo_gguf: Path) -> None:
    def load() -> None:
        open_model(demo_gguf, rpc=servers[0].name, n_ctx=512).close()

    for moment in random.sample(range(1, steps(load)), 5):
        sigint = Sigint(moment)
        with contextlib.suppress(KeyboardInterrupt), sigint:
            load()
            assert not sigint.told


def test_errors_come_through_as_they_are(remote: RemoteExaone4, servers: list[Server], tmp_path: Path) -> None:
    for messages, options, error in (
        ([{"role": "user", "content": "Hello! " * 3000}], {}, ContextOverflow),
        ([{"role": "emperor", "content": ""}], {}, MessageError),
        ([{"role": "user", "content": object()}], {}, MessageError),
        (HELLO, {"no_option": 1}, RequestError),
        (HELLO, {"template_kwargs": {"x": lambda: 0}}, RequestError),
    ):
        with pytest.raises(error) as caught:
            remote.chat(messages, **options)
        assert "\n" not in str(caught.value)
        if isinstance(caught.value, ContextOverflow):
            assert caught.value.needed > caught.value.available
    remote.close()
    (tmp_path / "x.gguf").write_bytes(b"GGUF")
    with pytest.raises(GGUFError):
        open_model(tmp_path / "x.gguf", rpc=servers[0].name)
    with pytest.raises(RuntimeFailure, match="the model is closed"):
        remote.chat(HELLO)


def test_what_is_no_rpc_server_says_nothing(
    servers: list[Server], demo_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exaone4_gguf.runtime.remote.remote.REGISTERING_SECONDS", 3.0)
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        with pytest.raises(RuntimeFailure, match="no answer in 3 s; an rpc-server serves one"):
            open_model(demo_gguf, rpc=f"127.0.0.1:{s.getsockname()[1]}")


def test_the_process_ends_with_its_parent(servers: list[Server], demo_gguf: Path) -> None:
    script = (
        "import sys, time; from exaone4_gguf.runtime.remote.remote import open_model\n"
        f"m = open_model({str(demo_gguf)!r}, rpc={servers[0].name!r}, n_ctx=512)\n"
        "print(m._process._popen.pid, flush=True); next(m.stream([{'role': 'user', 'content': 'Hello!'}],"
        " ignore_eos=True, max_tokens=10**6)); print('on', flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = Path("/proc", parent.stdout.readline().strip())
    assert parent.stdout.readline() == "on\n"
    assert worker.exists()
    parent.kill()
    parent.communicate()
    for _ in range(100):
        if not worker.exists():
            return
        time.sleep(0.05)
    raise AssertionError("the worker lives on")


def test_chat_over_servers(run: Run, servers: list[Server], demo_gguf: Path) -> None:  # noqa: F811
    asked = ("-p", "Hello!", "--preset", "greedy", "-c", "512")
    code, out, _ = run("chat", demo_gguf, *asked, "--rpc", ",".join(s.name for s in servers))
    assert (code, out.strip()) == (0, CONVERSATIONS["greeting-en"].messages[1]["content"])
    servers[0].kill()
    code, out, err = run("chat", demo_gguf, *asked, "--rpc", ",".join(s.name for s in servers))
    assert (code, out) == (2, "")
    assert err.startswith(f"exaone4-gguf: no RPC server answers at {servers[0].name}")


def test_without_servers_it_is_in_this_process(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_model(demo_gguf, n_ctx=512) as model:
        assert type(model) is Exaone4
    with pytest.raises(RequestError, match="is no server"):
        open_model(demo_gguf, rpc="")
