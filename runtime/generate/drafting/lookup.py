"""Guesses from the text itself: what followed when these tokens came last.

Prompt lookup decoding (Saxena 2023, https://github.com/apoorvumang/prompt-lookup-decoding): answers that quote, edit
or sum up what they were given repeat long parts of it. It needs no second model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exaone4_gguf.runtime.generate.drafting.draft import Draft

if TYPE_CHECKING:
    from exaone4_gguf.runtime.generate.drafting.draft import Tokens

SHORTEST, LONGEST = 2, 8
"""Tokens that must have come before as well; a longer match is looked for up to here."""


class PromptLookup:
    """Goes on as the text did after the longest of its ends that stands in it twice, at the last such place."""

    is_free = True

    def draft(self, history: Tokens) -> Draft | None:
        """What followed there; where that reaches the end of the text, it goes round."""
        length, at = _last_match(history)
        if length < SHORTEST:
            return None
        round_ = len(history) - at
        # Longer matches are more often right: they count apart, by powers of two.
        kind = f"lookup of {1 << (length.bit_length() - 1)}"
        return Draft(kind, lambda n: [int(history[at + i % round_]) for i in range(n)])


def _last_match(history: Tokens) -> tuple[int, int]:
    """How many of the last tokens stand in the text before, at most ``LONGEST``, and where the last such place ends."""
    import numpy as np  # here, as importing it takes a tenth of a second

    ends = np.flatnonzero(history[:-1] == history[-1])
    length = at = 0
    while ends.size:
        length, at = length + 1, int(ends[-1]) + 1
        if length == LONGEST:
            break
        ends = ends[ends >= length]
        ends = ends[history[ends - length] == history[len(history) - 1 - length]]
    return length, at
