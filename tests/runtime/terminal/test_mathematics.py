"""LaTeX at the terminal: as it is written, however it comes."""

from __future__ import annotations

import pytest

from tests.runtime.terminal.test_markdown_stream import shown

FORMULAS = (
    r"\( e^{i\pi} + 1 = 0 \)",
    "\\[\n\\frac{a}{b} = \\{x \\mid x_1 * y_2 * z\\} \\\\\n+ c_i\n- d\n\\]",
    r"\[ a \\[2pt] b \]",
    r"$a_1 * b_2 * \{c\}$",
    "$$\nx\n= y\n$$",
    "\\begin{align*}\na &= b \\\\\n1. & c\n\\end{align*}",
    r"\(not closed_a_, and \{ alone \}",
)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("around", ["{}", "so {} holds", "text\n{}\ntext", "- {}"])
def test_formulas_stay_as_they_are_written(formula: str, around: str) -> None:
    """Whole, and piece by piece: every backslash, and no sign that begins a list."""
    if "\n" in formula and around.startswith(("so", "-")):
        return
    whole = shown(around.format(formula))
    assert [line.strip() for line in formula.split("\n") if line] == [
        line
        for line in map(str.strip, whole.replace(" • ", "").replace("so ", "").replace(" holds", "").split("\n"))
        if line and line != "text"
    ]
    assert shown(*around.format(formula)) == whole


def test_what_is_no_formula() -> None:
    text = shown(r"**$5** and **10$** \* \_ \$ C:\\x `\(code\)`")
    assert text == "$5 and 10$ * _ $ C:\\x \\(code\\)\n"
