"""Self-consistency: many samples, and the answer that most of them share."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from exaone4_gguf.runtime.answer.reply import Reply


class Vote(NamedTuple):
    """``reply`` is the first whose final answer most samples share, ``votes`` how many gave each answer."""

    reply: Reply
    votes: Counter[str]


def final_answer(text: str) -> str:
    """The last number in a text without its separators, else its last line in small letters."""
    numbers = [word.strip(".,:;!?()*$€₩%").replace(",", "") for word in text.split()]
    for word in reversed(numbers):
        try:
            return json.dumps(float(word))
        except ValueError:
            continue
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if lines:
        return lines[-1].casefold()
    return ""
