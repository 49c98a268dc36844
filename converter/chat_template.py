"""The chat templates of a folder, byte for byte, in the order in which transformers looks for them.

And the one change that stock llama-server needs to see the thoughts: where it is asked for, ``for_llama_server``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.checkpoint import load_json, load_text
from exaone4_gguf.errors import TokenizerError

DEFAULT = "default"


def read_chat_templates(model_dir: Path) -> dict[str, str]:
    """Templates by name; the one that a chat uses is ``default``. Empty where the folder has none.

    Raises:
        TokenizerError: a template is no text.
    """
    if (path := model_dir / "chat_template.jinja").is_file():
        templates = {DEFAULT: load_text(path, TokenizerError)}
        extra = sorted((model_dir / "additional_chat_templates").glob("*.jinja"))
        return templates | {p.stem: load_text(p, TokenizerError) for p in extra}
    settings = model_dir / "tokenizer_config.json"
    field = load_json(settings, TokenizerError).get("chat_template") if settings.is_file() else None
    if isinstance(field, str):
        return {DEFAULT: field}
    named = field if isinstance(field, list) else [] if field is None else [field]
    return dict(_named(settings, entry) for entry in named)


def with_llama_server_form(model_dir: Path, templates: dict[str, str]) -> dict[str, str]:
    """The templates, the default one in the form that llama-server understands.

    Raises:
        TokenizerError: there is none, or ``for_llama_server`` does not know its form.
    """
    if DEFAULT not in templates:
        raise TokenizerError(f"{model_dir}: it has no chat template that could be changed for llama-server")
    try:
        return templates | {DEFAULT: for_llama_server(templates[DEFAULT])}
    except TokenizerError as e:
        raise TokenizerError(f"{model_dir}: {e}") from None


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
        raise TokenizerError(f"{path}: chat_template must be text, or a list of names and templates")
    return name, template
