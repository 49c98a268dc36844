"""Answers that mean the same are the same."""

from __future__ import annotations

import pytest

from exaone4_gguf.runtime.answer.voting import final_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("So it is 1,440.", "1440.0"),
        ("1,440 minutes", "1440.0"),
        ("The answer is **3.9**.", "3.9"),
        ("It costs $5, not $4!", "4.0"),
        ("Well.\n\nYES\n", "yes"),
        ("", ""),
    ],
)
def test_final_answers(text: str, answer: str) -> None:
    assert final_answer(text) == answer
