"""Whole characters only, however the bytes are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from exaone4_gguf.runtime.text import Utf8Decoder


@given(text=st.text(st.characters(exclude_categories=["Cs"])), size=st.integers(1, 5))
def test_any_cut_gives_the_text(text: str, size: int) -> None:
    raw, decoder = text.encode(), Utf8Decoder()
    pieces = [decoder.decode(raw[i : i + size]) for i in range(0, len(raw), size)]
    assert "".join(pieces) + decoder.finish() == text
    assert "\ufffd" not in "".join(pieces) or "\ufffd" in text


@given(raw=st.binary())
def test_bytes_that_are_no_text_are_marked(raw: bytes) -> None:
    decoder = Utf8Decoder()
    assert decoder.decode(raw) + decoder.finish() == raw.decode("utf-8", errors="replace")
