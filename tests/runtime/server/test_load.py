"""Many clients at once, many requests one after the other: all get their answers, and nothing is left behind.

EXAONE4_CASES is the number of requests in a row, 96 without it; the bar is at 1,000.
"""

from __future__ import annotations

import gc
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.demo.conversations import CONVERSATIONS, ROLL_DICE
from exaone4_gguf.runtime.server.serve import Server
from exaone4_gguf.runtime.server.service import PREPARING
from tests.runtime.server.running import chat, connection, post, request, running, wait_until

CLIENTS = 64
IN_A_ROW = max(96, int(os.environ.get("EXAONE4_CASES", "0")))
STEP = 24
THREADS = 2 + PREPARING
"""The server's own: the loop, the model, and those that make prompts."""


def asks(name: str) -> Callable[[Server, bool], None]:
    """A client that asks for one of the bundled conversations, and looks at all of the answer."""
    conversation = CONVERSATIONS[name]
    question, answer = conversation.messages[0]["content"], conversation.messages[1]
    fields = {"tools": [ROLL_DICE]} if conversation.tools else {}
    thinks = {"chat_template_kwargs": {"enable_thinking": conversation.reasoning}}

    def ask(server: Server, stream: bool) -> None:
        given = chat(server, question, stream=stream, **fields, **thinks)
        assert given.status == 200
        if stream:
            deltas = [event["choices"][0]["delta"] for event in given.events if event["choices"]]
            content, thoughts = ("".join(d.get(key) or "" for d in deltas) for key in ("content", "reasoning_content"))
            called = sum("id" in call for delta in deltas for call in delta.get("tool_calls", ()))
        else:
            message = given.json["choices"][0]["message"]
            content, thoughts = message["content"] or "", message.get("reasoning_content", "")
            called = len(message.get("tool_calls", ()))
        assert (content, thoughts) == (answer["content"] or "", answer.get("reasoning_content", ""))
        assert called == len(answer.get("tool_calls", ()))

    return ask


def hangs_up(server: Server, stream: bool) -> None:
    """A client that goes away midway, or before its turn."""
    made = connection(server)
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello!"}], "ignore_eos": True, "stream": stream}
    made.request("POST", "/v1/chat/completions", json.dumps(body))
    with suppress(TimeoutError):
        if stream:
            assert made.sock
            made.sock.settimeout(0.3)
            made.sock.recv(500)
    made.close()


def test_many_clients_of_which_a_third_hangs_up(server: Server) -> None:
    names = list(CONVERSATIONS)
    clients = [hangs_up if i % 3 == 0 else asks(names[i % len(names)]) for i in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [pool.submit(client, server, i % 2 == 0) for i, client in enumerate(clients)]
        for each in asked:
            each.result()
    wait_until(lambda: b"exaone4_requests_running 0" in request(server, "GET", "/metrics").body)
    asks("greeting-en")(server, False)


def resident() -> int:
    """Bytes of memory of this process that are its own."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from Linux's /proc")
def test_nothing_grows_with_requests(demo_gguf: Path) -> None:
    """Of all kinds: answers, streams, wrong requests, clients that hang up."""
    kinds: list[Callable[[Server], object]] = [
        lambda server: asks("reasoning")(server, False),
        lambda server: asks("dice")(server, True),
        lambda server: chat(server, logprobs=True, top_logprobs=5),
        lambda server: chat(server, tools=[ROLL_DICE], tool_choice="required", max_tokens=30),
        lambda server: chat(server, temperature="wrong"),
        lambda server: post(server, "/v1/completions", {"prompt": ["a", "b"], "n": 2, "max_tokens": 3}),
        lambda server: post(server, "/tokenize", b"[" * 10_000),
        lambda server: hangs_up(server, True),
    ]
    before = threading.active_count()
    with running(demo_gguf) as server:
        seen = []
        for i in range(IN_A_ROW):
            kinds[i % len(kinds)](server)
            if i % STEP == STEP - 1:
                wait_until(lambda: b"exaone4_requests_running 0" in request(server, "GET", "/metrics").body)
                gc.collect()
                seen.append((resident(), threading.active_count(), len(os.listdir("/proc/self/fd"))))
    memory, threads, files = zip(*seen, strict=True)
    assert max(threads) <= before + THREADS
    assert files[-1] <= files[0] + 2
    assert memory[-1] - memory[0] < 4 << 20, [m >> 10 for m in memory]
