"""Every token goes with the piece in which it begins."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exaone4_gguf.runtime.answer.token_places import TokenSpans
from exaone4_gguf.runtime.events import Content, Event, Finish, Reasoning, Token
from exaone4_gguf.runtime.text import Utf8Decoder


def cut(data: st.DataObject, whole: bytes) -> list[bytes]:
    """Some bytes, in pieces of one to four."""
    pieces = []
    while whole:
        size = data.draw(st.integers(1, 4))
        pieces.append(whole[:size])
        whole = whole[size:]
    return pieces


@given(st.text(max_size=30), st.data())
def test_no_token_is_lost_however_text_and_bytes_are_cut(text: str, data: st.DataObject) -> None:
    pieces = [Token(i, piece, 0.0) for i, piece in enumerate(cut(data, text.encode()))]
    spans, decoder = TokenSpans(), Utf8Decoder()
    for token in pieces:
        spans.came(token, decoder.decode(token.piece))
    told, left = [], text
    while left:
        size = data.draw(st.integers(1, 5))
        event = spans.told(Content(left[:size], left[:size]))
        assert isinstance(event, Content)
        told.append(event)
        left = left[size:]
    assert [token for event in told for token in event.tokens] == pieces
    began = 0
    for event in told:
        for token in event.tokens:
            start = len(b"".join(p.piece for p in pieces[: token.id]))
            assert began <= start < began + len(event.raw.encode())
        began += len(event.raw.encode())


def test_tokens_of_thoughts_and_tags_are_nobodys() -> None:
    spans = TokenSpans()
    texts = ["Hm", "</think>", "\n\n", "Yes", "."]
    for i, text in enumerate(texts):
        spans.came(Token(i, text.encode(), 0.0), text)
    events: list[Event] = [
        Reasoning("Hm", "Hm"),
        Reasoning("", "</think>"),
        Content("Yes", "\n\nYes"),
        Content(".", "."),
        Finish("stop"),
    ]
    told = [spans.told(event) for event in events]
    assert [[t.id for t in event.tokens] for event in told if isinstance(event, Content)] == [[2, 3], [4]]
