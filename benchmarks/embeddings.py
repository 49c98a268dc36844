"""How many texts are embedded in a second, against llama.cpp's raw prompt rate on the same file, in the same run.

    python -m benchmarks.embeddings FILE.gguf [--texts 32] [--tokens 64] [--runs 3]

A batch of texts of random tokens through ``Encoder``'s evaluation, against llama.cpp evaluating as many tokens as one
prompt in steps of 512, with logits of the last one alone; they take turns. Beside them, what llama-cpp-python's own
``Llama.embed`` takes for the same batch.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import in_turns, save_plot, seconds
from exaone4_gguf.runtime.encode.encoder import Encoder
from exaone4_gguf.runtime.llama.context import Context
from exaone4_gguf.runtime.llama.machine import physical_cores

OURS, RAW, PEER = "Encoder", "llama.cpp, one prompt", "Llama.embed"


def random_texts(encoder: Encoder, count: int, tokens: int) -> list[str]:
    """Texts of that many tokens each."""
    words = [" one", " two", " red", " blue", " cat", " dog", " sun", " sea"]
    single = [word for word in words if encoder.count_tokens([word]) == 1]
    pick = random.Random(0)
    return ["".join(pick.choices(single, k=tokens)) for _ in range(count)]


def prompt(context: Context, ids: Sequence[int]) -> None:
    """Evaluate one prompt from its beginning, but for a first token, which is left in the cache."""
    context.evaluate(ids[:1])
    context.evaluate(ids)
    _ = context.logits[0]


def processor_seconds(work: Callable[[], object]) -> float:
    """Of one call, on all processors together."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--texts", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--peer", action="store_true", help="measure Llama.embed as well, which takes its time")
    parser.add_argument("--processor", action="store_true", help="processors' seconds, on a machine that is busy")
    parser.add_argument("--plot", type=Path, help="save a picture (SVG, PNG); needs matplotlib")
    options = parser.parse_args()
    total = options.texts * options.tokens
    took_by = processor_seconds if options.processor else seconds
    with Encoder(options.file, n_ctx=max(512, options.tokens), n_threads=options.threads) as encoder:
        texts = random_texts(encoder, options.texts, options.tokens)
        assert encoder.count_tokens(texts) == total
        context = Context(encoder.model, n_ctx=total + 8, n_threads=options.threads)
        ids = [i for text in texts for i in encoder.model.tokenize(text)]
        peers: dict[str, Callable[[], float]] = {
            OURS: lambda: took_by(lambda: encoder.embed(texts)),
            RAW: lambda: took_by(lambda: prompt(context, ids)),
        }
        if options.peer:
            raw = _llama(options, total)
            peers[PEER] = lambda: took_by(lambda: raw.embed(texts))
        encoder.embed(texts[:8])
        took = dict(zip(peers, in_turns(options.runs, *peers.values()), strict=True))
        context.close()
    rates = {peer: options.texts / value for peer, value in took.items()}
    print(f"{options.texts} texts of {options.tokens} tokens, texts a second")
    for peer, rate in rates.items():
        print(f"    {peer:30}{rate:8.3f}   ours to it {rates[OURS] / rate:6.3f}", flush=True)
    if options.plot:
        save_plot(options.plot, f"Embeddings, {options.file.name}", {"texts": rates}, "texts a second")


def _llama(options: argparse.Namespace, total: int) -> Any:
    import llama_cpp

    return llama_cpp.Llama(
        str(options.file),
        embedding=True,
        pooling_type=llama_cpp.LLAMA_POOLING_TYPE_MEAN,
        n_ctx=total + 8,
        n_batch=512,
        n_threads=options.threads,
        n_threads_batch=options.threads,
        verbose=False,
    )


if __name__ == "__main__":
    main()
