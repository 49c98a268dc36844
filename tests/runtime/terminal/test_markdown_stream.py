"""Markdown as it comes: the same at the end, however it was cut, and nothing of it left out."""

from __future__ import annotations

import io
import random

import pytest
from rich.console import Console

from exaone4_gguf.runtime.terminal import markdown_stream
from exaone4_gguf.runtime.terminal.markdown_stream import MAX_WIDTH, MarkdownStream, block_starts, code_blocks

TEXT = """# 제목

A **bold** word, `code`, a List<String> and a [link](http://example.com).
Another line.

1. first

   more of it
2. second
   - 중첩

| a | b |
|---|---|
| 1 | 둘 |

```python
def f():

    return 1
```

<div>html</div>

> quote

The end"""


def shown(*pieces: str, width: int = 60, terminal: bool = False) -> str:
    file = io.StringIO()
    stream = MarkdownStream(Console(file=file, width=width, height=12, force_terminal=terminal, color_system=None))
    for piece in pieces:
        stream.write(piece)
    stream.end()
    return file.getvalue()


def test_blocks_are_found() -> None:
    assert block_starts(TEXT) == [0, 2, 5, 11, 15, 21, 23, 25]


def test_nothing_is_left_out() -> None:
    text = shown(TEXT, width=90)
    for part in ("제목", "List<String>", "a link (http://example.com).", "중첩", "둘", "return 1", "<div>html</div>"):
        assert part in text
    assert "Another line." in [line.strip() for line in text.splitlines()]
    assert "**" not in text
    assert text.rstrip().endswith("The end")


def test_however_it_is_cut_it_looks_the_same() -> None:
    whole, rng = shown(*TEXT.splitlines(keepends=True)), random.Random(1)
    for _ in range(20):
        cuts = sorted(rng.sample(range(len(TEXT)), 30))
        pieces = [TEXT[a:b] for a, b in zip([0, *cuts], [*cuts, len(TEXT)], strict=True)]
        assert shown(*pieces) == whole
    assert shown(*TEXT) == whole


def test_a_list_is_not_torn() -> None:
    assert shown(*"1. a\n\n2. b\n\n10. c\n").split() == ["1", "a", "2", "b", "3", "c"]


@pytest.mark.parametrize("text", ["", "\n", "  \n\n"])
def test_nothing_is_nothing(text: str) -> None:
    assert shown(text) == ""


def test_what_grows_is_painted_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown_stream, "_REPAINT_EVERY", 0.0)
    text = shown("a ", "b\n\n", "c ", "d", terminal=True)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0  # the cursor comes back
    assert "\x1b[2K" in text


def test_more_than_the_screen_holds_is_not_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve lines high: what grows takes ten of them at most, or it could not be painted over."""
    monkeypatch.setattr(markdown_stream, "_REPAINT_EVERY", 0.0)
    text = shown("```\n", *(f"line {i}\n" for i in range(40)), terminal=True)
    painted = text.split("\x1b[2K")
    assert max(part.count("line") for part in painted[:-1]) <= 10
    assert painted[-1].count("line") == 40


def test_lines_are_not_wider_than_can_be_read() -> None:
    assert max(map(len, shown("word " * 100, width=300).splitlines())) <= MAX_WIDTH


CODE = "def f():\n    return 1  # " + "a long line " * 20 + "\n\n  x  \nend"


def test_code_is_as_it_is_written() -> None:
    """No blanks around it, and no line broken: the terminal breaks it, and gives it back whole."""
    assert shown(f"Text\n\n```python\n{CODE}\n```\n") == f"Text\n\n{CODE}\n"
    in_a_list = shown(f"1. one\n\n   ```\n   {CODE.splitlines()[1]}\n   ```\n2. two")
    assert CODE.splitlines()[1] in in_a_list
    assert "cd /tmp && " + "x" * 200 in shown("> ```\n> cd /tmp && " + "x" * 200 + "\n> ```")


def test_blocks_of_code_are_found() -> None:
    text = f"a\n```sh\nls\n```\n- b\n\n  ~~~\n  {CODE.splitlines()[1].strip()}\n  ~~~\n"
    assert code_blocks(text) == ["ls", CODE.splitlines()[1].strip()]
    assert code_blocks("`a` only") == []
