"""Whether a dictionary is a JSON schema at all, and at which key it is not.

Only keywords that ``schema.py`` checks are looked at; the form of each is a row of the table at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from exaone4_gguf.runtime.schema.check import MAX_NESTING, TYPES, is_number, resolve, shortened

_MAX_NODES = 20_000
_MAX_TEXT = 200_000  # characters of a schema's texts
_MAX_DEPTH = 250  # of values in values
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
        if depth > MAX_NESTING:
            yield f"{where} is nested too deeply"
            return
        self._seen.add(id(schema))
        for keyword, rule in schema.items():
            if keyword in FORMS and not FORMS[keyword][0](rule):
                yield f"{where}.{keyword} must be {FORMS[keyword][1]}, not {shortened(rule)}"
            else:
                yield from self._below(keyword, rule, f"{where}.{keyword}", depth + 1)

    def _below(self, keyword: str, rule: Any, where: str, depth: int) -> Iterator[str]:
        if keyword in ("properties", "$defs", "definitions"):
            for name, inner in rule.items():
                yield from self.problems(inner, f"{where}.{name}", depth)
        elif keyword in ("anyOf", "oneOf", "allOf", "prefixItems"):
            for i, inner in enumerate(rule):
                yield from self.problems(inner, f"{where}[{i}]", depth)
        elif keyword in ("items", "additionalProperties"):
            yield from self.problems(rule, where, depth)
        elif keyword == "$ref":
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
        if nodes > _MAX_NODES or characters > _MAX_TEXT or depth > _MAX_DEPTH:
            return f"it is too large or deep: {_MAX_NODES} values, {_MAX_TEXT} characters, {_MAX_DEPTH} levels at most"
        inner = node.values() if isinstance(node, dict) else node if isinstance(node, list | tuple) else ()
        ahead += [(value, depth + 1) for value in inner]
    return None


def _characters(node: Any) -> int:
    return sum(map(len, node)) if isinstance(node, dict) else len(node) if isinstance(node, str) else 0


def _node_problem(node: Any) -> str | None:
    """Why one value, without what is in it, is no JSON."""
    if isinstance(node, dict):
        return next(filter(None, (_text_problem(key) for key in node)), None)
    if node is None or isinstance(node, bool | list | tuple):
        return None
    if isinstance(node, int):
        return "it has an integer of too many digits" if node.bit_length() > _MAX_BITS else None
    if isinstance(node, float):
        return None if is_number(node) else f"{node} is not JSON"
    return _text_problem(node)


def _text_problem(text: Any) -> str | None:
    if not isinstance(text, str):
        return f"a {type(text).__name__} is not JSON"
    try:
        text.encode()
    except UnicodeEncodeError:
        return f"{text!a} is no text in UTF-8"
    return None


def is_types(rule: Any) -> bool:
    """Whether it is one of JSON's types, or a list of them."""
    names = [rule] if isinstance(rule, str) else rule
    return isinstance(names, list) and bool(names) and all(isinstance(n, str) and n in TYPES for n in names)


def _is_names(rule: Any) -> bool:
    return isinstance(rule, list) and all(isinstance(name, str) for name in rule)


def _is_filled_list(rule: Any) -> bool:
    return isinstance(rule, list) and bool(rule)


def _is_mapping(rule: Any) -> bool:
    return isinstance(rule, dict) and all(isinstance(key, str) for key in rule)


def _is_schema(rule: Any) -> bool:
    return isinstance(rule, dict | bool)


def _is_size(rule: Any) -> bool:
    return TYPES["integer"](rule) and rule >= 0


def _is_text(rule: Any) -> bool:
    return isinstance(rule, str)


FORMS: dict[str, tuple[Callable[[Any], bool], str]] = (
    {
        "type": (is_types, f"one of {', '.join(TYPES)} (or a list of them)"),
        "enum": (_is_filled_list, "a list of values"),
        "required": (_is_names, "a list of names"),
        "additionalProperties": (_is_schema, "a schema, true or false"),
        "items": (_is_schema, "a schema"),
        "pattern": (_is_text, "a string"),
        "$ref": (_is_text, "a string"),
        "description": (_is_text, "a string"),
    }
    | dict.fromkeys(("properties", "$defs", "definitions"), (_is_mapping, "an object"))
    | dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems"), (_is_filled_list, "a list of schemas"))
    | dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (is_number, "a number"))
    | dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), (_is_size, "a whole number from 0 up"))
)
