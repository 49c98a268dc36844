"""RoPE: where the configuration keeps its numbers, and the frequency factors that GGUF stores.

Published configurations have ``rope_theta`` and ``rope_scaling`` at the root; transformers 5 writes both into
``rope_parameters``. The two may stand side by side if they agree.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from exaone4_gguf.errors import ConfigError


@dataclass(frozen=True)
class RopeScaling:
    """The parameters of rope_type ``llama3``; ``original_context`` is in tokens."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_context: float


LAYER_TYPES = ("full_attention", "sliding_attention")
"""transformers may write parameters for each of these."""

_LOST = {
    "yarn": ": without it, longer texts would be lost, and as it scales attention too, answers to short ones be others",
    "longrope": ": without it, longer texts would be lost, and answers to short ones be others",
    "linear": ": without it, every position would be another, in short texts as well",
    "dynamic": ": without it, longer texts would be lost",
}
"""What a file would lose that is written as if there were no such scaling."""

_LLAMA3_KEYS = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")


def read_rope(raw: dict[str, Any]) -> tuple[float, RopeScaling | None]:
    """Theta and the scaling (None for rope_type default) of a configuration.

    Raises:
        ConfigError: no theta, another rope_type, a parameter missing or senseless, or two that disagree.
    """
    parameters = _merged(raw)
    theta = _number(parameters, "rope_theta", "; llama.cpp would take 10000 and be wrong")
    partial = parameters.get("partial_rotary_factor", 1.0)
    if partial != 1.0:
        raise ConfigError(f"partial_rotary_factor is {partial!r}; llama.cpp's exaone4 computes only 1.0")
    kind = parameters.get("rope_type", parameters.get("type", "default"))
    if parameters.get("type", kind) != kind:
        raise ConfigError(f"rope_type is {kind!r}, but type is {parameters['type']!r}")
    if kind == "default":
        return theta, None
    if kind != "llama3":
        raise ConfigError(
            f"rope_type is {kind!r}{_stretch(parameters)}; llama.cpp's exaone4 is known to be right with default and "
            f"llama3 only{_LOST.get(kind, '') if isinstance(kind, str) else ''}"
        )
    scaling = RopeScaling(*(_number(parameters, key) for key in _LLAMA3_KEYS))
    if scaling.low_freq_factor >= scaling.high_freq_factor:
        raise ConfigError(
            f"low_freq_factor {scaling.low_freq_factor} must be below high_freq_factor {scaling.high_freq_factor}"
        )
    return theta, scaling


def _stretch(parameters: dict[str, Any]) -> str:
    """By how much a scaling stretches the context, as far as that is told."""
    told = (("by {}", "factor"), ("from {} tokens", "original_max_position_embeddings"))
    shown = [form.format(parameters[key]) for form, key in told if isinstance(parameters.get(key), int | float)]
    if shown:
        return f" (the context is stretched {', '.join(shown)})"
    return ""


def _merged(raw: dict[str, Any]) -> dict[str, Any]:
    """All RoPE parameters in one dictionary, whichever of the three places they stand in."""
    merged: dict[str, Any] = {}
    for source in (
        {key: raw[key] for key in ("rope_theta", "original_max_position_embeddings") if raw.get(key) is not None},
        _flat(raw.get("rope_scaling"), "rope_scaling"),
        _flat(raw.get("rope_parameters"), "rope_parameters"),
    ):
        for key, value in source.items():
            if merged.setdefault(key, value) != value:
                raise ConfigError(f"{key} is given twice, as {merged[key]!r} and as {value!r}")
    return merged


def _flat(parameters: Any, name: str) -> dict[str, Any]:
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise ConfigError(f"{name} is {parameters!r}; it must be an object")
    by_layer_type = [v for key, v in parameters.items() if key in LAYER_TYPES]
    if not by_layer_type:
        return {key: value for key, value in parameters.items() if value is not None}
    if len(by_layer_type) != len(parameters) or any(v != by_layer_type[0] for v in by_layer_type):
        raise ConfigError(f"{name} differs by layer type; llama.cpp's exaone4 has one RoPE for all layers")
    return _flat(by_layer_type[0], name)


def _number(parameters: dict[str, Any], key: str, hint: str = "") -> float:
    value = parameters.get(key)
    if value is None:
        raise ConfigError(f"{key} is missing{hint}")
    return positive_f32(key, value)


def positive_f32(key: str, value: Any) -> float:
    """A number above 0 that GGUF's 32 bits can hold.

    Raises:
        ConfigError: it is none.
    """
    low, high = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
        shown = repr(value) if isinstance(value, float) else str(value)[:40]
        raise ConfigError(f"{key} is {shown}; it must be a number above 0 that 32 bits can hold")
    return float(value)


def frequency_factors(theta: float, scaling: RopeScaling, head_dim: int) -> npt.NDArray[np.float32]:
    """What each rotation frequency is divided by, as ``rope_freqs.weight`` stores it.

    Frequencies whose wavelength is short stay as they are, long ones are divided by ``factor``, those between
    are blended: the formula of transformers' ``_compute_llama3_parameters`` (modeling_rope_utils.py).

    Returns:
        F32 of shape (head_dim / 2,).
    """
    frequencies = 1.0 / theta ** (np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    turns = scaling.original_context * frequencies / (2 * math.pi)  # over the original context
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    smooth = np.clip((turns - low) / (high - low), 0.0, 1.0)
    blended = (1 - smooth) / scaling.factor + smooth
    return (1.0 / blended).astype(np.float32)
