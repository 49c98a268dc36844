"""Pastes, byte by byte. At a real terminal they are in test_terminal.py."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from exaone4_gguf.runtime.terminal import paste
from exaone4_gguf.runtime.terminal.paste import END, pasted


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b"one\r\ntwo\rthree\nfour\r\r\n", "one\ntwo\nthree\nfour\n\n"),
        ("안녕\t하세요".encode(), "안녕\t하세요"),
        (b"\x1b[20\x1b[201\x1b\x1b[", "\x1b[20\x1b[201\x1b\x1b["),
        (b"a\x00b\xff", "ab\ufffd"),
    ],
)
def test_a_paste_ends_at_its_marker(pipe: tuple[int, int], raw: bytes, text: str) -> None:
    """What follows is left for whoever reads next."""
    source, sink = pipe
    os.write(sink, raw + END + b"after")
    assert pasted(source) == text
    assert os.read(source, 100) == b"after"


def test_whatever_is_pasted(pipe: tuple[int, int]) -> None:
    """Texts of nothing but parts of markers."""
    source, sink = pipe
    chance = random.Random(1)
    for _ in range(500):
        text = "".join(chance.choice("\x1b[201x") for _ in range(chance.randrange(30)))
        os.write(sink, text.encode() + END + b"\r")
        assert pasted(source) == text
        assert os.read(source, 100) == b"\r"


def test_a_marker_that_does_not_come(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paste, "_SILENCE", 0.01)
    os.write(pipe[1], b"one\rtwo\x1b[20")
    assert pasted(pipe[0]) == "one\ntwo\x1b[20"
