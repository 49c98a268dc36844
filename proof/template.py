"""The part ``template``: every chat template's text, and what it makes of conversations."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exaone4_gguf.errors import ChatTemplateError
from exaone4_gguf.format.file import GGUFFile
from exaone4_gguf.format.values import Metadata
from exaone4_gguf.proof.corpus import CONVERSATIONS, Conversation
from exaone4_gguf.proof.reading.quiet import first_line
from exaone4_gguf.proof.reading.vocabulary import OwnTokenizer
from exaone4_gguf.proof.report import Finding, Part, evaluated, first_difference, not_evaluated
from exaone4_gguf.runtime.prompt.template import ChatTemplate

NAME = "template"
DEFAULT = "default"
_KEY = "tokenizer.chat_template"


def own_templates(own: OwnTokenizer) -> dict[str, str]:
    """The templates of a folder's tokenizer, by the keys that gguf-py gives them (GGUFWriter.add_chat_template)."""
    named = own.chat_template or {}
    if not isinstance(named, dict):
        named = {DEFAULT: named}
    found = {}
    for name, text in named.items():
        safe = re.sub("[^A-Za-z0-9]", "_", name)
        found[_KEY if name == DEFAULT else f"{_KEY}.{safe}"] = text
    return found


def templates(metadata: Metadata) -> dict[str, str]:
    """The templates of a file, by their keys."""
    keys = (key for key in metadata if key == _KEY or key.startswith(f"{_KEY}."))
    return {key: str(metadata[key].data) for key in keys}


def check_template(expected: Mapping[str, str], gguf: GGUFFile, own: OwnTokenizer | None) -> Part:
    """Compare every template's text, and its renderings with transformers'.

    Args:
        expected: the folder's templates, by the keys of GGUF.
        own: the folder's tokenizer; None without transformers.
    """
    found = templates(gguf.metadata)
    wrong = list(_wrong_texts(expected, found))
    both = sorted(expected.keys() & found.keys())
    if not both:
        return evaluated(NAME, "missing" if expected else "the folder has no chat template", wrong)
    if own is None and wrong:
        return evaluated(NAME, "the texts differ", wrong)
    if own is None:
        return not_evaluated(NAME, "transformers is not installed: pip install 'exaone4-gguf[reference]'")
    failing: list[str] = []
    rendered = set()
    for key in both:
        prefix = ""
        if len(expected) > 1:
            prefix = f"{key}, "
        for c in CONVERSATIONS:
            theirs, ours = _by_transformers(c, expected[key], own), _by_runtime(c, found[key], own)
            what = _difference(theirs, ours)
            if what:
                wrong.append(Finding(f"{prefix}conversation '{c.name}'", what))
            if theirs.failed and ours.failed:
                failing.append(f"'{c.name}': {theirs.error}")
            if theirs.text is not None:
                rendered.add(key)
    n_conversations = len(both) * len(CONVERSATIONS)
    if failing and not wrong:
        where = f"{len(failing)} of {n_conversations} conversations, the first {failing[0]}"
        return not_evaluated(NAME, f"the template fails in transformers as well, on {where}")
    refusing = [key for key in both if key not in rendered]
    if refusing and not wrong:
        return not_evaluated(NAME, f"{refusing[0]} refuses every conversation, in transformers as well")
    n_characters = sum(map(len, expected.values()))
    return evaluated(NAME, f"{n_characters:,} characters, {n_conversations} conversations", wrong)


def _wrong_texts(expected: Mapping[str, str], found: Mapping[str, str]) -> Iterator[Finding]:
    for key in sorted(expected.keys() | found.keys()):
        if key not in found:
            yield Finding(key, "missing; llama.cpp would take another template")
        elif key not in expected:
            yield Finding(key, "the folder has no such template")
        elif _lines(found[key]) != _lines(expected[key]):
            where = _where(_lines(found[key]), _lines(expected[key]))
            yield Finding(key, f"its text is not the folder's: they part at {where}")


def _lines(text: str) -> str:
    """The text with the line ends that transformers reads a file with, and that Jinja makes of any."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _where(a: str, b: str) -> str:
    at = first_difference(a, b)
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


def _difference(theirs: _Rendering, ours: _Rendering) -> str:
    """How the file's rendering in the runtime differs from the folder's in transformers; empty where it does not."""
    if theirs.text is not None and ours.text is not None:
        if theirs.text == ours.text:
            return ""
        return f"differs at {_where(ours.text, theirs.text)}"
    if theirs.text is not None:
        return "the file's template fails on it"
    if ours.text is not None:
        return "the folder's template fails on it"
    if theirs.refused != ours.refused:
        return "the one template refuses it, the other fails on it"
    return ""


def _by_transformers(c: Conversation, template: str, own: OwnTokenizer) -> _Rendering:
    options = {"add_generation_prompt": True, "chat_template": template, **c.options}
    try:
        return _Rendering(str(own.apply_chat_template(list(c.messages), tools=c.tools, tokenize=False, **options)))
    except Exception as e:  # a template may raise anything
        return _no_rendering(e)


def _by_runtime(c: Conversation, template: str, own: OwnTokenizer) -> _Rendering:
    options = {"add_generation_prompt": True, **c.options}
    try:
        return _Rendering(ChatTemplate(template, own.special_tokens_map).render(c.messages, c.tools, **options))
    except ChatTemplateError as e:
        return _no_rendering(e.__cause__ or e)


def _no_rendering(error: BaseException) -> _Rendering:
    """A template refuses by ``raise_exception``, which is Jinja's plainest error in transformers and here."""
    from jinja2 import TemplateError

    return _Rendering(None, first_line(error), refused=type(error) is TemplateError)
