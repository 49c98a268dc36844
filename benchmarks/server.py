"""How fast a stream is through the server, against the runtime's own on the same file, in the same run.

    python -m benchmarks.server FILE.gguf [--depth 64] [--tokens 128] [--runs 5] [--threads N] [--clients 8]

Tokens per second from the first token to the last, as a client sees them, after a prompt of about ``--depth`` tokens:
of ``Exaone4.stream`` in this process, and of ``exaone4-gguf serve`` in a process of its own, over HTTP. They take
turns. Then how long the server takes to answer ``--clients`` at once, against one after the other.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import in_turns, seconds
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.llama.machine import physical_cores

_WORD = " word"
_FRAME = 20  # tokens that the template adds, about


@contextmanager
def served(file: Path, n_ctx: int, threads: int) -> Iterator[int]:
    """The server in a process of its own, ready; its port."""
    options = ("--port", "0", "-c", str(n_ctx), "-t", str(threads))
    command = [sys.executable, "-m", "exaone4_gguf", "serve", str(file), *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        found = re.search(r":(\d+)$", process.stderr.readline().strip())
        assert found, "it does not listen"
        while " is loaded " not in process.stderr.readline():
            assert process.poll() is None, "it does not load"
        yield int(found[1])
    finally:
        process.terminate()
        process.communicate()


def asked(depth: int) -> list[dict[str, str]]:
    """One user's turn."""
    return [{"role": "user", "content": _WORD * max(1, depth - _FRAME)}]


def own_rate(model: Exaone4, depth: int, tokens: int) -> float:
    """Tokens per second of the runtime's events."""
    events = model.stream(asked(depth), temperature=0, ignore_eos=True, max_tokens=tokens)
    next(events)
    began = time.perf_counter()
    for _ in events:
        pass
    return (events.usage.completion_tokens - 1) / (time.perf_counter() - began)


def streamed(port: int, depth: int, tokens: int) -> Iterator[dict[str, Any]]:
    """What a client sees of a stream."""
    fields = {"stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True, "max_tokens": tokens}
    body = json.dumps({"messages": asked(depth), "temperature": 0, **fields})
    with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("POST", "/v1/chat/completions", body)
        for line in connection.getresponse():
            if line.startswith(b"data: {"):
                yield json.loads(line[6:])


def served_rate(port: int, depth: int, tokens: int) -> float:
    """Tokens per second of the server's chunks, from the first that has content."""
    began = made = 0.0
    for chunk in streamed(port, depth, tokens):
        if not began and chunk["choices"][0]["delta"].get("content"):
            began = time.perf_counter()
        made = (chunk.get("usage") or {}).get("completion_tokens", 0)
    return (made - 1) / (time.perf_counter() - began)


def together(port: int, clients: int, tokens: int) -> tuple[float, float]:
    """Seconds for that many short answers: one after the other, and asked for at once."""

    def ask(i: int) -> None:
        for _ in streamed(port, 30 + i, tokens):
            pass

    def all_by(workers: int) -> float:
        with ThreadPoolExecutor(workers) as pool:
            return seconds(lambda: list(pool.map(ask, range(clients))))

    return all_by(1), all_by(clients)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--depth", type=int, default=64)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=physical_cores(), help="of both; the physical cores")
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    depth, tokens = options.depth, options.tokens
    n_ctx = depth + tokens + 256
    loading = {"n_ctx": n_ctx, "n_threads": options.threads}
    with Exaone4(options.file, **loading) as model, served(options.file, n_ctx, options.threads) as port:
        own_rate(model, depth, 4), served_rate(port, depth, 4)
        own, over_http = in_turns(
            options.runs, lambda: own_rate(model, depth, tokens), lambda: served_rate(port, depth, tokens)
        )
        print(f"tokens/s after {depth} tokens\n    Exaone4.stream {own:8.2f}\n    the server     {over_http:8.2f}")
        print(f"    ratio          {over_http / own:8.3f}", flush=True)
        one_by_one, at_once = together(port, options.clients, tokens // 8)
        print(f"{options.clients} answers of {tokens // 8} tokens, seconds")
        print(f"    one by one     {one_by_one:8.2f}\n    at once        {at_once:8.2f}")


if __name__ == "__main__":
    main()
