"""The part ``template``: every chat template's text, and what it makes of conversations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from exaone4_gguf.errors import ChatTemplateError
from exaone4_gguf.format.file import GGUFFile
from exaone4_gguf.format.values import Metadata
from exaone4_gguf.proof.corpus import CONVERSATIONS, Conversation
from exaone4_gguf.proof.report import Finding, Part, Verdict, judged, not_evaluated
from exaone4_gguf.runtime.prompt.template import ChatTemplate

NAME = "template"
DEFAULT = "default"
_KEY = "tokenizer.chat_template"


def own_templates(own: Any) -> dict[str, str]:
    """The templates of a tokenizer of transformers, by the keys of GGUF."""
    found = own.chat_template or {}
    named = found if isinstance(found, dict) else {DEFAULT: found}
    return {_KEY if name == DEFAULT else f"{_KEY}.{_safe(name)}": text for name, text in named.items()}


def _safe(name: str) -> str:
    """A name as gguf-py writes it into a key (GGUFWriter.add_chat_template)."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name)


def templates(metadata: Metadata) -> dict[str, str]:
    """The templates of a file, by their keys."""
    keys = (key for key in metadata if key == _KEY or key.startswith(f"{_KEY}."))
    return {key: str(metadata[key].data) for key in keys}


def check_template(expected: Mapping[str, str], gguf: GGUFFile, own: Any) -> Part:
    """Compare every template's text, and its renderings with transformers'.

    Args:
        expected: the folder's templates, by the keys of GGUF.
        own: the folder's tokenizer in transformers, or None.
    """
    found = templates(gguf.metadata)
    wrong = list(_wrong_texts(expected, found))
    both = sorted(expected.keys() & found.keys())
    if not both:
        return judged(NAME, "missing" if expected else "the folder has no chat template", wrong)
    if own is None:
        missing = "transformers is not installed: pip install 'exaone4-gguf[reference]'"
        return judged(NAME, "the texts differ", wrong) if wrong else not_evaluated(NAME, missing)
    named = len(expected) > 1
    pairs = [(key, c, *_rendered(expected[key], c, found[key], own)) for key in both for c in CONVERSATIONS]
    wrong += [f for key, c, theirs, ours in pairs for f in _difference(f"{key}, " if named else "", c, theirs, ours)]
    summary = f"{sum(map(len, expected.values())):,} characters, {len(pairs)} conversations"
    failing = [(c.name, theirs.error) for _, c, theirs, ours in pairs if theirs.failed and ours.failed]
    if failing and not wrong:
        conversation, error = failing[0]
        where = f"{len(failing)} of {len(pairs)} conversations, the first '{conversation}': {error}"
        return not_evaluated(NAME, f"the template fails in transformers as well, on {where}")
    spoken = {key for key, _, theirs, _ in pairs if theirs.text is not None}
    if (mute := [key for key in both if key not in spoken]) and not wrong:
        return not_evaluated(NAME, f"{mute[0]} refuses every conversation, in transformers as well")
    return Part(NAME, Verdict.FAILED if wrong else Verdict.PASSED, summary, tuple(wrong))


def _wrong_texts(expected: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Finding]:
    for key in sorted(expected.keys() | found.keys()):
        if key not in found:
            yield Finding(key, "missing; llama.cpp would take another template")
        elif key not in expected:
            yield Finding(key, "the folder has no such template")
        elif (a := _lines(found[key])) != (b := _lines(expected[key])):
            yield Finding(key, f"its text is not the folder's: they part at {_where(a, b)}")


def _lines(text: str) -> str:
    """With the line ends that transformers reads a file with, and that Jinja makes of any."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _where(a: str, b: str) -> str:
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    line = b.count("\n", 0, at) + 1
    return f"line {line}, column {at - b.rfind(chr(10), 0, at)}"


@dataclass(frozen=True)
class _Rendering:
    """A prompt; or why there is none: the template's own refusal (raise_exception), or a failure."""

    text: str | None
    error: str = ""
    refused: bool = False

    @property
    def failed(self) -> bool:
        return self.text is None and not self.refused


def _difference(template: str, c: Conversation, theirs: _Rendering, ours: _Rendering) -> Iterator[Finding]:
    where = f"{template}conversation '{c.name}'"
    if theirs.text is not None and ours.text is not None:
        if theirs.text != ours.text:
            yield Finding(where, f"differs at {_where(ours.text, theirs.text)}")
    elif ours.text is None and theirs.text is not None:
        yield Finding(where, "the file's template fails on it")
    elif theirs.text is None and ours.text is not None:
        yield Finding(where, "the folder's template fails on it")
    elif theirs.refused != ours.refused:
        yield Finding(where, "the one template refuses it, the other fails on it")


def _rendered(expected: str, c: Conversation, found: str, own: Any) -> tuple[_Rendering, _Rendering]:
    """What transformers makes of a conversation with the folder's template, and the runtime with the file's."""
    return _by_transformers(c, expected, own), _by_runtime(c, found, own)


def _by_transformers(c: Conversation, template: str, own: Any) -> _Rendering:
    options = {"add_generation_prompt": True, "chat_template": template, **c.options}
    try:
        return _Rendering(str(own.apply_chat_template(list(c.messages), tools=c.tools, tokenize=False, **options)))
    except Exception as e:  # a template may raise anything
        return _no_rendering(e)


def _by_runtime(c: Conversation, template: str, own: Any) -> _Rendering:
    options = {"add_generation_prompt": True, **c.options}
    try:
        return _Rendering(ChatTemplate(template, own.special_tokens_map).render(c.messages, c.tools, **options))
    except ChatTemplateError as e:
        return _no_rendering(e.__cause__ or e)


def _no_rendering(error: BaseException) -> _Rendering:
    """A template refuses by ``raise_exception``, which is Jinja's plainest error in transformers and here."""
    from jinja2 import TemplateError

    reason = str(error).strip().splitlines() or [type(error).__name__]
    return _Rendering(None, reason[0], refused=type(error) is TemplateError)
