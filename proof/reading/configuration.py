"""What config.json means, as transformers reads it: the measure that files are compared with.

Nothing here comes from the converter, so that its mistakes can be seen. ``Exaone4Config`` gives the values, and
``ROPE_INIT_FUNCTIONS`` the frequencies of RoPE.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from exaone4_gguf.converter.checkpoint.folder import load_json
from exaone4_gguf.errors import ConfigError
from exaone4_gguf.proof.reading.quiet import first_line, quietly

JsonObject = dict[str, Any]

SPEAKS = "Exaone4ForCausalLM"
"""The class that has an output for text, and what a configuration means that names none."""

SLIDING, FULL = "sliding_attention", "full_attention"
COMPUTED = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "partial_rotary_factor": 1.0}
"""The only values that llama.cpp's exaone4 and the reference compute."""

POOLING = {"mean": 1, "cls": 2, "lasttoken": 3}
"""sentence-transformers' names, and llama.cpp's numbers (enum llama_pooling_type)."""

_FLAG = re.compile("pooling_mode_([a-z_]+?)(?:_tokens|_token)?")
"""The older form of its settings: a flag for each way of pooling."""


@dataclass(frozen=True)
class Configuration:
    """The hyperparameters of a checkpoint. Sizes are in elements, contexts in tokens.

    ``inverse_frequencies`` are RoPE's, (head_dim / 2,), with any scaling in them; ``scaled`` says whether there is one.
    ``labels``, ``problem_type`` and ``pad_token_id`` are of use to classes with a head. ``pooling`` is llama.cpp's
    number for what sentence-transformers makes of the hidden states, its words where llama.cpp has no number for it,
    None where the folder does not say.
    ``read_by`` says whose reading of config.json this is.
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
    inverse_frequencies: tuple[float, ...]
    scaled: bool
    eos_token_ids: tuple[int, ...]
    model_class: str = SPEAKS
    labels: tuple[str, ...] = ()
    problem_type: str | None = None
    pad_token_id: int | None = None
    pooling: int | str | None = None
    read_by: str = ""

    @property
    def speaks(self) -> bool:
        """Whether the model has an output for text."""
        return self.model_class == SPEAKS

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
        """Per layer, whether it rotates: not if a window is set and the layer is full (Exaone4Attention.forward)."""
        return tuple(self.sliding_window is None or sliding for sliding in self.sliding_layers)

    @property
    def frequency_factors(self) -> npt.NDArray[np.float32]:
        """What llama.cpp divides the frequencies of plain RoPE by, (head_dim / 2,)."""
        plain = plain_frequencies(self.rope_theta, self.head_dim)
        return (plain / np.array(self.inverse_frequencies)).astype(np.float32)


def plain_frequencies(theta: float, head_dim: int) -> npt.NDArray[np.float64]:
    """RoPE's frequencies without scaling, (head_dim / 2,) (https://arxiv.org/abs/2104.09864)."""
    frequencies: npt.NDArray[np.float64] = theta ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    return frequencies


def read_json(path: Path) -> JsonObject:
    """A JSON object; an empty one where there is no such file.

    Raises:
        ConfigError: the file holds none.
    """
    if not path.is_file():
        return {}
    return load_json(path, ConfigError)


def read_configuration(folder: Path) -> Configuration:
    """config.json as transformers reads it.

    Raises:
        ConfigError: it is missing, transformers cannot read it, or it says what llama.cpp's exaone4 does not compute.
    """
    path = folder / "config.json"
    raw = load_json(path, ConfigError)
    try:
        return replace(_read(raw), pooling=read_pooling(folder))
    except ConfigError as e:
        raise ConfigError(f"{path}: {e}") from None
    except Exception as e:  # transformers and its validators raise anything
        raise ConfigError(f"{path}: transformers cannot read it: {first_line(e)}") from e


def read_pooling(folder: Path) -> int | str | None:
    """How the folder pools, by what it has beside its weights: llama.cpp's number, or the words for something else."""
    modules = folder / "modules.json"
    if not modules.is_file():
        return None
    try:
        listed = json.loads(modules.read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        raise ConfigError(f"{modules}: it cannot be read as JSON: {e}") from None
    named = [m for m in listed if isinstance(m, dict) and str(m.get("type")).endswith(".Pooling")]
    if not named:
        return None
    modes = _pooling_modes(read_json(folder / str(named[0].get("path", "")) / "config.json"))
    if len(modes) > 1:
        return " and ".join(modes)
    return POOLING.get(modes[0], modes[0])


def _pooling_modes(settings: JsonObject) -> list[str]:
    """The ways of pooling in either form; where neither names one, sentence-transformers takes the mean."""
    named = settings.get("pooling_mode")
    if isinstance(named, list) and named:
        return [str(mode).lower() for mode in named]
    if named:
        return [str(named).lower()]
    flags = [_FLAG.fullmatch(key) for key, value in settings.items() if value is True]
    return [flag[1] for flag in flags if flag] or ["mean"]


def _read(raw: JsonObject) -> Configuration:
    if raw.get("model_type") != "exaone4":
        raise ConfigError(f"model_type is {raw.get('model_type')!r}, not 'exaone4'")
    for key, only in COMPUTED.items():
        if raw.get(key, only) != only:
            raise ConfigError(f"{key} is {raw[key]!r}; llama.cpp's exaone4 computes only {only!r}")
    with quietly():
        import transformers

        config: Any = transformers.Exaone4Config.from_dict(_written_out(raw))
        frequencies = _frequencies(config)
    return Configuration(
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        intermediate_size=config.intermediate_size,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=config.num_attention_heads,
        num_key_value_heads=config.num_key_value_heads,
        head_dim=_head_dim(config),
        max_position_embeddings=config.max_position_embeddings,
        rms_norm_eps=config.rms_norm_eps,
        tie_word_embeddings=config.tie_word_embeddings,
        sliding_window=config.sliding_window,
        sliding_layers=tuple(kind == SLIDING for kind in config.layer_types),
        rope_theta=float(config.rope_parameters["rope_theta"]),
        inverse_frequencies=frequencies,
        scaled=config.rope_parameters["rope_type"] != "default",
        eos_token_ids=token_ids(config.eos_token_id),
        model_class=(config.architectures or [SPEAKS])[0],
        labels=tuple(config.id2label[i] for i in sorted(config.id2label)),
        problem_type=config.problem_type,
        pad_token_id=config.pad_token_id,
        read_by=f"transformers {transformers.__version__}",
    )


def _head_dim(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def token_ids(value: object) -> tuple[int, ...]:
    """The ids of an ``eos_token_id``, which may be one, several or none; -1 is none."""
    ids = value if isinstance(value, list) else [value]
    return tuple(i for i in ids if isinstance(i, int) and not isinstance(i, bool) and i >= 0)


def _written_out(raw: JsonObject) -> JsonObject:
    """A copy in the form that transformers 5.23 reads.

    It divides by a ``sliding_window_pattern`` that is a text, 0 or null, where ``layer_types`` does not say which
    layers slide; and its ``eos_token_id`` has a default, which is that of no tokenizer.
    """
    settings = copy.deepcopy(raw)
    settings.setdefault("eos_token_id", None)
    rope = {key: _same_for_all(settings[key]) for key in ("rope_scaling", "rope_parameters") if settings.get(key)}
    settings |= rope
    if all(place.get("rope_theta") is None for place in (settings, *rope.values())):
        raise ConfigError("rope_theta is missing; transformers would take 10000")
    if settings.get("layer_types") is not None:
        return settings
    pattern = settings.get("sliding_window_pattern", 4)
    if settings.get("sliding_window", 4096) is None or not pattern:
        pattern = "G"  # every layer is full
    if isinstance(pattern, str):
        n_layers = settings.get("num_hidden_layers", 32)
        letters = (pattern[i % len(pattern)] for i in range(n_layers))
        settings["layer_types"] = [SLIDING if letter == "L" else FULL for letter in letters]
    return settings


def _same_for_all(parameters: JsonObject) -> JsonObject:
    """RoPE's parameters, which may be written once for each type of layer; transformers' exaone4 has one RoPE."""
    if not isinstance(parameters, dict) or not parameters.keys() & {SLIDING, FULL}:
        return parameters
    different = [value for value in parameters.values() if value != next(iter(parameters.values()))]
    if different:
        raise ConfigError("RoPE's parameters differ by type of layer; llama.cpp's exaone4 has one RoPE for all layers")
    return next(iter(parameters.values()))


def _frequencies(config: Any) -> tuple[float, ...]:
    """RoPE's inverse frequencies, with their scaling."""
    kind = config.rope_parameters["rope_type"]
    if kind == "default":
        return tuple(plain_frequencies(config.rope_parameters["rope_theta"], _head_dim(config)).tolist())
    if kind != "llama3":
        raise ConfigError(f"rope_type is {kind!r}; llama.cpp's exaone4 computes only default and llama3")
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    frequencies, _ = ROPE_INIT_FUNCTIONS[kind](config, None)
    return tuple(frequencies.tolist())
