"""Answers with guesses are the answers without: the bundled conversations, whatever guesses, with every option."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.demo.conversations import CONVERSATIONS, ROLL_DICE
from exaone4_gguf.errors import RequestError
from exaone4_gguf.runtime import exaone4 as chat_module
from exaone4_gguf.runtime.answer.reply import Reply
from exaone4_gguf.runtime.events import Usage
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.llama.context import Context
from tests.rounding import most_of_a_logprob
from tests.runtime.generate.drafting.guessing import Eager

HELLO = [{"role": "user", "content": "Hello!"}]
EXACT = pytest.mark.parametrize("file", ["Q8_0"], indirect=True)
"""There llama.cpp's kernels give a token among several the logits that they give it alone, nearly everywhere."""
DRAFTERS = ("lookup", "model", "both", "small model")


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is quick on a small model is no matter here: as much is guessed as may be."""
    monkeypatch.setattr(chat_module, "Pace", Eager)


@pytest.fixture(scope="module")
def file(request: pytest.FixtureRequest, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(demo, tmp_path_factory.mktemp("answers") / "model.gguf", request.param).paths[0]


@pytest.fixture(scope="module")
def plain(file: Path) -> Iterator[Exaone4]:
    with Exaone4(file, n_ctx=2048, n_threads=1) as model:
        yield model


@pytest.fixture(scope="module", params=DRAFTERS)
def guessing(
    request: pytest.FixtureRequest, file: Path, demo: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Exaone4]:
    """The model with a drafter: itself, or a coarser copy of itself, which is often wrong."""
    options: dict[str, Any] = {"draft": file}
    if request.param == "small model":
        options = {"draft": convert(demo, tmp_path_factory.mktemp("small") / "small.gguf", "IQ4_XS").paths[0]}
    elif request.param == "both":
        options = {"draft": file, "lookup": True, "draft_max": 8}
    elif request.param == "lookup":
        options = {"lookup": True}
    with Exaone4(file, n_ctx=2048, n_threads=1, **options) as model:
        yield model


def told(reply: Reply) -> tuple[Any, ...]:
    """All of a reply but what is made anew each time."""
    calls = [(call.name, call.arguments) for call in reply.tool_calls]
    ids = [token.id for token in reply.logprobs or ()]
    return reply.content, reply.reasoning_content, calls, reply.finish_reason, ids, reply.usage.completion_tokens


@pytest.mark.parametrize("file", ["Q8_0", "Q4_K_M"], indirect=True)
def test_every_bundled_conversation(plain: Exaone4, guessing: Exaone4) -> None:
    drafted = accepted = 0
    for talk in CONVERSATIONS.values():
        for turn in talk.turns():
            options: dict[str, Any] = {"reasoning": talk.reasoning, "temperature": 0, "logprobs": 0}
            reply = guessing.chat(turn.messages, talk.tools, **options)
            assert told(reply) == told(plain.chat(turn.messages, talk.tools, **options))
            drafted, accepted = drafted + reply.usage.drafted_tokens, accepted + reply.usage.accepted_tokens
    assert drafted > 50
    assert 0 < accepted <= drafted


SCHEMA = {
    "type": "json_schema",
    "json_schema": {"schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
}


@EXACT
@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 1.5, "seed": 3, "max_tokens": 40},
        {"temperature": 1.0, "seed": 4, "top_k": 0, "ignore_eos": True, "max_tokens": 60},
        {"temperature": 0.8, "seed": 5, "presence_penalty": 1.5, "max_tokens": 40},
        {"temperature": 0, "reasoning": True, "reasoning_budget": 5, "max_tokens": 60},
        {"temperature": 0, "reasoning": True, "reasoning_minimum": 60, "max_tokens": 100},
        {"temperature": 0, "reasoning": True, "thought_switching_penalty": 3.0, "max_tokens": 60},
        {"temperature": 0, "response_format": SCHEMA, "max_tokens": 60},
        {"temperature": 0, "tools": [ROLL_DICE], "tool_choice": "required"},
        {"temperature": 0, "stop": "demo"},
        {"temperature": 0, "max_tokens": 1},
        {"temperature": 0, "max_tokens": 2},
    ],
    ids=lambda options: "-".join(options),
)
def test_every_option(options: dict[str, Any], plain: Exaone4, guessing: Exaone4) -> None:
    """Also with a seed: each token draws once, guessed or not.

    Where a processor's kernels round a token among several otherwise than alone, a draw may fall to another token:
    then the likeliest ones at that place have the same probabilities all the same.
    """
    options = {"logprobs": 5} | options
    one, other = guessing.chat(HELLO, **options), plain.chat(HELLO, **options)
    pairs = zip(one.logprobs or (), other.logprobs or (), strict=False)
    parting = next(((a, b) for a, b in pairs if a.id != b.id), None)
    if parting is None:
        assert told(one) == told(other)
        return
    likely, theirs = ({top.id: top.logprob for top in token.top} for token in parting)
    shared = likely.keys() & theirs.keys()
    assert shared
    assert max(abs(likely[i] - theirs[i]) for i in shared) <= most_of_a_logprob(plain.model)


@EXACT
def test_a_stream_that_is_closed_leaves_nothing_behind(guessing: Exaone4, plain: Exaone4) -> None:
    for n in range(1, 6):
        stream = guessing.stream(HELLO, temperature=0)
        list(itertools.islice(stream, n))
        stream.close()
    options: dict[str, Any] = {"temperature": 0, "logprobs": 0}
    assert told(guessing.chat(HELLO, **options)) == told(plain.chat(HELLO, **options))


@EXACT
def test_nothing_is_guessed_unless_asked_for(plain: Exaone4) -> None:
    usage = plain.chat(HELLO, temperature=0).usage
    assert (usage.drafted_tokens, usage.accepted_tokens, usage.speedup) == (0, 0, None)


@EXACT
@pytest.mark.parametrize("most", [0, 49, 1.5, True])
def test_the_most_guesses(most: Any, file: Path) -> None:
    with pytest.raises(RequestError, match="draft_max is .*; it must be a whole number from 1 to 48"):
        Exaone4(file, n_ctx=256, lookup=True, draft_max=most)


def ids_of(model: Exaone4, prompt: list[int], n: int) -> tuple[list[int], Usage]:
    answer = model.complete(prompt, temperature=0, logprobs=0, ignore_eos=True, max_tokens=n)
    list(answer)
    return [token.id for token in answer.logprobs or ()], answer.usage


@pytest.mark.parametrize("type", ["F32", "BF16", "Q8_0", "Q4_K_M"])
def test_random_weights_differ_only_where_two_tokens_are_as_good_as_equal(
    type: str, full: Path, tmp_path: Path
) -> None:
    """llama.cpp's kernels for one token and for several round differently, so that the logits differ a little.

    With random weights many choices are close. Where the texts part, the two tokens' logits are no further apart than
    those of two ways to evaluate one prompt: whole, and token by token.
    """
    file = convert(full, tmp_path / "a.gguf", type).paths[0]
    prompt = list(range(300, 360))
    with Exaone4(file, n_ctx=512, n_threads=1) as without, Exaone4(file, n_ctx=512, n_threads=1, lookup=True) as model:
        (ids, _), (guessed, usage) = (ids_of(m, prompt, 150) for m in (without, model))
        assert usage.drafted_tokens > 0
        parting = next((i for i, (a, b) in enumerate(zip(ids, guessed, strict=True)) if a != b), None)
        if parting is None:
            return
        text = [*prompt, *ids[:parting]]
        whole, alone = (logits_after(without.context, text, step) for step in (len(text), 1))
        noise = np.abs(whole - alone).max()
        assert alone[ids[parting]] - alone[guessed[parting]] <= 2 * noise


def logits_after(context: Context, text: list[int], step: int) -> Any:
    context.evaluate([5])
    context.rewind(0)
    for first in range(0, len(text), step):
        context.append(text[first : first + step])
    return context.logits.copy()
