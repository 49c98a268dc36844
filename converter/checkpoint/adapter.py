"""An adapter (LoRA and its like) beside the weights, or in their place, which is not merged here.

Where adapter_config.json is in a folder, transformers' ``from_pretrained`` puts the adapter on top of the weights
(utils/peft_utils.py, find_adapter_config_file), so that the base alone would be another model.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.checkpoint.folder import load_json, weight_files
from exaone4_gguf.errors import CheckpointError

_log = logging.getLogger(__name__)

CONFIG = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")

_MERGE = "merge it into its base first (peft: merge_and_unload, then save_pretrained)"


def check_no_adapter(model_dir: Path) -> None:
    """Refuse an adapter by name; weights of one beside the base's, without their configuration, are left out.

    Raises:
        CheckpointError: there is one; what to do about it.
    """
    there = [name for name in (CONFIG, *WEIGHTS) if (model_dir / name).is_file()]
    if not there:
        return
    has_base = _has_weights(model_dir)
    if has_base and CONFIG not in there:
        _log.warning("%s: %s is left out, as transformers does without %s", model_dir, " and ".join(there), CONFIG)
        return
    what = f"{model_dir}: {' and '.join(there)}: an adapter{_described(model_dir / CONFIG)}"
    if not has_base:
        raise CheckpointError(f"{what} without the weights that it belongs to; {_MERGE}")
    raise CheckpointError(
        f"{what}, which transformers puts on top of the weights; {_MERGE}, or move {' and '.join(there)} away to "
        "convert the weights without it"
    )


def _has_weights(model_dir: Path) -> bool:
    """Whether there are weights of a model, which may be incomplete."""
    try:
        return bool(weight_files(model_dir))
    except CheckpointError:
        return False


def _described(config: Path) -> str:
    """Its kind and its base, as far as they are named."""
    raw = load_json(config) if config.is_file() else {}
    kind, base = (_short(raw.get(key)) for key in ("peft_type", "base_model_name_or_path"))
    return f"{' (' + kind + ')' if kind else ''}{' of ' + base if base else ''}"


def _short(value: Any) -> str:
    if isinstance(value, str):
        return " ".join(value.split())[:100]
    return ""
