"""What guessing ahead brings on this machine, by how often guesses are right.

    python -m benchmarks.drafting FILE.gguf [--draft SMALL.gguf] [--tokens 256] [--depth 64] [--runs 3]

A text of random tokens is evaluated as an answer is, token by token, while a drafter guesses each of them rightly
with a given probability: what it takes does not depend on what the weights say, so random ones do. Guesses cost
nothing, as those of ``--lookup``, or with ``--draft`` what the smaller model takes for them. The number of guesses is
chosen as in a conversation, by what they bring. Each rate is told as its ratio to that of the same text without
guesses; they take turns.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import in_turns, seconds
from exaone4_gguf.runtime.generate.drafting.draft import Draft, Drafter
from exaone4_gguf.runtime.generate.drafting.lookahead import Lookahead
from exaone4_gguf.runtime.llama.context import Context
from exaone4_gguf.runtime.llama.machine import physical_cores
from exaone4_gguf.runtime.llama.model import Model

if TYPE_CHECKING:
    from exaone4_gguf.runtime.generate.drafting.draft import Tokens

PROBABILITIES = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0)


class Prophet:
    """Knows the text, and is wrong as often as it is told to be. With a context it takes the time that this takes."""

    def __init__(self, text: Sequence[int], wrong: float, *, seed: int = 0, small: Context | None = None) -> None:
        self._text, self._wrong, self._small = text, wrong, small
        self._dice = random.Random(seed)
        self.is_free = small is None

    def draft(self, history: Tokens) -> Draft | None:
        """The text's next tokens."""
        at = len(history)
        if self._small:
            self._small.evaluate(history.tolist())
        return Draft("prophet", lambda n: self._take(at, n)) if at < len(self._text) else None

    def _take(self, at: int, n: int) -> list[int]:
        guesses = [t ^ 1 if self._dice.random() < self._wrong else t for t in self._text[at : at + n]]
        if self._small:
            for token in guesses[:-1]:
                self._small.logits.argmax()
                self._small.append([token])
        return guesses


def answer(context: Context, text: Sequence[int], depth: int, drafters: Sequence[Drafter] = ()) -> Lookahead:
    """Evaluate the text from ``depth`` on, as an answer."""
    ahead = Lookahead(context, drafters)
    for i, token in enumerate(text[depth:], depth + 1):
        ahead.logits.argmax()
        ahead.append(token, len(text) - i)
    return ahead


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--draft", type=Path, metavar="SMALL.gguf")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--depth", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=physical_cores())
    options = parser.parse_args()
    depth, size = options.depth, options.depth + options.tokens
    model = Model(options.file)
    dice = random.Random(1)
    text = [dice.randrange(1000, model.n_vocab - 10) for _ in range(size)]
    context = Context(model, n_ctx=size, n_threads=options.threads)
    small = Context(Model(options.draft), n_ctx=size, n_threads=options.threads) if options.draft else None
    told: dict[float, Lookahead] = {}

    def took(probability: float | None) -> float:
        """Seconds of the answer alone."""
        drafters = [] if probability is None else [Prophet(text, 1 - probability, small=small)]
        for each in (context, small):
            if each:
                each.evaluate(text[:depth])
        found: list[Lookahead] = []
        spent = seconds(lambda: found.append(answer(context, text, depth, drafters)))
        if probability is not None:
            told[probability] = found[0]
        return spent

    took(None)
    plain, *others = in_turns(options.runs, *(lambda p=p: took(p) for p in (None, *PROBABILITIES)))
    print(f"{options.tokens} tokens, {options.tokens / plain:.2f} a second without guesses")
    print("right    tokens/s   ratio   guesses evaluated, right")
    for p, spent in zip(PROBABILITIES, others, strict=True):
        gain = told[p].gain
        print(f"{p:5.2f}  {options.tokens / spent:10.2f}  {plain / spent:6.2f}   {gain.drafted:9,} {gain.accepted:9,}")


if __name__ == "__main__":
    main()
