"""A stop string ends the answer wherever the text is cut."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from exaone4_gguf.runtime.answer.stops import StopStrings
from exaone4_gguf.runtime.events import Content, Event, Finish, Reasoning


def passed(pieces: list[str], stops: list[str]) -> tuple[str, bool]:
    """The content that comes through, and whether a stop string was hit."""
    filter_ = StopStrings(stops)
    events: list[Event] = []
    for piece in pieces:
        events += filter_.pass_on(Content(piece, piece))
        if filter_.hit:
            break
    else:
        events += filter_.pass_on(Finish("stop"))
    assert "".join(e.raw for e in events) == "".join(e.text for e in events if isinstance(e, Content))
    return "".join(e.text for e in events if isinstance(e, Content)), filter_.hit


@given(
    text=st.text("ab한", max_size=30),
    stops=st.lists(st.text("ab한", min_size=1, max_size=4), max_size=3),
    cuts=st.lists(st.integers(0, 30), max_size=8),
)
def test_any_cut_gives_the_text_before_the_first_stop_string(text: str, stops: list[str], cuts: list[int]) -> None:
    borders = sorted({0, *(c for c in cuts if c < len(text)), len(text)})
    pieces = [text[a:b] for a, b in itertools.pairwise(borders)]
    ends = [text.find(stop) for stop in stops if stop in text]
    found, hit = passed(pieces, stops)
    assert hit == bool(ends)
    if hit:
        assert all(stop not in found for stop in stops)
        assert text.startswith(found)
    else:
        assert found == text


def test_whole_texts_are_cut_at_the_first() -> None:
    assert passed(["one two three"], ["two", "three"]) == ("one ", True)


def test_thoughts_are_not_looked_at() -> None:
    filter_ = StopStrings(["x"])
    assert list(filter_.pass_on(Reasoning("axb", "axb"))) == [Reasoning("axb", "axb")]
    assert not filter_.hit


def test_without_stop_strings_everything_passes() -> None:
    assert list(StopStrings([""]).pass_on(Content("a", "a"))) == [Content("a", "a")]
