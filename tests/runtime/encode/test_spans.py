"""Spans of tokens: entities put together, answers found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from transformers import TokenClassificationPipeline

from exaone4_gguf.runtime.encode.spans import TokenLabel, best_span, merged, trimmed

LABELS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "DATE", "B-multi-part")


def tokens(*labels: str) -> list[TokenLabel]:
    return [TokenLabel(label, 0.5, i, i + 1) for i, label in enumerate(labels)]


def spans(*labels: str) -> list[tuple[str, int, int]]:
    return [(s.label, s.start, s.end) for s in merged("x" * len(labels), tokens(*labels))]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (("B-PER", "I-PER", "O", "I-LOC"), [("PER", 0, 2), ("LOC", 3, 4)]),
        (("B-PER", "B-PER", "I-PER"), [("PER", 0, 1), ("PER", 1, 3)]),
        (("B-PER", "I-LOC"), [("PER", 0, 1), ("LOC", 1, 2)]),
        (("DATE", "DATE", "O"), [("DATE", 0, 2)]),
        (("O", "O"), []),
        ((), []),
    ],
)
def test_neighbours_of_one_entity_are_one_span(labels: tuple[str, ...], expected: list[tuple[str, int, int]]) -> None:
    assert spans(*labels) == expected


@settings(deadline=None)
@given(labels=st.lists(st.sampled_from(LABELS), max_size=12))
def test_spans_are_those_of_transformers_pipeline(labels: list[str]) -> None:
    bare = TokenClassificationPipeline.__new__(TokenClassificationPipeline)
    bare.tokenizer = type("T", (), {"convert_tokens_to_string": staticmethod(lambda words: "")})()
    own = [{"entity": t.label, "score": t.score, "word": "", "start": t.start, "end": t.end} for t in tokens(*labels)]
    expected = [(e["entity_group"], e["start"], e["end"]) for e in bare.group_entities(own)]
    assert spans(*labels) == [e for e in expected if e[0] != "O"]


def test_the_blanks_around_a_span_are_not_part_of_it() -> None:
    assert trimmed("in  Seoul .", 2, 10) == (4, 9)
    assert trimmed("a   b", 1, 4) == (1, 4)  # nothing but blanks


def test_a_token_that_stands_for_nothing_is_in_no_span() -> None:
    found = merged("ab", [TokenLabel("X", 1, 0, 0), TokenLabel("X", 0.5, 0, 2), TokenLabel("X", 1, 2, 2)])
    assert [(s.start, s.end, s.score, s.text) for s in found] == [(0, 2, 0.5, "ab")]


@settings(deadline=None)
@given(
    logits=st_numpy.arrays(np.float32, st.tuples(st.just(2), st.integers(1, 12)), elements=st.floats(-4, 4, width=32))
)
@pytest.mark.parametrize("most", [1, 3, 15])
def test_the_best_span_is_the_best_of_all(most: int, logits: np.ndarray) -> None:
    starts, ends = (np.exp(x) / np.exp(x).sum() for x in logits.astype(np.float64))
    all_of_them = [starts[i] * ends[j] for i in range(len(starts)) for j in range(i, min(len(starts), i + most))]
    first, last, score = best_span(logits[0], logits[1], most)
    assert score == pytest.approx(max(all_of_them))
    assert score == pytest.approx(starts[first] * ends[last])
    assert 0 <= last - first < most
