"""Each control changes the stream of tokens as its paper says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from exaone4_gguf.demo.conversations import CONVERSATIONS
from exaone4_gguf.runtime.answer.parser import StreamParser
from exaone4_gguf.runtime.answer.reply import Reply
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.generate.steering import (
    ReasoningBudget,
    ReasoningMinimum,
    ThoughtSwitchingPenalty,
    ThoughtTracker,
)

QUESTION = CONVERSATIONS["reasoning"].messages[:1]
KOREAN = CONVERSATIONS["reasoning-ko"].messages[:1]


def think(talker: Exaone4, messages: Any = QUESTION, **options: Any) -> Reply:
    return talker.chat(messages, reasoning=True, temperature=0, **{"max_tokens": 300} | options)


def tracking(talker: Exaone4, *, thinking: bool = True) -> ThoughtTracker:
    return ThoughtTracker(talker.model.tokenize, talker.model.text, StreamParser((), thinking))


def test_a_budget_closes_the_thoughts_at_a_sentence(talker: Exaone4) -> None:
    free, bound = think(talker), think(talker, reasoning_budget=5)
    assert free.reasoning_content is not None
    assert bound.reasoning_content == free.reasoning_content.split(". ")[0] + "."
    assert bound.usage.reasoning_tokens < free.usage.reasoning_tokens
    assert bound.finish_reason == "stop"
    assert bound.content


def test_a_budget_never_cuts_a_character(talker: Exaone4) -> None:
    for budget in range(1, 30):
        reply = think(talker, KOREAN, reasoning_budget=budget)
        assert "\ufffd" not in (reply.reasoning_content or "") + (reply.content or "")


def test_a_budget_may_end_with_a_message(talker: Exaone4) -> None:
    reply = think(talker, reasoning_budget=5, reasoning_message="Time is up.")
    assert (reply.reasoning_content or "").endswith("Time is up.")


def test_a_budget_of_zero_is_no_reasoning_and_minus_one_is_no_budget(talker: Exaone4) -> None:
    none = think(talker, reasoning_budget=0)
    assert (none.reasoning_content, none.content) == (None, CONVERSATIONS["no-reasoning"].messages[1]["content"])
    assert think(talker, reasoning_budget=-1).message == think(talker).message


def test_a_budget_gives_in_after_its_grace(talker: Exaone4) -> None:
    """Where no sentence ends."""
    tokenize, piece = talker.model.tokenize, talker.model.piece
    tracker = tracking(talker)
    budget = ReasoningBudget(tracker, 3, tokenize, piece, grace=4)
    closing: list[int] = []
    for token in tokenize("a b c d e f g h i j k l m n"):
        tracker.see(token)
        if closing := list(budget.follow(token)):
            break
    assert tracker.count == 3 + 4
    assert b"".join(map(piece, closing)) == b"\n</think>\n\n"
    assert not budget.follow(closing[0])


def test_a_minimum_withholds_the_end_and_goes_on_with_wait(talker: Exaone4) -> None:
    free = think(talker)
    forced = think(talker, reasoning_minimum=free.usage.reasoning_tokens + 5)
    assert (forced.reasoning_content or "").startswith(f"{free.reasoning_content}\nWait")
    assert forced.usage.reasoning_tokens > free.usage.reasoning_tokens
    assert think(talker, reasoning_minimum=3).message == free.message


def test_a_minimum_lets_the_end_come_afterwards(talker: Exaone4) -> None:
    tracker = tracking(talker)
    minimum = ReasoningMinimum(tracker, 2, talker.model.tokenize, talker.model.end_tokens)
    close = tracker.closing[0]
    assert minimum.replace(close)
    assert minimum.replace(min(talker.model.end_tokens))
    for token in talker.model.tokenize("a b"):
        tracker.see(token)
    assert minimum.replace(close) is None


def test_a_switch_of_thoughts_is_less_likely_while_the_thought_is_young(talker: Exaone4) -> None:
    """The token that completes a switch word, after those that begin it, and no other."""
    tokenize = talker.model.tokenize
    tracker = tracking(talker)
    penalty = ThoughtSwitchingPenalty(tracker, tokenize, strength=3.0, span=20)
    *before, last = tokenize(" However")
    logits = np.zeros(talker.model.n_vocab, np.float32)
    see(tracker, penalty, before)
    penalty.adjust(logits)
    assert logits[last] == -3
    assert logits[tokenize("bigger")[0]] == 0
    see(tracker, penalty, tokenize(" a") * 20 + before)
    logits[:] = 0
    penalty.adjust(logits)
    assert not logits.any()  # the span is over
    see(tracker, penalty, [last, *before])
    penalty.adjust(logits)
    assert logits[last] == -3  # another thought has begun


def see(tracker: ThoughtTracker, steering: ThoughtSwitchingPenalty, tokens: list[int]) -> None:
    for token in tokens:
        tracker.see(token)
        steering.follow(token)


def test_the_penalty_changes_what_is_said(talker: Exaone4) -> None:
    """The demo's thought has no switch word; with its own first word as one, it begins otherwise."""
    free = think(talker)
    assert (free.reasoning_content or "").startswith("Both")
    assert think(talker, thought_switching_penalty=3.0).message == free.message
    other = think(talker, thought_switching_penalty=30.0, thought_switching_words=["Both"])
    assert not (other.reasoning_content or "").startswith("Both")
    late = think(talker, thought_switching_penalty=30.0, thought_switching_words=["decimals"], thought_switching_span=1)
    assert late.message == free.message


def test_thoughts_are_followed_by_their_tags(talker: Exaone4) -> None:
    """Opened by the first thing that the model writes; later the tag is text."""
    for text in ("<think>bc</think>d", "a<think>bc</think>d", "<think>a</think><think>b"):
        tracker = tracking(talker, thinking=False)
        states = []
        for token in talker.model.tokenize(text):
            tracker.see(token)
            states.append(tracker.thinking)
        assert states[0] is text.startswith("<think>")
        assert any(states) is text.startswith("<think>")
        assert states[-1] is False


def test_self_consistency_takes_the_majority(talker: Exaone4) -> None:
    reply, votes = talker.vote(QUESTION, n=3, temperature=0, seed=1)
    assert reply.content == CONVERSATIONS["no-reasoning"].messages[1]["content"]
    assert votes.most_common(1)[0][1] == 3
    single = talker.vote(QUESTION, n=2, normalize=lambda text: text[:1], temperature=0)
    assert (single.votes, single.reply.content) == ({"3": 2}, reply.content)


SUBPROCESS = """
import sys
from exaone4_gguf import Exaone4
model = Exaone4(sys.argv[1], n_ctx=1024)
question = [{"role": "user", "content": "Roll D6 twice!"}]
tool = {"type": "function", "function": {"name": "f", "parameters": {
    "type": "object", "properties": {"s": {"type": "string"}}, "required": ["s"]}}}
form = {"type": "json_schema", "json_schema": {"schema": {"const": "a<think>b"}}}
text = {"type": "json_schema", "json_schema": {"schema": {"type": "string", "minLength": 50, "maxLength": 60}}}
wild = {"temperature": 1.0, "top_k": 0}
for seed in range(int(sys.argv[2])):
    model.chat(question, response_format=form, temperature=2.0, seed=seed, max_tokens=60)
    model.chat(question, [tool], tool_choice="required", seed=seed, max_tokens=150, **wild)
    model.chat(question, response_format={"type": "json_object"}, seed=seed, max_tokens=150, **wild)
    model.chat(question, [tool], lazy_grammar=True, reasoning_budget=5, seed=seed, max_tokens=150, **wild)
    model.chat(question, response_format=text, reasoning_minimum=100, seed=seed, max_tokens=150, **wild)
    model.chat(question, [tool], tool_choice="f", reasoning=True, reasoning_budget=5, seed=seed, max_tokens=150, **wild)
"""


def test_no_control_interferes_with_a_grammar(demo_gguf: Path) -> None:
    """llama.cpp ends the process on a token that a grammar does not allow, so this runs in one of its own."""
    subprocess.run([sys.executable, "-c", SUBPROCESS, str(demo_gguf), "12"], check=True, timeout=300)
