"""How many levels deep values may lie in values: a limit a reader, as each level takes a part of Python's stack."""

from __future__ import annotations

BODY_LEVELS = 128
"""Of a request's body: it holds messages and schemas, which have limits of their own, some levels down."""

WRITTEN_LEVELS = 128
"""Of the JSON that a model writes; deeper, it is taken for a loop of the model."""

REPAIRED_LEVELS = 64
"""Of JSON with mistakes, whose reader calls itself twice a level."""

MESSAGE_LEVELS = 64
"""Of a message, which the template walks with several calls a level."""

SCHEMA_LEVELS = 64
"""Of schemas in schemas, and of a value that is checked against them."""

GRAMMAR_LEVELS = 32
"""Of a schema that becomes a grammar, as llama.cpp's stacks grow with each level."""

SCHEMA_JSON_LEVELS = 250
"""Of a schema's JSON, where a schema takes several levels: ``properties``, a name, and itself."""
