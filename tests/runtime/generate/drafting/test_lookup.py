"""Guesses from the text itself, against the plainest search there is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exaone4_gguf.runtime.generate.drafting.lookup import LONGEST, SHORTEST, PromptLookup


def searched(text: Sequence[int], most: int) -> list[int] | None:
    """The longest end of the text that stands in it before, the last such place, and what follows."""
    for length in range(min(LONGEST, len(text) - 1), SHORTEST - 1, -1):
        for end in range(len(text) - 1, length - 1, -1):
            if text[end - length : end] == text[-length:]:
                longer = list(text)
                for i in range(most):
                    longer.append(longer[end + i])
                return longer[len(text) :]
    return None


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 20))
def test_it_finds_what_a_plain_search_finds(text: list[int], most: int) -> None:
    draft = PromptLookup().draft(np.array(text, np.int32))
    assert (draft and draft.take(most)) == searched(text, most)


@pytest.mark.parametrize(("length", "kind"), [(2, 2), (3, 2), (4, 4), (7, 4), (8, 8), (20, 8)])
def test_longer_matches_count_apart(length: int, kind: int) -> None:
    text = [*range(100, 100 + length), 1, *range(100, 100 + length)]
    draft = PromptLookup().draft(np.array([9, *text], np.int32))
    assert draft is not None
    assert (draft.kind, draft.take(1)) == (f"lookup of {kind}", [1])
