"""Plain reading: what is not written here, since it has to be read twice."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = [
    file
    for room in ("app", "format", "converter", "quant", "runtime", "proof", "edge")
    for file in (ROOT / room).rglob("*.py")
]


def nodes(file: Path, kind: type[ast.AST]) -> list[ast.AST]:
    return [node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, kind)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_no_conditional_expression_is_within_another(file: Path) -> None:
    nested = [
        outer.lineno  # type: ignore[attr-defined]
        for outer in nodes(file, ast.IfExp)
        if any(isinstance(inner, ast.IfExp) for inner in ast.walk(outer) if inner is not outer)
    ]
    assert nested == []


@pytest.mark.parametrize(("kind", "most"), [(ast.IfExp, 12.0), (ast.NamedExpr, 1.5)])
def test_conditional_and_assignment_expressions_are_few(kind: type[ast.AST], most: float) -> None:
    """In a thousand lines: what reads at a glance where there is one tires where there are many."""
    lines = sum(file.read_text("utf-8").count("\n") for file in FILES)
    assert sum(len(nodes(file, kind)) for file in FILES) <= most * lines / 1000


def is_condition(node: ast.expr) -> bool:
    """Whether its value is true or false, as far as one sees: a comparison, a negation, or several of them."""
    if isinstance(node, ast.BoolOp):
        return all(map(is_condition, node.values))
    return isinstance(node, ast.Compare) or (isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_nothing_is_reckoned_or_looked_up_with_a_condition(file: Path) -> None:
    """``3 * (a > b)`` and ``(x, y)[a > b]`` are conditionals in disguise."""
    reckoned = [
        node.lineno  # type: ignore[attr-defined]
        for node in nodes(file, ast.BinOp)
        if not isinstance(node.op, ast.BitAnd | ast.BitOr)  # type: ignore[attr-defined]
        and (is_condition(node.left) or is_condition(node.right))  # type: ignore[attr-defined]
    ]
    looked_up = [
        node.lineno  # type: ignore[attr-defined]
        for node in nodes(file, ast.Subscript)
        if isinstance(node.value, ast.Tuple | ast.List) and is_condition(node.slice)  # type: ignore[attr-defined]
    ]
    assert reckoned + looked_up == []
