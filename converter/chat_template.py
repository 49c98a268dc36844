"""The chat templates of a folder, byte for byte, in the order in which transformers looks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from exaone4_gguf.converter.checkpoint import load_json
from exaone4_gguf.errors import TokenizerError

DEFAULT = "default"


def read_chat_templates(model_dir: Path) -> dict[str, str]:
    """Templates by name; the one that a chat uses is ``default``. Empty where the folder has none.

    Raises:
        TokenizerError: a template is no text.
    """
    if (path := model_dir / "chat_template.jinja").is_file():
        templates = {DEFAULT: _text(path)}
        extra = sorted((model_dir / "additional_chat_templates").glob("*.jinja"))
        return templates | {p.stem: _text(p) for p in extra}
    settings = model_dir / "tokenizer_config.json"
    field = load_json(settings, TokenizerError).get("chat_template") if settings.is_file() else None
    if isinstance(field, str):
        return {DEFAULT: field}
    named = field if isinstance(field, list) else [] if field is None else [field]
    return dict(_named(settings, entry) for entry in named)


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise TokenizerError(f"{path}: not UTF-8 text") from None


def _named(path: Path, entry: Any) -> tuple[str, str]:
    name, template = (entry.get("name"), entry.get("template")) if isinstance(entry, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(template, str):
        raise TokenizerError(f"{path}: chat_template must be text, or a list of names and templates")
    return name, template
