"""The part ``template``: the chat templates byte for byte, and what they make of conversations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from exaone4_gguf.converter.gguf_file import GGUFFile
from exaone4_gguf.converter.gguf_values import Metadata
from exaone4_gguf.errors import ChatTemplateError
from exaone4_gguf.proof.corpus import CONVERSATIONS, Conversation
from exaone4_gguf.proof.report import Finding, Part, judged, not_evaluated
from exaone4_gguf.runtime.template import ChatTemplate

NAME = "template"
_KEY = "tokenizer.chat_template"


def check_template(expected: Metadata, gguf: GGUFFile, own: Any) -> Part:
    """Compare every template's text, and the renderings of the one that a chat uses with transformers'.

    Args:
        expected: the metadata that the checkpoint's file would have.
        own: the folder's tokenizer in transformers, or None.
    """
    theirs, ours = _templates(expected), _templates(gguf.metadata)
    wrong = list(_wrong_texts(theirs, ours))
    if _KEY not in theirs or _KEY not in ours:
        return judged(NAME, "the folder has no chat template" if _KEY not in theirs else "missing", wrong)
    if own is None and not wrong:
        return not_evaluated(NAME, "transformers is not installed: pip install 'exaone4-gguf[reference]'")
    if own is not None:
        wrong += [f for c in CONVERSATIONS for f in _wrong_rendering(c, ours[_KEY], own)]
    return judged(NAME, f"{len(theirs[_KEY]):,} characters, {len(CONVERSATIONS)} conversations", wrong)


def _templates(metadata: Metadata) -> dict[str, str]:
    keys = (key for key in metadata if key == _KEY or key.startswith(f"{_KEY}."))
    return {key: str(metadata[key].data) for key in keys}


def _wrong_texts(expected: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Finding]:
    for key in sorted(expected.keys() | found.keys()):
        if key not in found:
            yield Finding(key, "missing; llama.cpp would take another template")
        elif key not in expected:
            yield Finding(key, "the folder has no such template")
        elif found[key] != expected[key]:
            yield Finding(key, f"its text is not the folder's: they part at {_where(found[key], expected[key])}")


def _where(a: str, b: str) -> str:
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    line = b.count("\n", 0, at) + 1
    return f"line {line}, column {at - b.rfind(chr(10), 0, at)}"


def _wrong_rendering(c: Conversation, template: str, own: Any) -> Iterator[Finding]:
    expected, found = _by_transformers(c, own), _by_runtime(c, template, own)
    if expected == found:
        return
    if found is None or expected is None:
        what = "the file's template fails on it" if found is None else "the folder's template fails on it"
    else:
        what = f"differs at {_where(found, expected)}"
    yield Finding(f"conversation '{c.name}'", what)


def _by_transformers(c: Conversation, own: Any) -> str | None:
    """The prompt; None where the template refuses the conversation."""
    options = {"add_generation_prompt": True, **c.options}
    try:
        return str(own.apply_chat_template(list(c.messages), tools=c.tools, tokenize=False, **options))
    except Exception:  # a template may raise anything
        return None


def _by_runtime(c: Conversation, template: str, own: Any) -> str | None:
    options = {"add_generation_prompt": True, **c.options}
    try:
        return ChatTemplate(template, own.special_tokens_map).render(c.messages, c.tools, **options)
    except ChatTemplateError:
        return None
