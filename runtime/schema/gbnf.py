"""JSON schema -> GBNF rules.

Objects are written with their properties in the schema's order, as ``json.dumps`` writes them, so that the model
spends no token on layout. Enforced: type, enum, const, properties, required, additionalProperties, items,
prefixItems, minItems, maxItems, minLength, maxLength, anyOf, oneOf, allOf, local $ref, and the bounds of integers
where they allow at most a thousand. Not enforced: pattern, format, other bounds, multipleOf, uniqueItems.

The rules may allow less than the schema (an object with named properties gets no others), never something that the
enforced keywords forbid. What cannot be held to is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from exaone4_gguf.errors import SchemaError
from exaone4_gguf.format.nesting import GRAMMAR_LEVELS
from exaone4_gguf.runtime.schema.check import Checker, resolve
from exaone4_gguf.runtime.schema.form import schema_problem, size_problem
from exaone4_gguf.runtime.schema.intersect import Flat, intersection, listed_values, property_schema
from exaone4_gguf.runtime.schema.json_types import TYPES, Schema, types_of
from exaone4_gguf.runtime.schema.keywords import KEYWORDS, common_types

_MAX_STEPS = 100_000  # schemas that are looked at, one that is referred to or shared each time
_MAX_PROPERTIES = 1000
_MAX_RANGE = 1000  # integers that are listed one by one
_MAX_REPEATED = 500  # llama.cpp allows 2000 rules in a repetition (MAX_REPETITION_THRESHOLD, src/llama-grammar.cpp)

# JSON itself (RFC 8259), numbers with as many digits as a double has.
_JSON_RULES = {
    "value": "object | array | string | number | boolean | null",
    "object": '"{" (pair (", " pair)*)? "}"',
    "pair": 'string ": " value',
    "array": '"[" (value (", " value)*)? "]"',
    "string": r'"\"" char* "\""',
    "char": r'[^"\\\x00-\x1F\x7F\uD800-\uDFFF\U00110000-\U7FFFFFFF] | "\\" (["\\/bfnrt] | "u" unit)',
    "unit": "[0-9a-cefA-CEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2}",
    "number": 'integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?',
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
            SchemaError: it is no schema, too large or too deep, allows nothing, or cannot be held to. It names
                ``whose``.
        """
        problem = size_problem(schema) or schema_problem(schema)
        if problem:
            raise SchemaError(f"{whose}: its schema cannot be a grammar: {problem}")
        return _Writer(self, schema, whose).root()


class _Writer:
    """Writes the rules of one schema, whose ``$ref`` are looked up in it."""

    def __init__(self, rules: Rules, root: Schema, whose: str) -> None:
        self._rules, self._root, self._whose = rules, root, whose
        self._steps = 0
        self._references: dict[str, str] = {}
        self._here: str | None = None  # the reference that is written, while it has no character yet
        self._first: dict[str, set[str]] = {}  # references that a reference may begin with
        self._writers: dict[str, Callable[[Schema, int], str]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "integer": self._integer,
            "number": lambda schema, depth: "number",
            "boolean": lambda schema, depth: "boolean",
            "null": lambda schema, depth: "null",
        }

    def root(self) -> str:
        """The name of the rule for the whole schema."""
        name = self._rule(self._root, 0)
        for reference in self._first:
            if reference in self._beginnings(reference):
                raise self._error(f"has {reference!r}, which refers to itself before any character")
        return name

    def _beginnings(self, reference: str) -> set[str]:
        found: set[str] = set()
        ahead = [reference]
        while ahead:
            new = self._first.get(ahead.pop(), set()) - found
            found |= new
            ahead += new
        return found

    def _rule(self, schema: Any, depth: int) -> str:
        """The name of a rule for the schema."""
        if depth > GRAMMAR_LEVELS:
            raise self._error(f"is nested more than {GRAMMAR_LEVELS} deep")
        if isinstance(schema, dict) and "$ref" in schema:
            return self._reference(schema["$ref"], depth)
        flat = self._flat(schema)
        if flat is False:
            raise self._error("allows nothing at some place")
        if flat is True or not flat:
            return "value"
        return self._rules.add(self._body(flat, depth))

    def _inner(self, schema: Any, depth: int) -> str:
        """The rule of a schema within an object or array."""
        outer, self._here = self._here, None
        name = self._rule(schema, depth + 1)
        self._here = outer
        return name

    def _reference(self, reference: str, depth: int) -> str:
        if self._here is not None:
            self._first.setdefault(self._here, set()).add(reference)
        if reference not in self._references:
            self._references[reference] = name = self._rules.reserve()
            outer, self._here = self._here, reference
            self._rules.define(name, self._rule(resolve(self._root, {"$ref": reference}), depth + 1))
            self._here = outer
        return self._references[reference]

    def _flat(self, schema: Any, within: tuple[str, ...] = ()) -> Flat:
        """The schema with what it refers to and what its allOf wants; False if these contradict each other."""
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise self._error(f"is too large: more than {_MAX_STEPS} schemas with those it refers to")
        if isinstance(schema, bool):
            return schema
        if "$ref" in schema:
            if schema["$ref"] in within:
                raise self._error(f"has {schema['$ref']!r}, which refers to itself before any character")
            return self._flat(resolve(self._root, schema), (*within, schema["$ref"]))
        flat: Flat = {k: v for k, v in schema.items() if k != "allOf"}
        for part in schema.get("allOf", ()):
            flat = self._both(flat, self._flat(part, within))
        return flat

    def _both(self, a: Flat, b: Flat) -> Flat:
        """A schema for what fits both; False if nothing does."""
        if isinstance(a, dict) and isinstance(b, dict):
            self._refuse_pair(a, b)
        return intersection(a, b)

    def _refuse_pair(self, a: Schema, b: Schema) -> None:
        if _CHOICES & a.keys() and _CHOICES & b.keys():
            raise self._error("combines several anyOf or oneOf for one value, which cannot be held to")
        for one, other in ((a, b), (b, a)):
            if "prefixItems" in one and {"prefixItems", "items"} & other.keys():
                raise self._error("combines prefixItems with other items by allOf, which cannot be held to")

    def _body(self, schema: Schema, depth: int) -> str:
        values = listed_values(schema)
        if values is not None:
            beside = {k: v for k, v in schema.items() if k != ("const" if "const" in schema else "enum")}
            fitting = [self._value(v) for v in values if self._fits(beside, v)]
            return self._choices(fitting, "has an enum or const of which nothing fits the schema")
        if _CHOICES & schema.keys():
            return self._alternatives(schema, depth)
        kinds = types_of(schema) or _implied(schema)
        if kinds:
            return self._choices([self._writers[k](schema, depth) for k in kinds], "has no type")
        return "value"

    def _fits(self, schema: Schema, value: Any) -> bool:
        return Checker(self._root).fits(schema, value)

    def _value(self, value: Any) -> str:
        return literal(json.dumps(value, ensure_ascii=False))

    def _choices(self, bodies: list[str], problem: str) -> str:
        if not bodies:
            raise self._error(problem)
        if len(bodies) > 1:
            return " | ".join(f"({body})" for body in bodies)
        return bodies[0]

    def _alternatives(self, schema: Schema, depth: int) -> str:
        """The choices of anyOf or oneOf, each with what stands beside them."""
        if schema.keys() >= _CHOICES:
            raise self._error("has anyOf beside oneOf, which cannot be held to")
        (key,) = _CHOICES & schema.keys()
        beside = {k: v for k, v in schema.items() if k in _ENFORCED}
        merged = [self._both(beside, self._flat(s)) if beside else s for s in schema[key]]
        possible = [s for s in merged if self._flat(s) is not False]
        if key == "oneOf":
            self._refuse_overlap(possible)
        return self._choices([self._rule(s, depth + 1) for s in possible], f"has {key} of which nothing is possible")

    def _refuse_overlap(self, schemas: Sequence[Any]) -> None:
        for i, one in enumerate(schemas):
            if not all(self._apart(one, other, 0) for other in schemas[:i]):
                raise self._error("has oneOf where a value may fit two of the choices; anyOf can be held to")

    def _apart(self, one: Any, other: Any, depth: int) -> bool:
        """Whether it is certain that no value fits both."""
        a, b = self._flat(one), self._flat(other)
        if isinstance(a, bool) or isinstance(b, bool):
            return a is False or b is False
        common = common_types(types_of(a) or list(TYPES), types_of(b) or list(TYPES))
        for x, y in ((a, b), (b, a)):
            values = listed_values(x)
            if values is not None:
                return not any(self._fits(x, v) and self._fits(y, v) for v in values)
        if common == ["object"] and depth < GRAMMAR_LEVELS:
            always = set(a.get("required", ())) & set(b.get("required", ()))
            return any(self._apart(property_schema(a, name), property_schema(b, name), depth + 1) for name in always)
        return not common

    def _object(self, schema: Schema, depth: int) -> str:
        """Properties in order; an optional one may be left out, with its comma. Others only where none is named."""
        required = set(schema.get("required", ()))
        names = dict.fromkeys([*schema.get("properties", ()), *schema.get("required", ())])
        if len(names) > _MAX_PROPERTIES:
            raise self._error(f"has an object with {len(names)} properties; {_MAX_PROPERTIES} are the most")
        if not names:
            # properties that are listed, and none of them: a tool without parameters
            return self._free_object(schema.get("additionalProperties", "properties" not in schema), depth)
        first = more = '""'
        for name in reversed(names):
            value = property_schema(schema, name)
            if self._flat(value) is False:
                self._refuse_required(name, required)
                continue
            pair = f"{literal(json.dumps(name, ensure_ascii=False) + ': ')} {self._inner(value, depth)} {more}"
            first = self._rules.add(pair if name in required else f"{pair} | {first}")
            more = self._rules.add(f'", " {pair}' if name in required else f'", " {pair} | {more}')
        return f'"{{" {first} "}}"'

    def _refuse_required(self, name: str, required: set[str]) -> None:
        if name in required:
            raise self._error(f"requires {name!r}, for which it allows nothing")

    def _free_object(self, value: Any, depth: int) -> str:
        """Any names. One that comes twice does no harm: each of its values fits."""
        if self._flat(value) is False:
            return '"{}"'
        pair = self._rules.add(f'string ": " {self._inner(value, depth)}')
        return f'"{{" ({pair} (", " {pair})*)? "}}"'

    def _array(self, schema: Schema, depth: int) -> str:
        least, most = self._bounds(schema, "Items")
        leading = self._leading(schema, most)
        rest = schema.get("items", True)
        if len(leading) < len(schema.get("prefixItems", ())) or self._flat(rest) is False:
            most = len(leading)
        if most is not None and least > most:
            raise self._error(f"wants {least} items where it allows {most}")
        written = ' ", " '.join(self._inner(s, depth) for s in leading)
        if most == len(leading) or (leading and "items" not in schema and least <= len(leading)):
            return f'"[" {written} "]"'
        item, many = self._inner(rest, depth), None if most is None else most - len(leading)
        if leading:
            return f'"[" {written} (", " {item}){_times(max(0, least - len(leading)), many)} "]"'
        more = f'(", " {item})' + _times(max(0, least - 1), None if many is None else many - 1)
        if least:
            return f'"[" {item} {more} "]"'
        return f'"[" ({item} {more})? "]"'

    def _leading(self, schema: Schema, most: int | None) -> list[Any]:
        """The prefixItems that can be there."""
        leading: list[Any] = list(schema.get("prefixItems", ()))[:most]
        possible = [self._flat(s) is not False for s in leading]
        if False in possible:
            return leading[: possible.index(False)]
        return leading

    def _string(self, schema: Schema, depth: int) -> str:
        least, most = self._bounds(schema, "Length")
        if (least, most) == (0, None):
            return "string"
        return f'"\\"" char{_times(least, most)} "\\""'

    def _integer(self, schema: Schema, depth: int) -> str:
        """The integers one by one where the bounds allow few, else any."""
        low, high = _lowest(schema), _highest(schema)
        if low is None or high is None or high - low >= _MAX_RANGE:
            if low is not None and low >= 0:
                return '"0" | [1-9] [0-9]{0,15}'
            return "integer"
        return self._choices([literal(str(n)) for n in range(low, high + 1)], f"wants integers from {low} to {high}")

    def _bounds(self, schema: Schema, of: str) -> tuple[int, int | None]:
        least, most = int(schema.get(f"min{of}", 0)), schema.get(f"max{of}")
        if least > _MAX_REPEATED or (most is not None and most < least):
            raise self._error(f"wants {least} to {most} of {of.lower()}; the least may be {_MAX_REPEATED}")
        return least, None if most is None or most > _MAX_REPEATED else int(most)

    def _error(self, problem: str) -> SchemaError:
        return SchemaError(f"{self._whose}: its schema {problem}")


def _implied(schema: Schema) -> list[str]:
    """The type of a schema that does not say it, if its keywords are for one."""
    shaped = {KEYWORDS[keyword].grammar for keyword in schema if keyword in KEYWORDS}
    for kind in ("object", "array", "string", "integer"):
        if kind in shaped:
            return [kind]
    return []


def _times(least: int, most: int | None) -> str:
    return f"{{{least},{'' if most is None else most}}}"


def _lowest(schema: Schema) -> int | None:
    """The least integer that the bounds allow."""
    bounds = [math.ceil(schema[k]) for k in ("minimum",) if k in schema]
    return max(bounds + [math.floor(schema[k]) + 1 for k in ("exclusiveMinimum",) if k in schema], default=None)


def _highest(schema: Schema) -> int | None:
    bounds = [math.floor(schema[k]) for k in ("maximum",) if k in schema]
    return min(bounds + [math.ceil(schema[k]) - 1 for k in ("exclusiveMaximum",) if k in schema], default=None)


_CHOICES = {row.name for row in KEYWORDS.values() if row.grammar == "choice"}
_ENFORCED = {row.name for row in KEYWORDS.values() if row.grammar not in (None, "choice", "resolved")}
