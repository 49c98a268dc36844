r"""LaTeX in Markdown, which has no word for it: kept as it is written, where Markdown would take away its backslashes.

``\( \)``, ``\[ \]``, ``$ $``, ``$$ $$`` and ``\begin{x} \end{x}`` are text to their ends, on one line or several. A
dollar sign opens as in pandoc: no blank follows it, none stands before the one that closes, and no digit after that.
What holds ``**`` is bold text between two prices.
"""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

_LONGEST = 4096
"""Characters of a formula; what is longer is ordinary text."""

_FORMULA = re.compile(
    r"\\\(.*?\\\)|\\\[.*?\\\]|\$\$.+?\$\$|\$(?![\s$])(?:(?!\*\*)[^$\n])*?(?<![\s\\])\$(?!\d)|\\begin\{(\w+\*?)\}.*?\\end\{\1\}",
    re.DOTALL,
)
_KEPT = re.compile(r"\\[()\[\]{}]")  # escapes that no Markdown needs, and every formula
_BEGINS = re.compile(r"\\\[|\$\$|\\begin\{\w+\*?\}")


def with_mathematics(parser: MarkdownIt) -> MarkdownIt:
    """The parser, which leaves formulas alone."""
    parser.inline.ruler.before("escape", "mathematics", _inline)
    also_ends: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    parser.block.ruler.before("fence", "mathematics", _block, also_ends)
    return parser


def _inline(state: StateInline, silent: bool) -> bool:
    if state.src[state.pos] not in "\\$":
        return False
    end = min(state.posMax, state.pos + _LONGEST)
    found = _FORMULA.match(state.src, state.pos, end) or _KEPT.match(state.src, state.pos, end)
    if found is None:
        return False
    if not silent:
        state.pending += found[0]
    state.pos = found.end()
    return True


def _block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A formula that begins a line: its lines are no list, though they begin with a sign. It may still be growing."""
    if state.is_code_block(start) or not _BEGINS.match(_line(state, start)):
        return False
    last = start
    while last < end and not state.isEmpty(last):
        if _FORMULA.match("\n".join(_line(state, n) for n in range(start, last + 1))):
            break
        last += 1
    if last < end and state.isEmpty(last):
        return False  # no formula has a blank line in it
    if not silent:
        _add_paragraph(state, start, min(last + 1, end))
    return True


def _line(state: StateBlock, n: int) -> str:
    return state.src[state.bMarks[n] + state.tShift[n] : state.eMarks[n]]


def _add_paragraph(state: StateBlock, start: int, end: int) -> None:
    state.line = end
    state.push("paragraph_open", "p", 1).map = [start, end]
    inline = state.push("inline", "", 0)
    inline.content = state.getLines(start, end, state.blkIndent, False).strip()
    inline.map, inline.children = [start, end], []
    state.push("paragraph_close", "p", -1)
