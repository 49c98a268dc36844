"""The chat templates of a folder, byte for byte, in the order in which transformers looks for them.

And the one change that stock llama-server needs to see the thoughts: where it is asked for, ``for_llama_server``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from exaone4_gguf.converter.checkpoint.folder import load_json, load_text
from exaone4_gguf.errors import TokenizerError

DEFAULT = "default"
TOOL_USE = "tool_use"
"""The name of the one that is used where tools are given, in transformers, llama.cpp and here."""


def read_chat_templates(model_dir: Path) -> dict[str, str]:
    """Templates by name; the one that a chat uses is ``default``. Empty where the folder has none.

    Files go before tokenizer_config.json, as in transformers (PreTrainedTokenizerBase._from_pretrained).

    Raises:
        TokenizerError: a template is no text.
    """
    return dict(_files(model_dir)) or dict(_from_settings(model_dir / "tokenizer_config.json"))


def check_they_compile(model_dir: Path, templates: Mapping[str, str]) -> None:
    """Raises TokenizerError for a template that does not compile, with its name and the line."""
    for name, template in templates.items():
        _check_compiles(model_dir, name, template)


def _files(model_dir: Path) -> Iterator[tuple[str, str]]:
    if (path := model_dir / "chat_template.jinja").is_file():
        yield DEFAULT, load_text(path, TokenizerError)
    for path in sorted((model_dir / "additional_chat_templates").glob("*.jinja")):
        yield path.stem, load_text(path, TokenizerError)


def _from_settings(path: Path) -> Iterator[tuple[str, str]]:
    field = load_json(path, TokenizerError).get("chat_template") if path.is_file() else None
    if isinstance(field, str):
        yield DEFAULT, field
    elif field is not None:
        yield from (_named(path, entry) for entry in (field if isinstance(field, list) else [field]))


def _check_compiles(model_dir: Path, name: str, template: str) -> None:
    """Nothing of it is run: constants are not folded, and what is compiled is thrown away."""
    try:
        _environment().compile(template)
    except jinja2.TemplateSyntaxError as e:
        reason = f"line {e.lineno}: {' '.join((e.message or '').split())[:300]}"
    except Exception as e:  # Jinja is asked to read foreign code: it may raise anything
        reason = f"{type(e).__name__}: {' '.join(str(e).split())[:300]}"
    else:
        return
    which = "the chat template" if name == DEFAULT else f"the chat template '{name}'"
    raise TokenizerError(f"{model_dir}: {which} does not compile: {reason}")


@functools.cache
def _environment() -> jinja2.Environment:
    """With what transformers' has (utils/chat_template_utils.py)."""
    return ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"], optimized=False
    )


class _Generation(Extension):
    """``{% generation %}``, which marks the assistant's text for training."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


def with_llama_server_form(model_dir: Path, templates: dict[str, str]) -> dict[str, str]:
    """The templates, those that llama-server uses in the form that it understands.

    Raises:
        TokenizerError: there is none, or ``for_llama_server`` does not know its form.
    """
    if DEFAULT not in templates:
        raise TokenizerError(f"{model_dir}: it has no chat template that could be changed for llama-server")
    try:
        used = {name: for_llama_server(templates[name]) for name in (DEFAULT, TOOL_USE) if name in templates}
    except TokenizerError as e:
        raise TokenizerError(f"{model_dir}: {e}") from None
    return templates | used


_SKIPS_THOUGHTS = re.compile(
    r"(\{%-?\s*if\s+not\s+skip_think\s+is\s+defined\s*-?%\}\s*\{%-?\s*)set\s+skip_think\s*=\s*true"
    r"(\s*-?%\}\s*\{%-?\s*endif\s*-?%\})"
)
_CONDITION = "set skip_think = add_generation_prompt is defined and add_generation_prompt"
_USES_IT = re.compile(r"\bnot\s+skip_think\s+and\s+loop\.last\b")

_PRINTING = r"(?:(?!\{%-?\s*(?:for|macro|set|continue|break)\b).)*?"
"""Text, printed expressions and conditions."""
_LEAVES_EARLY = re.compile(
    rf"(\{{%-?\s*if i == 0\s*-?%\}}\s*\{{%-?\s*if role == 'system'\s*-?%\}}{_PRINTING})\{{%-\s*continue\s*%\}}"
    rf"({_PRINTING}\{{%-\s*endif\s*%\}}\s*\{{%-\s*endif\s*%\}}\s*)\{{%-\s*if role == 'assistant'\s*%\}}",
    re.DOTALL,
)
_SKIPS_THE_REST = r"\1\2{%- if i == 0 and role == 'system' %}{%- elif role == 'assistant' %}"
_LOOP_CONTROL = re.compile(r"\{%-?\s*(?:continue|break)\s*-?%\}")


def for_llama_server(template: str) -> str:
    """The template, changed so that llama.cpp prints it right and sees which text is reasoning.

    Two places are changed. For each conversation that a server renders, which is with a generation prompt, the text
    stays the same, character by character, in Jinja; in llama.cpp it becomes that text.

    - llama.cpp learns a template's form from what it prints without a generation prompt: a last turn of the assistant
      with thoughts must differ from one without (``compare_reasoning_presence``, common/chat-diff-analyzer.cpp). The
      published template drops all thoughts by default; now it does so where a generation prompt is asked for.
    - llama.cpp's Jinja loses what an ``if`` has printed when a ``continue`` in it leaves the loop
      (``if_statement::execute_impl``, common/jinja/runtime.cpp). The published template prints a leading system turn
      so, with the tools in it: llama-server would evaluate neither. Now a condition takes the place of ``continue``.

    A template that has been changed already comes back as it is.

    Raises:
        TokenizerError: the template has another form.
    """
    if _CONDITION in template:
        return template
    changed, count = _SKIPS_THOUGHTS.subn(rf"\1{_CONDITION}\2", template)
    if count != 1 or len(_USES_IT.findall(template)) != 1 or len(re.findall(r"\bskip_think\b", template)) != 3:
        raise TokenizerError(f"{_UNKNOWN_FORM}: it has not the usual default for skip_think")
    changed = _LEAVES_EARLY.sub(_SKIPS_THE_REST, changed)
    if _LOOP_CONTROL.search(changed):
        raise TokenizerError(f"{_UNKNOWN_FORM}: a loop is left by continue or break, where llama.cpp loses text")
    return changed


_UNKNOWN_FORM = "the chat template has not the form that can be changed for llama-server"


def _named(path: Path, entry: Any) -> tuple[str, str]:
    name, template = (entry.get("name"), entry.get("template")) if isinstance(entry, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(template, str):
        raise TokenizerError("chat_template must be text, or a list of names and templates", where=str(path))
    return name, template
