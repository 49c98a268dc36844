"""The shell commands of a page, and what it says that they print.

A command is a line of an indented block: each line, or where one begins with ``$``, those that do, and what stands
below one is what it prints. In a table a command is a code span of several words behind the first column, which tells
what programs say. ``(*)`` in a command's comment, behind a span or in its column's head marks what is not run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MARK = re.compile(r"#.*\(\*\)")
_SPAN = re.compile(r"`([^`]*)`( \(\*\))?")
_FIGURE = re.compile(r"(?<![\w-])\d[\d.,]*(?: [kMG]B)?")


@dataclass(frozen=True)
class Command:
    """A command of a page, in its line; ``shown`` is what the page says that it prints, empty if nothing."""

    page: str
    line: int
    text: str
    marked: bool
    shown: str = ""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def commands(page: Path) -> list[Command]:
    """All of a page, in its order."""
    found: list[Command] = []
    block: list[tuple[int, str]] = []
    head: list[str] = []
    fenced = False
    for number, line in enumerate([*page.read_text().splitlines(), "the end"], 1):
        fenced ^= line.startswith("```")
        if not fenced and (line.startswith("    ") or (block and not line)):
            block.append((number, line.strip()))
            continue
        found += _of_block(page.name, block)
        block = []
        cells = line.split("|")[1:-1] if line.startswith("|") else []
        if cells and head:
            found += _of_row(page.name, number, cells, head)
        head = head or cells if cells else []
    return found


def _of_block(page: str, block: list[tuple[int, str]]) -> Iterator[Command]:
    has_output = any(line.startswith("$ ") for _, line in block)
    lines = list(block)
    while lines:
        number, text = lines.pop(0)
        if not text:
            continue
        assert text.startswith("$ ") or not has_output, f"{page}:{number}: what prints this?"
        text = text.removeprefix("$ ")
        while text.endswith("\\"):
            text += "\n" + lines.pop(0)[1]
        shown: list[str] = []
        while has_output and lines and not lines[0][1].startswith("$ "):
            shown.append(lines.pop(0)[1])
        yield Command(page, number, text, bool(_MARK.search(text)), "\n".join(shown).strip())


def _of_row(page: str, number: int, cells: list[str], head: list[str]) -> Iterator[Command]:
    for cell, title in zip(cells[1:], head[1:], strict=True):
        for text, mark in _SPAN.findall(cell):
            if re.match(r"[A-Za-z].* ", text):
                yield Command(page, number, text, bool(mark) or "(*)" in title)


def agree(shown: str, printed: str, exact: bool) -> bool:
    """Whether a page shows what was printed. ``...`` stands for anything; figures may differ, unless ``exact``."""
    form = (lambda text: text) if exact else (lambda text: _FIGURE.sub("0", text))
    pattern = ".*".join(re.escape(form(part)) for part in shown.split("..."))
    printed = "\n".join(line.strip() for line in printed.strip().splitlines())
    return re.fullmatch(pattern, form(printed), re.DOTALL) is not None
