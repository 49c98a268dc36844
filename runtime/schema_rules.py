"""JSON schema -> GBNF rules.

Objects are written with their properties in the schema's order, as ``json.dumps`` writes them, so that the model
spends no token on layout. Enforced: type, enum, const, properties, required, additionalProperties, items,
prefixItems, minItems, maxItems, minLength, maxLength, anyOf, oneOf, allOf, local $ref, and the bounds of integers
where they allow at most a thousand. Not enforced: pattern, format, other bounds, uniqueItems.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from exaone4_gguf.errors import SchemaError

Schema = Mapping[str, Any]


_MAX_DEPTH = 32
_MAX_SCHEMA = 200_000  # characters of a schema
_MAX_RANGE = 1000  # integers that are listed one by one
_MAX_REPEATED = 2000  # llama.cpp's MAX_REPETITION_THRESHOLD (src/llama-grammar.cpp)

# JSON itself (RFC 8259), numbers with as many digits as a double has.
_JSON_RULES = {
    "value": "object | array | string | number | boolean | null",
    "object": '"{" (pair (", " pair)*)? "}"',
    "pair": 'string ": " value',
    "array": '"[" (value (", " value)*)? "]"',
    "string": r'"\"" char* "\""',
    "char": r'[^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})',
    "number": 'integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,3})?',
    "integer": '"-"? ("0" | [1-9] [0-9]{0,15})',
    "boolean": '"true" | "false"',
    "null": '"null"',
}


def literal(text: str) -> str:
    """A text in GBNF's quotes."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return '"' + "".join(escapes.get(c) or (c if c >= " " else f"\\x{ord(c):02x}") for c in text) + '"'


class Rules:
    """Rules of a grammar while it grows. Names are numbers after a letter; the names of JSON's are their own."""

    def __init__(self) -> None:
        self._rules: dict[str, str] = {}

    def add(self, body: str) -> str:
        """A new rule; its name."""
        name = f"r{len(self._rules)}"
        self._rules[name] = body
        return name

    def reserve(self) -> str:
        """A name whose rule is given with ``define`` later, as a schema may refer to itself."""
        return self.add("")

    def define(self, name: str, body: str) -> None:
        """The rule of a reserved name."""
        self._rules[name] = body

    def text(self, root: str) -> str:
        """The whole grammar."""
        rules = {"root": root} | self._rules | _JSON_RULES
        return "".join(f"{name} ::= {body}\n" for name, body in rules.items())

    def of_schema(self, schema: Any, whose: str) -> str:
        """The rules of a schema; the name of the first.

        Raises:
            SchemaError: it is no schema, too large or too deep, or refers to what is not in it. It names ``whose``.
        """
        try:
            size = len(json.dumps(schema, ensure_ascii=False).encode())
        except (TypeError, ValueError, RecursionError) as e:
            raise SchemaError(f"{whose}: its schema is not JSON: {e}") from None
        if size > _MAX_SCHEMA:
            raise SchemaError(f"{whose}: its schema has {size} bytes; {_MAX_SCHEMA} are the most")
        return _Writer(self, schema, whose).rule(schema, 0)


class _Writer:
    """Writes the rules of one schema, whose ``$ref`` are looked up in it."""

    def __init__(self, rules: Rules, root: Any, whose: str) -> None:
        self._rules, self._root, self._whose = rules, root, whose
        self._references: dict[str, str] = {}
        self._writers: dict[str, Callable[[Schema, int], str]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": lambda schema, depth: "number",
            "boolean": lambda schema, depth: "boolean",
            "null": lambda schema, depth: "null",
        }

    def rule(self, schema: Any, depth: int) -> str:
        """The name of a rule for the schema."""
        if depth > _MAX_DEPTH:
            raise self._error(f"is nested more than {_MAX_DEPTH} deep")
        if schema is True or schema == {}:
            return "value"
        if not isinstance(schema, Mapping):
            raise self._error(f"has {schema!r} where a schema must stand")
        if "$ref" in schema:
            return self._reference(schema["$ref"], depth)
        return self._rules.add(self._body(schema, depth))

    def _body(self, schema: Schema, depth: int) -> str:
        if "const" in schema:
            return self._value(schema["const"])
        if "enum" in schema:
            return self._choices([self._value(v) for v in schema["enum"] or ()], "enum")
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._choices([self.rule(self._with(schema, s), depth + 1) for s in schema[key]], key)
        if "allOf" in schema:
            return self.rule(self._all_of(schema), depth + 1)
        kinds = schema.get("type", _implied(schema))
        listed = kinds if isinstance(kinds, list) else [kinds]
        return self._choices([self._of_type(kind, schema, depth) for kind in listed], "type")

    def _of_type(self, kind: Any, schema: Schema, depth: int) -> str:
        if kind is None:
            return "value"
        write = self._writers.get(kind) if isinstance(kind, str) else None
        if write is None:
            raise self._error(f"has type {kind!r}; JSON has {', '.join(self._writers)}")
        return write(schema, depth)

    def _value(self, value: Any) -> str:
        return literal(json.dumps(value, ensure_ascii=False))

    def _choices(self, bodies: list[str], key: str) -> str:
        if not bodies:
            raise self._error(f"has an empty {key}")
        return " | ".join(f"({body})" for body in bodies) if len(bodies) > 1 else bodies[0]

    def _with(self, outer: Schema, inner: Any) -> Any:
        """A choice with what stands beside the choices."""
        beside = {k: v for k, v in outer.items() if k in ("type", "properties", "required") and k not in inner}
        return beside | dict(inner) if beside and isinstance(inner, Mapping) and "$ref" not in inner else inner

    def _all_of(self, schema: Schema) -> Schema:
        merged: dict[str, Any] = {k: v for k, v in schema.items() if k != "allOf"}
        for part in schema["allOf"]:
            part = self._resolved(part["$ref"]) if isinstance(part, Mapping) and "$ref" in part else part
            if not isinstance(part, Mapping):
                raise self._error(f"has {part!r} in allOf")
            properties = {**merged.get("properties", {}), **part.get("properties", {})}
            required = [*merged.get("required", ()), *part.get("required", ())]
            merged |= part
            merged |= {"properties": properties} if properties else {}
            merged |= {"required": required} if required else {}
        return merged

    def _reference(self, reference: Any, depth: int) -> str:
        if reference not in self._references:
            self._references[reference] = name = self._rules.reserve()
            self._rules.define(name, self.rule(self._resolved(reference), depth + 1))
        return self._references[reference]

    def _resolved(self, reference: Any) -> Any:
        """What a reference within the schema points to; others are never followed."""
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise self._error(f"refers to {reference!r}; only references within it are followed")
        node = self._root
        for part in reference.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, Mapping) or key not in node:
                raise self._error(f"refers to {reference!r}, which is not in it")
            node = node[key]
        if isinstance(node, Mapping) and node.get("$ref") == reference:
            raise self._error(f"has {reference!r}, which refers to itself")
        return node

    def _object(self, schema: Schema, depth: int) -> str:
        """Properties in order; an optional one may be left out, with its comma."""
        properties, required = schema.get("properties") or {}, schema.get("required") or []
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            raise self._error("has properties that are no object, or required that is no list")
        properties = dict(properties) | {name: True for name in required if name not in properties}
        extra = schema.get("additionalProperties", not properties)
        first, more = self._extra_pairs(extra, depth)
        for name, value in reversed(properties.items()):
            pair = f"{literal(json.dumps(name, ensure_ascii=False) + ': ')} {self.rule(value, depth + 1)} {more}"
            may_lack = name not in required
            first = self._rules.add(f"{pair} | {first}" if may_lack else pair)
            more = self._rules.add(f'", " {pair} | {more}' if may_lack else f'", " {pair}')
        return f'"{{" {first} "}}"'

    def _extra_pairs(self, extra: Any, depth: int) -> tuple[str, str]:
        """What may follow the named properties: where none of them came, and where one did."""
        if extra is False:
            return '""', '""'
        pair = self._rules.add(f'string ": " {self.rule(extra, depth + 1)}')
        more = self._rules.add(f'(", " {pair})*')
        return self._rules.add(f"({pair} {more})?"), more

    def _array(self, schema: Schema, depth: int) -> str:
        leading = [self.rule(s, depth + 1) for s in schema.get("prefixItems") or ()]
        if leading:
            return '"[" ' + ' ", " '.join(leading) + ' "]"'
        item = self.rule(schema.get("items", True), depth + 1)
        least, most = self._bounds(schema, "Items")
        if most == 0:
            return '"[]"'
        more = f'(", " {item})' + _times(max(0, least - 1), None if most is None else most - 1)
        return f'"[" {item} {more} "]"' if least else f'"[" ({item} {more})? "]"'

    def _string(self, schema: Schema, depth: int) -> str:
        least, most = self._bounds(schema, "Length")
        return "string" if (least, most) == (0, None) else f'"\\"" char{_times(least, most)} "\\""'

    def _integer(self, schema: Schema, depth: int) -> str:
        """The integers one by one where the bounds allow few, else any."""
        low = schema.get("minimum", _above(schema.get("exclusiveMinimum")))
        high = schema.get("maximum", _below(schema.get("exclusiveMaximum")))
        if isinstance(low, int) and isinstance(high, int) and 0 <= high - low < _MAX_RANGE:
            return " | ".join(literal(str(n)) for n in range(low, high + 1))
        return '"0" | [1-9] [0-9]{0,15}' if isinstance(low, int) and low >= 0 else "integer"

    def _bounds(self, schema: Schema, of: str) -> tuple[int, int | None]:
        least, most = schema.get(f"min{of}", 0), schema.get(f"max{of}")
        for bound in (least, most if most is not None else 0):
            if not isinstance(bound, int) or bound < 0:
                raise self._error(f"has the bound {bound!r} of {of.lower()}")
        if least > _MAX_REPEATED or (most is not None and most < least):
            raise self._error(f"wants {least} to {most} of {of.lower()}")
        return least, None if most is None or most > _MAX_REPEATED else most

    def _error(self, problem: str) -> SchemaError:
        return SchemaError(f"{self._whose}: its schema {problem}")


def _implied(schema: Schema) -> str | None:
    """The type of a schema that does not say it."""
    if "properties" in schema or "required" in schema or "additionalProperties" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else None


def _times(least: int, most: int | None) -> str:
    return f"{{{least},{'' if most is None else most}}}"


def _above(bound: Any) -> Any:
    return bound + 1 if isinstance(bound, int) else None


def _below(bound: Any) -> Any:
    return bound - 1 if isinstance(bound, int) else None
