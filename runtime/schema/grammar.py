"""Grammars (GBNF) that hold the model to JSON, or to calls of the offered tools in its own envelope.

GBNF is described in llama.cpp's grammars/README.md. The rules of a schema are made here, as llama-cpp-python's
converter lets raw line breaks into strings, ignores the bounds of integers, and fails on references to the root.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from exaone4_gguf.format.tags import CALL, END_CALL
from exaone4_gguf.runtime.schema.gbnf import Rules, literal
from exaone4_gguf.runtime.schema.reading import standard

_NEXT_CALL = "\n" + CALL


def calls_grammar(tools: Sequence[tuple[str, Mapping[str, Any]]], *, parallel: bool) -> str:
    """Calls of these tools, from after the first opening tag to the end of the turn.

    Args:
        tools: names with the schemas of their arguments, which are read as in ``schema_reading``.
        parallel: more than one call may follow.

    Raises:
        SchemaError: a schema cannot be turned into rules.
    """
    rules = Rules()
    calls = []
    for name, schema in tools:
        before = literal(f'{{"name": {json.dumps(name, ensure_ascii=False)}, "arguments": ')
        arguments = rules.of_schema(standard(schema), f"tool '{name}'")
        calls.append(rules.add(f"{before} {arguments} {literal('}' + END_CALL)}"))
    call = rules.add(" | ".join(calls))
    return rules.text(f"{call} ({literal(_NEXT_CALL)} {call})*" if parallel else call)


def json_grammar(schema: Mapping[str, Any] | None) -> str:
    """JSON of a schema; any object without one.

    Raises:
        SchemaError: the schema cannot be turned into rules.
    """
    rules = Rules()
    return rules.text(rules.of_schema({"type": "object"} if schema is None else schema, "response_format"))
