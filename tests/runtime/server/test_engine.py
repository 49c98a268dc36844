"""The queue, the clock, and clients that hang up."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.runtime.server.serve import Server
from tests.runtime.server.running import chat, connection, request, running, wait_until

LONG: dict[str, Any] = {"ignore_eos": True, "max_tokens": 3900}
LARGE = {"n_ctx": 4096}
"""A context in which a long answer takes some seconds."""


def metric(server: Server, name: str) -> float:
    lines = request(server, "GET", "/metrics").body.decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"exaone4_{name} "))


@contextmanager
def asked(server: Server, **fields: Any) -> Iterator[http.client.HTTPConnection]:
    """A long request that is under way; hung up at the end."""
    made = connection(server)
    body = {"messages": [{"role": "user", "content": "Hello!"}], "temperature": 0, **LONG, **fields}
    made.request("POST", "/v1/chat/completions", json.dumps(body))
    try:
        yield made
    finally:
        if made.sock:
            made.sock.close()
        made.close()


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_stops_its_generation(demo_gguf: Path, stream: bool) -> None:
    with running(demo_gguf, loading=LARGE) as server:
        with asked(server, stream=stream) as made:
            wait_until(lambda: metric(server, "requests_running") == 1)
            if stream:
                made.getresponse().read(100)
        wait_until(lambda: metric(server, "requests_running") == 0)
        assert metric(server, "requests_cancelled_total") == 1
        assert metric(server, "completion_tokens_total") < 3000
        assert chat(server).json["choices"][0]["finish_reason"] == "stop"


def test_a_client_that_hangs_up_in_the_queue_is_forgotten(demo_gguf: Path) -> None:
    with running(demo_gguf, loading=LARGE) as server, asked(server):
        wait_until(lambda: metric(server, "requests_running") == 1)
        with asked(server), asked(server, stream=True):
            wait_until(lambda: metric(server, "requests_waiting") == 2)
        wait_until(lambda: metric(server, "requests_waiting") == 0)
        assert metric(server, "requests_running") == 1


def test_a_full_queue(demo_gguf: Path) -> None:
    with running(demo_gguf, loading=LARGE, max_queue=1) as server, asked(server):
        wait_until(lambda: metric(server, "requests_running") == 1)
        with asked(server):
            wait_until(lambda: metric(server, "requests_waiting") == 1)
            answer = chat(server)
            assert (answer.status, answer.error["code"]) == (429, "queue_full")
            assert answer.error["type"] == "rate_limit_error"
            assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_what_takes_too_long_ends_as_at_a_limit(demo_gguf: Path) -> None:
    with running(demo_gguf, loading=LARGE, timeout=0.5) as server:
        streamed = chat(server, stream=True, **LONG).events
        assert streamed[-1]["choices"][0]["finish_reason"] == "length"
        whole = chat(server, **LONG).json
        assert whole["choices"][0]["finish_reason"] == "length"
        assert 0 < whole["usage"]["completion_tokens"] < LONG["max_tokens"]
        assert metric(server, "requests_timed_out_total") == 2


def test_what_waits_too_long_is_told_to_come_again(demo_gguf: Path) -> None:
    with running(demo_gguf, loading=LARGE) as server, asked(server):
        wait_until(lambda: metric(server, "requests_running") == 1)
        server.service.settings = replace(server.service.settings, timeout=0.1)
        for stream in (False, True):
            answer = chat(server, stream=stream)
            assert (answer.status, answer.error["code"]) == (503, "timeout")
            assert answer.headers["retry-after"] == "1"
        assert metric(server, "requests_running") == 1


def test_a_bad_request_does_not_wait(demo_gguf: Path) -> None:
    with running(demo_gguf, loading=LARGE) as server, asked(server):
        wait_until(lambda: metric(server, "requests_running") == 1)
        assert chat(server, temperature=-1).status == 400
        assert request(server, "GET", "/v1/models").status == 200
        assert metric(server, "requests_running") == 1


def test_one_program_does_not_keep_another_waiting(demo_gguf: Path) -> None:
    """Ten requests of one are in the queue; another's single one is served among the first."""
    order: list[str] = []

    def ask(server: Server, name: str) -> None:
        body = json.dumps({"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 3, "temperature": 0})
        assert request(server, "POST", "/v1/chat/completions", body.encode(), User_Agent=name).status == 200
        order.append(name)

    with running(demo_gguf, loading=LARGE) as server, ThreadPoolExecutor(11) as pool:
        with asked(server):
            wait_until(lambda: metric(server, "requests_running") == 1)
            for _ in range(10):
                pool.submit(ask, server, "greedy")
            wait_until(lambda: metric(server, "requests_waiting") == 10)
            pool.submit(ask, server, "modest")
            wait_until(lambda: metric(server, "requests_waiting") == 11)
        wait_until(lambda: len(order) == 11)
    assert order.index("modest") <= 4


def test_stopping_finishes_what_has_been_accepted(demo_gguf: Path) -> None:
    with running(demo_gguf, loading=LARGE) as server, ThreadPoolExecutor(2) as pool:
        first = pool.submit(chat, server, **{**LONG, "max_tokens": 1000})
        wait_until(lambda: metric(server, "requests_running") == 1)
        second = pool.submit(chat, server, stream=True)
        wait_until(lambda: metric(server, "requests_waiting") == 1)
        server.stop()
        assert first.result().json["usage"]["completion_tokens"] == 1000
        assert second.result().events[-1]["choices"][0]["finish_reason"] == "stop"
    assert server.socket.fileno() == -1


def test_nothing_is_left_behind(demo_gguf: Path) -> None:
    before = threading.active_count()
    with running(demo_gguf) as server:
        chat(server)
    assert threading.active_count() == before
