"""Whether a dictionary is a JSON schema at all, and at which key it is not.

Only keywords that ``schema.py`` checks are looked at; the form of each is a row of the table at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from exaone4_gguf.runtime.schema import MAX_NESTING, TYPES, is_number, resolve, shortened


def schema_problem(schema: Any) -> str | None:
    """What is wrong with a schema, and at which key; None if it is one."""
    return next(_schema_problems(schema, schema, "parameters", 0), None)


def _schema_problems(root: Any, schema: Any, where: str, depth: int) -> Iterator[str]:
    if isinstance(schema, bool) and depth:
        return
    if not isinstance(schema, dict):
        yield f"{where} must be an object, not {shortened(schema)}"
        return
    if depth > MAX_NESTING:
        yield f"{where} is nested too deeply"
        return
    for keyword, rule in schema.items():
        if keyword in _FORMS and not _FORMS[keyword][0](rule):
            yield f"{where}.{keyword} must be {_FORMS[keyword][1]}, not {shortened(rule)}"
        else:
            yield from _problems_below(root, keyword, rule, f"{where}.{keyword}", depth + 1)


def _problems_below(root: Any, keyword: str, rule: Any, where: str, depth: int) -> Iterator[str]:
    if keyword in ("properties", "$defs", "definitions"):
        for name, inner in rule.items():
            yield from _schema_problems(root, inner, f"{where}.{name}", depth)
    elif keyword in ("anyOf", "oneOf", "allOf"):
        for i, inner in enumerate(rule):
            yield from _schema_problems(root, inner, f"{where}[{i}]", depth)
    elif keyword in ("items", "additionalProperties"):
        yield from _schema_problems(root, rule, where, depth)
    elif keyword == "$ref":
        yield from _ref_problem(root, rule, where)


def _ref_problem(root: Any, ref: str, where: str) -> Iterator[str]:
    try:
        resolve(root, {"$ref": ref})
    except LookupError as e:
        yield f"{where}: {e}"


def _is_types(rule: Any) -> bool:
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


_FORMS: dict[str, tuple[Callable[[Any], bool], str]] = (
    {
        "type": (_is_types, f"one of {', '.join(TYPES)} (or a list of them)"),
        "enum": (_is_filled_list, "a list of values"),
        "required": (_is_names, "a list of names"),
        "additionalProperties": (_is_schema, "a schema, true or false"),
        "items": (_is_schema, "a schema"),
        "pattern": (_is_text, "a string"),
        "$ref": (_is_text, "a string"),
        "description": (_is_text, "a string"),
    }
    | dict.fromkeys(("properties", "$defs", "definitions"), (_is_mapping, "an object"))
    | dict.fromkeys(("anyOf", "oneOf", "allOf"), (_is_filled_list, "a list of schemas"))
    | dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), (is_number, "a number"))
    | dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), (_is_size, "a whole number from 0 up"))
)
