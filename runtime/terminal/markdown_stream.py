"""Markdown on a terminal while it is being written.

A block (a paragraph, a list, a table, code) is printed for good when the next one begins: only then is it known how
it looks. The block that grows is shown meanwhile, its last lines if it is higher than the screen, and painted over.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import ClassVar

from markdown_it import MarkdownIt
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.constrain import Constrain
from rich.control import Control
from rich.live import Live
from rich.markdown import BlockQuote, CodeBlock, ListItem, Markdown, MarkdownElement
from rich.segment import ControlType, Segment
from rich.style import Style
from rich.syntax import Syntax

from exaone4_gguf.runtime.terminal.mathematics import with_mathematics

MAX_WIDTH = 100
"""Longer lines are hard to read, however wide the terminal."""

_REPAINT_EVERY = 0.08  # seconds
_CODE_THEME = "ansi_dark"  # the terminal's own colours


class MarkdownStream:
    """Prints one Markdown text, given in pieces. ``end`` has to be called, or the cursor stays hidden."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._text = ""
        self._is_first = True
        self._printed = 0  # lines
        self._live: Live | None = None
        self._painted_at = 0.0

    def write(self, piece: str) -> None:
        """More of the text."""
        self._text += piece
        if "\n" in piece:
            self._print_complete()
        if time.monotonic() - self._painted_at >= _REPAINT_EVERY:
            self._paint()

    def end(self) -> None:
        """The text is complete."""
        self._print(self._text)
        self._text = ""

    def take_back(self) -> bool:
        """Erase all of it from the screen; False if some has scrolled off, and it stays."""
        self.end()
        if self._printed >= self._console.height:
            return False
        up_and_empty = ((ControlType.CURSOR_UP, 1), (ControlType.ERASE_IN_LINE, 2))
        self._console.control(Control(ControlType.CARRIAGE_RETURN, *up_and_empty * self._printed))
        return True

    def _print_complete(self) -> None:
        starts = block_starts(self._text[: self._text.rfind("\n") + 1])
        if len(starts) > 1:
            lines = self._text.split("\n")
            self._print("\n".join(lines[: starts[-1]]))
            self._text = "\n".join(lines[starts[-1] :])

    def _print(self, text: str) -> None:
        self._erase()
        if text.strip():
            if not self._is_first:
                self._console.print()
                self._printed += 1
            rendered = _rendered(text)
            self._printed += self._rows(rendered)
            self._is_first = False
            # The terminal breaks long lines of code, and copies them whole.
            self._console.print(rendered, crop=False)

    def _rows(self, rendered: RenderableType) -> int:
        """How many rows of the screen it takes, with lines that the terminal breaks."""
        lines = Segment.split_lines(self._console.render(rendered))
        return sum(max(1, -(-Segment.get_line_length(line) // self._console.width)) for line in lines)

    def _paint(self) -> None:
        if not self._text.strip():
            return
        if self._live is None:
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._live.start()
        parts: list[RenderableType] = [_rendered(self._text)]
        if not self._is_first:
            parts.insert(0, "")  # the line between two blocks
        self._live.update(_LastLines(parts), refresh=True)
        self._painted_at = time.monotonic()

    def _erase(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def block_starts(text: str) -> list[int]:
    """The lines at which the blocks begin that stand in no other."""
    tokens = _PARSER.parse(text)
    return [token.map[0] for token in tokens if token.level == 0 and token.map and token.nesting >= 0]


def _rendered(text: str) -> Constrain:
    """The Markdown, with nothing left out: rich drops HTML, hides where links go, and joins lines."""
    markdown = _Markdown("", code_theme=_CODE_THEME, hyperlinks=False, justify="default")
    markdown.parsed = _PARSER.parse(text)
    for token in markdown.parsed:
        if token.type == "html_block":
            token.type, token.info = "fence", "html"
        for child in token.children or ():
            child.type = _SHOWN_AS.get(child.type, child.type)
    return Constrain(markdown, MAX_WIDTH)


def code_blocks(text: str) -> list[str]:
    """The blocks of code in a Markdown text, as they are written."""
    return [token.content.removesuffix("\n") for token in _PARSER.parse(text) if token.type in ("fence", "code_block")]


class _Code(CodeBlock):
    """Code as it is written: no blanks around it, and no line broken."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = Syntax("", self.lexer_name, theme=self.theme).highlight(self.text.plain)
        code.remove_suffix("\n")
        for line in code.split("\n", allow_blank=True):
            yield from console.render(line, options.update(no_wrap=True, overflow="ignore"))


class _Item(ListItem):
    """An item of a list, whose lines may be too long, and are not filled up with blanks."""

    def render_bullet(self, console: Console, options: ConsoleOptions) -> RenderResult:
        style = console.get_style("markdown.item.bullet", default="none")
        yield from _indented(self.elements, " • ", style, console, options)

    def render_number(self, console: Console, options: ConsoleOptions, number: int, last_number: int) -> RenderResult:
        style = console.get_style("markdown.item.number", default="none")
        width = len(str(last_number)) + 2
        yield from _indented(self.elements, f"{number:>{width - 1}} ", style, console, options)


class _Quote(BlockQuote):
    """A quotation, in the same way."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _indented(self.elements, "▌ ", self.style, console, options, again="▌ ")


def _indented(
    elements: RenderableType, first: str, style: Style, console: Console, options: ConsoleOptions, again: str = ""
) -> RenderResult:
    """What stands behind a bullet, a number or a bar."""
    inside = options.update(width=max(1, options.max_width - len(first)), height=None)
    lead = Segment(first, style)
    for line in Segment.split_lines(console.render(elements, inside)):
        yield lead
        yield from line
        yield Segment.line()
        lead = Segment(again or " " * len(first), style)


class _Markdown(Markdown):
    """Markdown whose code can be copied."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "fence": _Code,
        "code_block": _Code,
        "list_item_open": _Item,
        "blockquote_open": _Quote,
    }


_PARSER = with_mathematics(MarkdownIt().enable("strikethrough").enable("table"))

_SHOWN_AS = {"html_inline": "text", "softbreak": "hardbreak"}


class _LastLines:
    """As many of the last lines as the screen holds."""

    def __init__(self, parts: Iterable[RenderableType]) -> None:
        self._parts = parts

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        options = options.update(height=None)
        lines = [line for part in self._parts for line in console.render_lines(part, options, pad=False)]
        for line in lines[-max(1, console.height - 2) :]:
            yield from line
            yield Segment.line()
