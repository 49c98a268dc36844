"""How fast a conversation streams, against llama.cpp's raw rate on the same file, in the same run.

    python -m benchmarks.streaming FILE.gguf [--depth 1024 --depth 4096] [--runs 3] [--llama-bench PROGRAM]

For each depth: tokens per second of ``Exaone4.stream`` with that many tokens in the cache, against
``llama_cpp.Llama.generate``, ``Llama.create_chat_completion`` and llama-bench at the same depth with the same number of
threads; they take turns. Then the time to the first token of the tenth turn of a conversation of 2,000 tokens, against
evaluating only the new tokens, and against ``create_chat_completion``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.measure import in_turns, save_plot
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.llama.context import Context
from exaone4_gguf.runtime.llama.machine import physical_cores

_MEASURED = 128  # tokens that are timed at each depth
_BEHIND = 2000  # tokens of the conversation before the tenth turn
_WORD = " word"


def rate(tokens: Iterator[Any], count: int) -> float:
    """Items per second of an iterator, its first item not counted."""
    next(tokens)
    began = time.perf_counter()
    n = sum(1 for _ in islice(tokens, count))
    return n / (time.perf_counter() - began)


def asked(text: str) -> list[dict[str, str]]:
    """One user's turn."""
    return [{"role": "user", "content": text}]


def stream_rate(model: Exaone4, depth: int) -> float:
    """Tokens per second of the events' stream, from a prompt of about ``depth`` tokens on."""
    messages = asked(_WORD * (depth - 20))
    stream = model.stream(messages, temperature=0, ignore_eos=True, max_tokens=_MEASURED + 1)
    next(stream)
    for _ in stream:
        pass
    return (stream.usage.completion_tokens - 1) / stream.usage.seconds


def raw_rate(raw: Any, prompt: Sequence[int]) -> float:
    """Tokens per second of llama-cpp-python's own loop."""
    return rate(raw.generate(list(prompt), temp=0.0, top_k=1, repeat_penalty=1.0), _MEASURED)


def chat_rate(raw: Any, messages: list[dict[str, str]]) -> float:
    """Tokens per second of llama-cpp-python's own chat."""
    chunks = raw.create_chat_completion(messages, stream=True, temperature=0, max_tokens=_MEASURED)
    next(chunks), next(chunks)
    before, began = raw.n_tokens, time.perf_counter()
    for _ in chunks:
        pass
    return float(raw.n_tokens - before) / (time.perf_counter() - began)


def bench_rate(program: Path, file: Path, depth: int, threads: int) -> float:
    """Tokens per second that llama-bench reports: evaluation alone, without sampling or text."""
    options = ("-p", 0, "-n", _MEASURED, "-d", depth, "-t", threads, "-fa", 1, "-r", 1, "-o", "json")
    command = [str(part) for part in (program, "-m", file, *options)]
    found = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(json.loads(found)[0]["avg_ts"])


def conversation() -> list[dict[str, str]]:
    """Nine turns of about 2,000 tokens together."""
    words = _WORD * (_BEHIND // 18 - 8)
    return [{"role": role, "content": f"{i}{words}"} for i in range(9) for role in ("user", "assistant")]


def first_token_seconds(model: Exaone4, behind: list[dict[str, str]], new: list[dict[str, str]]) -> float:
    """From the request to its first token, and the evaluation of that, with what was before in the cache.

    The first event may take more tokens, as a token need not be a whole character.
    """
    model.context.evaluate(model.prompt(behind).ids)
    began = time.perf_counter()
    for _ in model.stream([*behind, *new], temperature=0, ignore_eos=True, max_tokens=1):
        pass
    return time.perf_counter() - began


def chat_first_token_seconds(raw: Any, behind: list[dict[str, str]], new: list[dict[str, str]]) -> float:
    """The same of llama-cpp-python's own chat, whose cache holds the turns before."""
    raw.create_chat_completion(behind, temperature=0, max_tokens=1)
    began = time.perf_counter()
    raw.create_chat_completion([*behind, *new], temperature=0, max_tokens=1)
    return time.perf_counter() - began


def new_tokens_seconds(context: Context, behind: Sequence[int], whole: Sequence[int]) -> float:
    """The evaluation of the tokens that the last turn adds, and of one more."""
    context.evaluate(behind)
    shared = len(behind)
    began = time.perf_counter()
    context.append(whole[shared:])
    context.append([int(context.logits.argmax())])
    return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--depth", type=int, action="append")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--llama-bench", type=Path, metavar="PROGRAM", help="llama.cpp's own, as one more peer")
    parser.add_argument("--plot", type=Path, help="save a picture (SVG, PNG); needs matplotlib")
    options = parser.parse_args()
    depths = options.depth or [1024, 4096]
    n_ctx, threads = max(*depths, _BEHIND) + 512, physical_cores()
    rows = {}
    with Exaone4(options.file, n_ctx=n_ctx) as model:
        import llama_cpp

        raw = llama_cpp.Llama(
            str(options.file), n_ctx=n_ctx, n_threads=threads, n_threads_batch=threads, flash_attn=True, verbose=False
        )
        for depth in depths:
            rows[f"{depth} tokens"] = at_depth(model, raw, options, depth)
            shown(rows[f"{depth} tokens"], f"depth {depth}, tokens/s")
        shown(first_token(model, raw, options.runs), "first token of the tenth turn, seconds")
        raw.close()
    if options.plot:
        save_plot(options.plot, f"Streaming, {options.file.name}", rows, "tokens per second")


OURS = "Exaone4.stream"


def shown(found: dict[str, float], title: str) -> None:
    """A line for each peer, with its ratio to ours."""
    print(title)
    for peer, value in found.items():
        print(f"    {peer:30}{value:8.3f}   ours to it {found[OURS] / value:6.3f}", flush=True)


def at_depth(model: Exaone4, raw: Any, options: argparse.Namespace, depth: int) -> dict[str, float]:
    """Every peer's rate at one depth."""
    messages = asked(_WORD * (depth - 20))
    prompt = model.prompt(messages).ids
    peers: dict[str, Callable[[], float]] = {
        OURS: lambda: stream_rate(model, depth),
        "Llama.generate": lambda: raw_rate(raw, prompt),
        "Llama.create_chat_completion": lambda: chat_rate(raw, messages),
    }
    if options.llama_bench:
        threads = physical_cores()
        peers["llama-bench"] = lambda: bench_rate(options.llama_bench, options.file, len(prompt), threads)
    return dict(zip(peers, in_turns(options.runs, *peers.values()), strict=True))


def first_token(model: Exaone4, raw: Any, runs: int) -> dict[str, float]:
    """The time to the first token of the tenth turn."""
    behind, new = conversation(), asked("And what else is there to say about all of that?")
    before, whole = (model.prompt(messages).ids for messages in (behind, [*behind, *new]))
    shared = next(i for i, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b)
    context = Context(model.model, n_ctx=model.context.n_ctx, n_threads=physical_cores())
    peers: dict[str, Callable[[], float]] = {
        OURS: lambda: first_token_seconds(model, behind, new),
        "the new tokens alone": lambda: new_tokens_seconds(context, whole[:shared], whole),
        "Llama.create_chat_completion": lambda: chat_first_token_seconds(raw, behind, new),
    }
    found = dict(zip(peers, in_turns(runs, *peers.values()), strict=True))
    context.close()
    return found


if __name__ == "__main__":
    main()
