"""Whether a dictionary is a JSON schema at all, and at which key it is not.

Only the keywords of ``keywords.py`` are looked at, whose rows say what the value of each must be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from exaone4_gguf.format.nesting import SCHEMA_JSON_LEVELS, SCHEMA_LEVELS
from exaone4_gguf.runtime.schema.check import resolve
from exaone4_gguf.runtime.schema.json_types import is_number, shortened
from exaone4_gguf.runtime.schema.keywords import KEYWORDS, Keyword

_MAX_NODES = 20_000
_MAX_TEXT = 200_000  # characters of a schema's texts
_MAX_BITS = 1100  # of an integer; a double has 1024


def schema_problem(schema: Any) -> str | None:
    """What is wrong with a schema, and at which key; None if it is one."""
    return next(_Form(schema).problems(schema, "parameters", 0), None)


class _Form:
    """Looks at the parts of one schema, at each object once: also one that is shared, or referred to."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._seen: set[int] = set()

    def problems(self, schema: Any, where: str, depth: int) -> Iterator[str]:
        """The problems of the schema at ``where``."""
        if (isinstance(schema, bool) and depth) or id(schema) in self._seen:
            return
        if not isinstance(schema, dict):
            yield f"{where} must be an object, not {shortened(schema)}"
            return
        if depth > SCHEMA_LEVELS:
            yield f"{where} is nested too deeply"
            return
        self._seen.add(id(schema))
        for keyword, rule in schema.items():
            row = KEYWORDS.get(keyword)
            if row is None:
                continue
            if not row.form.holds(rule):
                yield f"{where}.{keyword} must be {row.form.words}, not {shortened(rule)}"
            else:
                yield from self._below(row, rule, f"{where}.{keyword}", depth + 1)

    def _below(self, row: Keyword, rule: Any, where: str, depth: int) -> Iterator[str]:
        if row.schemas == "named":
            for name, inner in rule.items():
                yield from self.problems(inner, f"{where}.{name}", depth)
        elif row.schemas == "listed":
            for i, inner in enumerate(rule):
                yield from self.problems(inner, f"{where}[{i}]", depth)
        elif row.schemas == "one":
            yield from self.problems(rule, where, depth)
        elif row.name == "$ref":
            yield from self._referred(rule, where, depth)

    def _referred(self, ref: str, where: str, depth: int) -> Iterator[str]:
        try:
            found = resolve(self._root, {"$ref": ref})
        except LookupError as e:
            yield f"{where}: {e}"
            return
        yield from self.problems(found, where, depth)


def size_problem(schema: Any) -> str | None:
    """Why it is no JSON, or too much of it; None if it is neither. What is shared counts each time."""
    ahead: list[tuple[Any, int]] = [(schema, 0)]
    nodes = characters = 0
    while ahead:
        node, depth = ahead.pop()
        problem = _node_problem(node)
        if problem:
            return problem
        nodes += 1
        characters += _characters(node)
        if nodes > _MAX_NODES or characters > _MAX_TEXT or depth > SCHEMA_JSON_LEVELS:
            return (
                f"it is too large or deep: {_MAX_NODES} values, {_MAX_TEXT} characters, "
                f"{SCHEMA_JSON_LEVELS} levels at most"
            )
        if isinstance(node, dict):
            ahead += [(value, depth + 1) for value in node.values()]
        elif isinstance(node, list | tuple):
            ahead += [(value, depth + 1) for value in node]
    return None


def _characters(node: object) -> int:
    if isinstance(node, dict):
        return sum(map(len, node))
    if isinstance(node, str):
        return len(node)
    return 0


def _node_problem(node: Any) -> str | None:
    """Why one value, without what is in it, is no JSON."""
    if isinstance(node, dict):
        return next(filter(None, (_text_problem(key) for key in node)), None)
    if node is None or isinstance(node, bool | list | tuple):
        return None
    if isinstance(node, int):
        if node.bit_length() > _MAX_BITS:
            return "it has an integer of too many digits"
        return None
    if isinstance(node, float):
        if is_number(node):
            return None
        return f"{node} is not JSON"
    return _text_problem(node)


def _text_problem(text: Any) -> str | None:
    if not isinstance(text, str):
        return f"a {type(text).__name__} is not JSON"
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{text!a} is no text in UTF-8"
    return None
