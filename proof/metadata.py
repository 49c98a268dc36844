"""The part ``metadata``: what llama.cpp computes with, key by key, against config.json as transformers reads it.

A key that a file lacks means what llama.cpp takes for it (llama_model_base::load_hparams and
llama_model_exaone4::load_arch_hparams), so files of other converters are judged by what they mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from exaone4_gguf.format.file import GGUFFile
from exaone4_gguf.format.keys import ARCHITECTURE, WINDOWED_DEPTH
from exaone4_gguf.proof.reading.configuration import Configuration
from exaone4_gguf.proof.report import Finding, Part, evaluated, first_difference

NAME = "metadata"

NEXTN = "nextn_predict_layers"
"""The last blocks, which llama.cpp stores for next-token prediction and does not run: no part of the depth."""

Value = Any
"""A key's value, in whatever type the file has it."""

Default = Callable[[Configuration, GGUFFile], Value]


@dataclass(frozen=True)
class Rule:
    """A key (without the architecture), what it must mean, and what its absence means to llama.cpp.

    ``absent`` is None where llama.cpp requires the key. ``shapes`` is true where another value would make llama.cpp
    read the tensors in another shape.
    """

    key: str
    expected: Callable[[Configuration], Value]
    absent: Default | None = None
    shapes: bool = False


def _own(key: str, otherwise: Default) -> Default:
    """The default that another key of the file gives."""
    return lambda c, gguf: _value(gguf, key, otherwise(c, gguf))


def _head_dim(c: Configuration, gguf: GGUFFile) -> Value:
    """The default of the key and value lengths."""
    return c.hidden_size // c.num_attention_heads


def n_nextn(gguf: GGUFFile) -> int:
    """How many blocks are for next-token prediction."""
    value = gguf.get(f"%s.{NEXTN}", 0)
    if not isinstance(value, int):
        return 0
    return max(0, value)


def _is_windowed(gguf: GGUFFile) -> bool:
    """Whether llama.cpp uses a window: it decides by the depth alone."""
    return bool(_value(gguf, "block_count", 0) == WINDOWED_DEPTH)


_key_length = _own("attention.key_length", _head_dim)
_value_length = _own("attention.value_length", _head_dim)
_theta = _own("rope.freq_base", lambda c, gguf: 10000.0)
_rotated = _own("rope.dimension_count", _key_length)

RULES = (
    Rule("block_count", lambda c: c.num_hidden_layers, shapes=True),  # less those for next-token prediction
    Rule("context_length", lambda c: c.max_position_embeddings),
    Rule("embedding_length", lambda c: c.hidden_size, shapes=True),
    Rule("feed_forward_length", lambda c: c.intermediate_size, shapes=True),
    Rule("attention.head_count", lambda c: c.num_attention_heads, shapes=True),
    Rule("attention.head_count_kv", lambda c: c.num_key_value_heads, _own("attention.head_count", _head_dim), True),
    Rule("attention.key_length", lambda c: c.head_dim, _head_dim, shapes=True),
    Rule("attention.value_length", lambda c: c.head_dim, _head_dim, shapes=True),
    Rule("attention.key_length_swa", lambda c: c.head_dim, _key_length, shapes=True),
    Rule("attention.value_length_swa", lambda c: c.head_dim, _value_length, shapes=True),
    Rule("attention.layer_norm_rms_epsilon", lambda c: c.rms_norm_eps),
    Rule("attention.causal", lambda c: True, lambda c, gguf: True),
    Rule("rope.freq_base", lambda c: c.rope_theta, lambda c, gguf: 10000.0),
    Rule("rope.freq_base_swa", lambda c: c.rope_theta, _theta),
    Rule("rope.dimension_count", lambda c: c.head_dim, _key_length, shapes=True),
    Rule("rope.dimension_count_swa", lambda c: c.head_dim, _rotated, shapes=True),
    # the llama3 scaling is in the tensor rope_freqs; a factor here would come on top of it
    Rule("rope.scaling.type", lambda c: ("linear", "none"), lambda c, gguf: "linear"),
    Rule("rope.scaling.factor", lambda c: (0.0, 1.0), lambda c, gguf: 0.0),
    Rule("rope.scale_linear", lambda c: (0.0, 1.0), lambda c, gguf: 0.0),
    Rule("rope.scaling.attn_factor", lambda c: 1.0, lambda c, gguf: 1.0),
    Rule("attention.sliding_window", lambda c: c.sliding_window, lambda c, gguf: 4096 if _is_windowed(gguf) else None),
    Rule(
        "attention.sliding_window_pattern",
        lambda c: list(c.sliding_layers),
        lambda c, gguf: [_is_windowed(gguf) and i % 4 < 3 for i in range(c.num_hidden_layers)],
    ),
    # llama.cpp does not read it, so that its absence means nothing
    Rule(
        "attention.rope_pattern", lambda c: list(map(int, c.rope_layers)), lambda c, gguf: list(map(int, c.rope_layers))
    ),
    Rule("vocab_size", lambda c: c.vocab_size, lambda c, gguf: len(gguf.get("tokenizer.ggml.tokens", ()))),
    Rule("expert_count", lambda c: 0, lambda c, gguf: 0, shapes=True),
    Rule("pooling_type", lambda c: c.pooling, lambda c, gguf: None),
)


def check_metadata(config: Configuration, gguf: GGUFFile) -> Part:
    """Compare every key that llama.cpp computes with; name others of the architecture, which it does not read."""
    wrong = [Finding(f"{ARCHITECTURE}.{rule.key}", what) for rule in RULES for what in _difference(rule, config, gguf)]
    wrong += [Finding(f"{ARCHITECTURE}.block_count", what) for what in _not_run_by_llama_cpp(config)]
    right = len(RULES) - len({finding.where for finding in wrong})
    notes = []
    known = {f"{ARCHITECTURE}.{key}" for key in (*(rule.key for rule in RULES), NEXTN)}
    foreign = [key for key in gguf.metadata if key.startswith(f"{ARCHITECTURE}.") and key not in known]
    if foreign:
        notes.append(f"llama.cpp's exaone4 does not read {', '.join(foreign)}")
    if n_nextn(gguf):
        notes.append(f"blocks for next-token prediction: {n_nextn(gguf)}, which llama.cpp does not run")
    return evaluated(NAME, f"{right} of {len(RULES)} keys mean what config.json says", wrong, notes)


def shape_faults(config: Configuration, gguf: GGUFFile) -> list[str]:
    """The keys with which llama.cpp would read the tensors in another shape: it may end the process on them."""
    return [rule.key for rule in RULES if rule.shapes and any(_difference(rule, config, gguf))]


def _difference(rule: Rule, config: Configuration, gguf: GGUFFile) -> Iterator[str]:
    expected = rule.expected(config)
    value = _value(gguf, rule.key, None)
    taken = "is"
    if value is None:
        if rule.absent is None:
            yield f"missing; config.json says {_shown(expected)}"
            return
        taken, value = "missing, which llama.cpp takes for", rule.absent(config, gguf)
    if not _means(value, expected, config.num_hidden_layers):
        what = f"{taken} {_shown(value)}; config.json says {_shown(expected)}"
        if isinstance(value, list) and isinstance(expected, list):
            what += f" (the first difference is in layer {first_difference(value, expected)})"
        yield what


def _not_run_by_llama_cpp(config: Configuration) -> Iterator[str]:
    """What llama.cpp would load without a word and compute wrong, so that no file of it can be right."""
    n_layers, window = config.num_hidden_layers, config.sliding_window
    if (window is not None) != (n_layers == WINDOWED_DEPTH):
        has, does = f"a sliding window of {window}", "never"
        if window is None:
            has, does = "no window", "always"
        yield f"the model has {n_layers} layers and {has}, but at that depth llama.cpp {does} uses a window"
    elif window is not None and not any(config.sliding_layers):
        yield f"the model has a sliding window of {window}, but no layer that slides: llama.cpp ends its process on it"


def _value(gguf: GGUFFile, key: str, default: Value) -> Value:
    """A key's value; as the block count, the number of blocks that are run."""
    value = gguf.get(f"%s.{key}", default)
    if key == "block_count" and isinstance(value, int):
        value -= n_nextn(gguf)
    return value


def _means(value: Value, expected: Value, n_layers: int) -> bool:
    """Whether the file's value is the expected one: floats as 32 bits hold them, a list or one value for all layers."""
    if isinstance(expected, tuple):
        return any(_means(value, choice, n_layers) for choice in expected)
    if isinstance(expected, list):
        return _per_layer(value, n_layers) == [int(item) for item in expected]
    if isinstance(value, list):  # one for each layer, where one for all is usual
        return len(value) >= n_layers and all(_means(item, expected, n_layers) for item in value[:n_layers])
    if isinstance(expected, float) and isinstance(value, int | float):
        with np.errstate(over="ignore"):
            return bool(np.float32(value) == np.float32(expected))
    return bool(value == expected)


def _per_layer(value: Value, n_layers: int) -> list[int] | None:
    """A pattern as llama.cpp reads it: an array, or a number N for "each N-th is full" (set_swa_pattern)."""
    if isinstance(value, int) and not isinstance(value, bool):
        return [int(value == 0 or i % value < value - 1) for i in range(n_layers)]
    if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
        return None
    return [int(item) for item in value[:n_layers]]


def _shown(value: Value) -> str:
    if isinstance(value, tuple):
        return " or ".join(_shown(v) for v in value)
    if isinstance(value, list):
        flags = "".join(str(int(bool(flag))) for flag in value[:8])
        if len(value) > 8:
            return f"{flags}..."
        return flags
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)
