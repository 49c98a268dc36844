"""config.json of EXAONE 4, in every form it is published in, checked against what llama.cpp computes.

Absent keys mean what transformers' ``Exaone4Config`` means by them; null is not the same as absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.checkpoint.folder import load_json
from exaone4_gguf.converter.classes import CAUSAL, CLASSES, HeadConfig, ModelClass, read_head_config
from exaone4_gguf.converter.rope import RopeScaling, positive_f32, read_rope
from exaone4_gguf.converter.tokenizer.token_roles import TokenRoles, read_token_roles
from exaone4_gguf.errors import ConfigError
from exaone4_gguf.format.file import MAX_BLOCKS
from exaone4_gguf.format.keys import WINDOWED_DEPTH

MODEL_TYPE = "exaone4"

# transformers 5.23, models/exaone4/configuration_exaone4.py
DEFAULTS: dict[str, Any] = {
    "vocab_size": 102400,
    "hidden_size": 4096,
    "intermediate_size": 16384,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
    "sliding_window": 4096,
    "sliding_window_pattern": 4,
    "hidden_act": "silu",
}

# What llama.cpp's exaone4 graph has fixed: any other value would be computed wrong.
FIXED: dict[str, Any] = {
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "partial_rotary_factor": 1.0,
}

SLIDING, FULL = "sliding_attention", "full_attention"


@dataclass(frozen=True)
class Exaone4Config:
    """What the converter needs to know of the model. Sizes are in elements, contexts in tokens.

    ``sliding_layers[i]`` is true where layer i sees only ``sliding_window`` tokens.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    tie_word_embeddings: bool
    sliding_window: int | None
    sliding_layers: tuple[bool, ...]
    rope_theta: float
    rope_scaling: RopeScaling | None
    roles: TokenRoles
    model_class: ModelClass = CAUSAL
    head: HeadConfig | None = None
    quantization: str = ""
    """The method that a quantization_config names; the weights tell whether it still holds."""

    @property
    def eos_token_ids(self) -> tuple[int, ...]:
        """Those that config.json names; the tokenizer and generation_config.json may name others."""
        return self.roles.ends

    @property
    def n_labels(self) -> int:
        """Rows of the head's matrix."""
        if self.head:
            return self.head.n_labels
        return 0

    @property
    def q_size(self) -> int:
        """Width of all query heads together."""
        return self.num_attention_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Width of all key (or value) heads together."""
        return self.num_key_value_heads * self.head_dim

    @property
    def rope_layers(self) -> tuple[bool, ...]:
        """Per layer, whether it rotates: it does not if and only if a window is set and the layer is full."""
        return tuple(self.sliding_window is None or sliding for sliding in self.sliding_layers)

    def sizes(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """A shape written in the names of these fields, as numbers."""
        return tuple(int(getattr(self, name)) for name in names)


def read_config(model_dir: Path) -> Exaone4Config:
    """Read and check ``config.json``.

    Raises:
        ConfigError: missing, malformed, of another architecture, or with a setting that llama.cpp's exaone4
            cannot compute.
    """
    path = model_dir / "config.json"
    raw = load_json(path, ConfigError)
    try:
        return parse_config(raw)
    except ConfigError as e:
        raise ConfigError(f"{path}: {e}") from None


def parse_config(raw: dict[str, Any]) -> Exaone4Config:
    """``read_config`` for a configuration that is at hand."""
    model_class = _model_class(raw)
    _check_fixed(raw)
    layers = _count(raw, "num_hidden_layers", MAX_BLOCKS)
    window = None if _get(raw, "sliding_window") is None else _count(raw, "sliding_window")
    heads, hidden = _count(raw, "num_attention_heads"), _count(raw, "hidden_size")
    head_dim = hidden // heads if raw.get("head_dim") is None else _count(raw, "head_dim")
    theta, scaling = read_rope(raw)
    config = Exaone4Config(
        vocab_size=_count(raw, "vocab_size"),
        hidden_size=hidden,
        intermediate_size=_count(raw, "intermediate_size"),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=_count(raw, "num_key_value_heads"),
        head_dim=head_dim,
        max_position_embeddings=_count(raw, "max_position_embeddings"),
        rms_norm_eps=_positive(raw, "rms_norm_eps"),
        tie_word_embeddings=_flag(raw, "tie_word_embeddings"),
        sliding_window=window,
        sliding_layers=_sliding_layers(raw, layers, window),
        rope_theta=theta,
        rope_scaling=scaling,
        roles=read_token_roles(raw),
        model_class=model_class,
        head=read_head_config(raw, model_class),
        quantization=_quantization(raw.get("quantization_config")),
    )
    _check_heads(config)
    return config


def check_llama_cpp_runs_it(n_layers: int, sliding_window: int | None, any_layer_slides: bool) -> None:
    """Refuse what llama.cpp would load without a word and compute wrong: it decides by the depth alone.

    Raises:
        ConfigError: a window at a depth other than 64, no window at 64, or one that no layer uses.
    """
    if (sliding_window is not None) == (n_layers == WINDOWED_DEPTH):
        if sliding_window is not None and not any_layer_slides:
            raise ConfigError(
                f"the model has a sliding window of {sliding_window}, but no layer that slides: llama.cpp ends its "
                "process on such a file",
                hint="--allow-wrong-in-llama-cpp writes it all the same",
            )
        return
    has = "no window" if sliding_window is None else f"a sliding window of {sliding_window}"
    does = "never"
    if n_layers == WINDOWED_DEPTH:
        does = "always"
    raise ConfigError(
        f"the model has {n_layers} layers and {has}, but at that depth llama.cpp {does} uses a window and "
        "would compute other logits",
        hint="--allow-wrong-in-llama-cpp writes the file all the same",
    )


def _model_class(raw: dict[str, Any]) -> ModelClass:
    """The class of transformers that the checkpoint was saved from; one that does not say is a language model."""
    model_type, architectures = raw.get("model_type"), raw.get("architectures") or []
    if isinstance(architectures, list):
        named = ", ".join(map(str, architectures))
    else:
        named = str(architectures)
    if model_type != MODEL_TYPE:
        raise ConfigError(f"the architecture is {named or '?'} (model_type {model_type!r}), not {CAUSAL.name}")
    if named and named not in CLASSES:
        raise ConfigError(f"the architecture is {named}; those that can be converted are {', '.join(CLASSES)}")
    return CLASSES.get(named, CAUSAL)


def _quantization(settings: Any) -> str:
    """The method's name, or what else is said of it."""
    if not settings:
        return ""
    named = settings.get("quant_method") if isinstance(settings, dict) else None
    return " ".join(str(named or settings).split())[:60]


def _check_fixed(raw: dict[str, Any]) -> None:
    for key, only in FIXED.items():
        if raw.get(key, only) != only:
            raise ConfigError(f"{key} is {raw[key]!r}; llama.cpp's exaone4 computes only {only!r}")


def _check_heads(c: Exaone4Config) -> None:
    if c.q_size != c.hidden_size:
        raise ConfigError(
            f"num_attention_heads x head_dim is {c.num_attention_heads} x {c.head_dim} = {c.q_size}, "
            f"not hidden_size {c.hidden_size}: llama.cpp's exaone4 needs them equal"
        )
    if c.num_attention_heads % c.num_key_value_heads:
        raise ConfigError(
            f"num_attention_heads {c.num_attention_heads} is no multiple of num_key_value_heads {c.num_key_value_heads}"
        )
    if c.head_dim % 2:
        raise ConfigError(f"head_dim is {c.head_dim}; RoPE needs it even")


def _sliding_layers(raw: dict[str, Any], layers: int, window: int | None) -> tuple[bool, ...]:
    """Which layers slide: ``layer_types`` says so, else the pattern."""
    types = raw.get("layer_types")
    if types is not None:
        sliding = _from_layer_types(types, layers)
    else:
        if window:
            sliding = _from_pattern(_get(raw, "sliding_window_pattern"), layers)
        else:
            sliding = (False,) * layers
    if any(sliding) and window is None:
        raise ConfigError("layer_types has sliding_attention, but sliding_window is null")
    return sliding


def _from_layer_types(types: Any, layers: int) -> tuple[bool, ...]:
    if not isinstance(types, list) or len(types) != layers:
        has = f"{len(types)} entries" if isinstance(types, list) else repr(types)
        raise ConfigError(f"layer_types has {has}, num_hidden_layers is {layers}")
    unknown = [t for t in types if t not in (SLIDING, FULL)]
    if unknown:
        raise ConfigError(f"layer_types has {unknown[0]!r}; known are {SLIDING} and {FULL}")
    return tuple(t == SLIDING for t in types)


def _from_pattern(pattern: Any, layers: int) -> tuple[bool, ...]:
    """The layers of a pattern: LLLG is repeated; 4 means that each fourth is full; 0 or null, that all are."""
    if pattern is None or (pattern == 0 and not isinstance(pattern, bool)):
        return (False,) * layers
    if isinstance(pattern, str) and pattern and set(pattern) <= {"L", "G"}:
        return tuple(pattern[i % len(pattern)] == "L" for i in range(layers))
    if isinstance(pattern, int) and not isinstance(pattern, bool) and pattern > 0:
        return tuple((i + 1) % pattern != 0 for i in range(layers))
    raise ConfigError(f'sliding_window_pattern is {pattern!r}; it may be like "LLLG", a number, 0 or null')


def _get(raw: dict[str, Any], key: str) -> Any:
    return raw.get(key, DEFAULTS.get(key))


def _count(raw: dict[str, Any], key: str, most: int = 2**31 - 1) -> int:
    value = _get(raw, key)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= most:
        raise ConfigError(f"{key} is {value!r}; it must be a whole number from 1 to {most}")
    return value


def _positive(raw: dict[str, Any], key: str) -> float:
    value = _get(raw, key)
    return positive_f32(key, value)


def _flag(raw: dict[str, Any], key: str) -> bool:
    value = _get(raw, key)
    if not isinstance(value, bool):
        raise ConfigError(f"{key} is {value!r}; it must be true or false")
    return value
