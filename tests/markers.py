"""Which tests evaluate a model, and which take long: told by what they use, so that nobody has to remember it.

``model``: llama.cpp loads one; ``make test-processors`` runs these. ``slow``: torch, a process, a server, a compiler or
much time is needed. ``make quick`` runs those that are neither.
"""

from __future__ import annotations

import sys

import pytest

MODEL, SLOW = "model", "slow"

FIXTURES = {
    "demo_gguf": MODEL,
    "talker": MODEL,
    "run": SLOW,
    "full": SLOW,
    "full_gguf": SLOW,
    "hybrid": SLOW,
    "checkpoint": SLOW,
    "published": SLOW,
}

IMPORTS = {
    "llama_cpp": MODEL,
    "exaone4_gguf.proof.behaviour": MODEL,
    "exaone4_gguf.proof.tokenizer": MODEL,
    "exaone4_gguf.proof.template": MODEL,
    "exaone4_gguf.proof.verify": MODEL,
    "exaone4_gguf.runtime.exaone4": MODEL,
    "exaone4_gguf.runtime.llama.context": MODEL,
    "exaone4_gguf.runtime.encode.encoder": MODEL,
    "exaone4_gguf.runtime.llama.hidden_states": MODEL,
    "exaone4_gguf.runtime.llama.model": MODEL,
    "exaone4_gguf.runtime.remote.remote": MODEL,
    "tests.llama": MODEL,
    "tests.runtime.server.running": MODEL,
    "torch": SLOW,
    "transformers": SLOW,
    "subprocess": SLOW,
    "exaone4_gguf.proof": SLOW,
    "exaone4_gguf.quant.native": SLOW,
    "tests.checkpoints": SLOW,
    "tests.classes": SLOW,
    "tests.edge": SLOW,
}
"""Modules from which a file of tests takes a name, or a package of theirs."""

NAMES = {"test_long_texts_take_linear_time": SLOW, "test_what_a_server_renders_is_the_same": SLOW}
"""Tests that take some seconds by themselves."""


def mark(item: pytest.Item) -> None:
    """Give a test its markers."""
    for marker in _of_itself(item) | _of_imports(sys.modules[item.module.__name__].__dict__):  # type: ignore[attr-defined]
        item.add_marker(marker)


def _of_itself(item: pytest.Item) -> set[str]:
    known, used = FIXTURES | NAMES, [*getattr(item, "fixturenames", []), getattr(item, "originalname", "")]
    return {known[name] for name in used if name in known}


def _of_imports(names: dict[str, object]) -> set[str]:
    homes = {str(getattr(value, "__module__", None) or getattr(value, "__name__", "")) for value in names.values()}
    return {marker for home in homes for module, marker in IMPORTS.items() if f"{home}.".startswith(f"{module}.")}
