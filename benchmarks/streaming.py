"""How fast a conversation streams, against llama.cpp's raw rate on the same file, in the same run.

    python -m benchmarks.streaming FILE.gguf [--depth 1024 --depth 4096] [--runs 3]

For each depth: tokens per second of ``Exaone4.stream`` with that many tokens in the cache, against
``llama_cpp.Llama.generate`` at the same depth with the same number of threads; they take turns. Then the time to the
first token of the tenth turn of a conversation of 2,000 tokens, against evaluating only the new tokens.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from exaone4_gguf.runtime.chat import Exaone4
from exaone4_gguf.runtime.context import Context
from exaone4_gguf.runtime.machine import physical_cores

_MEASURED = 128  # tokens that are timed at each depth
_BEHIND = 2000  # tokens of the conversation before the tenth turn
_WORD = " word"


def rate(tokens: Iterator[Any], count: int) -> float:
    """Items per second of an iterator, its first item not counted."""
    next(tokens)
    began = time.perf_counter()
    n = sum(1 for _ in islice(tokens, count))
    return n / (time.perf_counter() - began)


def in_turns(runs: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each, measured one after the other so that all see the same machine."""
    found = [[measure() for measure in measures] for _ in range(runs)]
    return [statistics.median(values) for values in zip(*found, strict=True)]


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
    assert model.usage is not None
    return (model.usage.completion_tokens - 1) / model.usage.seconds


def raw_rate(raw: Any, prompt: Sequence[int]) -> float:
    """Tokens per second of llama-cpp-python's own loop."""
    return rate(raw.generate(list(prompt), temp=0.0, top_k=1, repeat_penalty=1.0), _MEASURED)


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
    options = parser.parse_args()
    depths = options.depth or [1024, 4096]
    n_ctx, threads = max(*depths, _BEHIND) + 512, physical_cores()
    with Exaone4(options.file, n_ctx=n_ctx) as model:
        import llama_cpp

        raw = llama_cpp.Llama(
            str(options.file), n_ctx=n_ctx, n_threads=threads, n_threads_batch=threads, flash_attn=True, verbose=False
        )
        for depth in depths:
            print(at_depth(model, raw, depth, options.runs), flush=True)
        raw.close()
        first_token(model, options.runs)


def at_depth(model: Exaone4, raw: Any, depth: int, runs: int) -> str:
    """Both rates at one depth, and their ratio."""
    prompt = model.prompt(asked(_WORD * (depth - 20))).ids
    ours, theirs = in_turns(runs, lambda: stream_rate(model, depth), lambda: raw_rate(raw, prompt))
    return f"depth {len(prompt):5}: {ours:6.2f} tokens/s, raw {theirs:6.2f}, ratio {ours / theirs:.3f}"


def first_token(model: Exaone4, runs: int) -> None:
    """The time to the first token of the tenth turn."""
    behind, new = conversation(), asked("And what else is there to say about all of that?")
    before, whole = (model.prompt(messages).ids for messages in (behind, [*behind, *new]))
    shared = next(i for i, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b)
    context = Context(model.model, n_ctx=model.context.n_ctx, n_threads=physical_cores())
    ours, theirs = in_turns(
        runs,
        lambda: first_token_seconds(model, behind, new),
        lambda: new_tokens_seconds(context, whole[:shared], whole),
    )
    context.close()
    print(f"first token after {shared} tokens, {len(whole) - shared} new: {ours:.3f} s, raw {theirs:.3f} s, ", end="")
    print(f"ratio {ours / theirs:.3f}")


if __name__ == "__main__":
    main()
