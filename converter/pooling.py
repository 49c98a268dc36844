"""A folder of sentence-transformers: what modules.json beside the weights makes of hidden states.

Read as sentence-transformers 5 reads it (Pooling.load_config, SentenceTransformer). A GGUF file can say mean, cls and
last; whatever else would change a vector is refused by name.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from exaone4_gguf.converter.checkpoint.folder import check_text, load_json
from exaone4_gguf.errors import ConfigError

_log = logging.getLogger(__name__)

POOLING_TYPES = {"mean": 1, "cls": 2, "lasttoken": 3}
"""sentence-transformers' names and llama.cpp's numbers (LLAMA_POOLING_TYPE_*, llama.h)."""

_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""The older form of a pooling's config.json: a flag for each mode."""

_HARMLESS = frozenset(("Normalize", "Dropout"))
"""Modules behind the pooling: vectors are normalized by default, and dropout is for training."""

_TRANSFORMER_CONFIG = "sentence_bert_config.json"
_SENTENCE_CONFIG = "config_sentence_transformers.json"
_OTHERWISE = "--allow-wrong-in-llama-cpp writes the file without it"


def read_pooling(model_dir: Path) -> int | None:
    """The number of the pooling that the folder asks for; None if it asks for none.

    Raises:
        ConfigError: malformed, or with a module, a mode or a prompt that would give other vectors.
    """
    modules = _modules(model_dir / "modules.json")
    kinds = [kind for kind, _ in modules]
    if "Pooling" not in kinds:
        return None
    _check_modules(model_dir / "modules.json", modules)
    _check_texts(model_dir)
    path = model_dir / modules[1][1] / "config.json"
    modes = _modes(path, load_json(path, ConfigError))
    if len(modes) != 1 or modes[0] not in POOLING_TYPES:
        raise ConfigError(
            f"{path}: it pools by {' and '.join(modes)}; GGUF knows one of {', '.join(POOLING_TYPES)}; {_OTHERWISE}"
        )
    return POOLING_TYPES[modes[0]]


def _modules(path: Path) -> list[tuple[str, str]]:
    """The modules in their order: the class, without its package, and the folder."""
    if not path.is_file():
        return []
    check_text(path, ConfigError)
    try:
        entries = json.loads(path.read_bytes())
        found = [(str(entry["type"]).rpartition(".")[2], str(entry.get("path", ""))) for entry in entries]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as e:
        raise ConfigError(f"{path}: not a list of modules ({type(e).__name__}: {e})") from None
    outside = [folder for _, folder in found if _leads_out(folder)]
    if outside:
        raise ConfigError(f"{path}: '{outside[0]}' is not a folder in the checkpoint")
    return found


def _leads_out(folder: str) -> bool:
    parts = PurePosixPath(folder)
    return parts.is_absolute() or ".." in parts.parts or any(c in folder for c in "\\:\0")


def _check_modules(path: Path, modules: Sequence[tuple[str, str]]) -> None:
    """The transformer with its weights here, the pooling, and nothing that changes a vector after it."""
    if modules[0][0] != "Transformer" or modules[0][1] not in ("", "."):
        kind, folder = modules[0]
        raise ConfigError(f"{path}: its first module is {kind} in '{folder}'; it must be a Transformer in this folder")
    for position, (kind, _) in enumerate(modules[1:], 1):
        if (kind == "Pooling") != (position == 1) or (position > 1 and kind not in _HARMLESS):
            raise ConfigError(f"{path}: a module {kind} as number {position + 1} has no place in GGUF; {_OTHERWISE}")


def _check_texts(model_dir: Path) -> None:
    """Nothing is done to a text before it is tokenized."""
    transformer = _optional(model_dir / _TRANSFORMER_CONFIG)
    if transformer.get("do_lower_case"):
        raise ConfigError(
            f"{model_dir / _TRANSFORMER_CONFIG}: do_lower_case is true; GGUF has no key for it; {_OTHERWISE}"
        )
    path = model_dir / _SENTENCE_CONFIG
    settings = _optional(path)
    prompts, default = settings.get("prompts") or {}, settings.get("default_prompt_name")
    if not isinstance(prompts, dict):
        raise ConfigError(f"{path}: prompts is {str(prompts)[:40]!r}; it must be an object of names and texts")
    if default is not None and prompts.get(default) != "":
        raise ConfigError(
            f"{path}: every text is to begin with the prompt '{default}'; GGUF has no key for it; {_OTHERWISE}"
        )
    named = [name for name, text in prompts.items() if text]
    if named:
        _log.warning("%s: GGUF has no key for its prompts (%s); put them before the texts", path, ", ".join(named))


def _optional(path: Path) -> dict[str, Any]:
    if path.is_file():
        return load_json(path, ConfigError)
    return {}


def _modes(path: Path, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """The newer form's ``pooling_mode``, else the flags that are set; the mean where nothing is said."""
    named = settings.get("pooling_mode")
    if named is None:
        return tuple(mode for flag, mode in _FLAGS.items() if settings.get(flag)) or ("mean",)
    modes = [named] if isinstance(named, str) else named
    if not isinstance(modes, list) or not modes or not all(isinstance(mode, str) for mode in modes):
        raise ConfigError(f"{path}: pooling_mode is {named!r}; it must be a mode or a list of them")
    return tuple(mode.lower() for mode in modes)
