"""Every published form of config.json gives what transformers makes of it; the rest is refused by name."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Exaone4Config as Reference

from exaone4_gguf.converter.config import (
    DEFAULTS,
    FULL,
    SLIDING,
    Exaone4Config,
    check_llama_cpp_runs_it,
    parse_config,
    read_config,
)
from exaone4_gguf.errors import ConfigError, Exaone4Error
from tests.checkpoints import LLAMA3, full_config, hybrid_config

ABSENT = object()
SIZES = {
    "num_hidden_layers": st.integers(1, 70),
    "intermediate_size": st.integers(1, 9).map(lambda n: 32 * n),
    "num_key_value_heads": st.sampled_from([1, 2, 4]),
    "tie_word_embeddings": st.sampled_from([True, False, ABSENT]),
    "rms_norm_eps": st.sampled_from([1e-5, 1e-6, ABSENT]),
    "max_position_embeddings": st.sampled_from([2048, 65536, ABSENT]),
    "vocab_size": st.sampled_from([1024, ABSENT]),
    "sliding_window": st.sampled_from([None, 32, 4096, ABSENT]),
    "sliding_window_pattern": st.sampled_from(["LLLG", "LG", "L", 4, 1, 3, 0, None, ABSENT]),
    "with_layer_types": st.booleans(),
    "head_dim": st.sampled_from([16, None, ABSENT]),
    "rope": st.sampled_from(["root", "rope_parameters", "default"]),
    "eos_token_id": st.sampled_from([2, [2, 5], ABSENT]),
}


def published(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration with these values, some of them absent."""
    raw: dict[str, Any] = {"model_type": "exaone4", "hidden_size": 64, "num_attention_heads": 4} | values
    rope, with_types = raw.pop("rope"), raw.pop("with_layer_types")
    if rope == "root":
        raw |= {"rope_theta": 1e6, "rope_scaling": LLAMA3}
    elif rope == "rope_parameters":
        raw |= {"rope_parameters": LLAMA3 | {"rope_theta": 1e6}}
    else:
        raw |= {"rope_theta": 5e5}
    if with_types:
        windowed = raw["sliding_window"] is not None
        raw["layer_types"] = [SLIDING if windowed and i % 3 else FULL for i in range(raw["num_hidden_layers"])]
    return {key: value for key, value in raw.items() if value is not ABSENT}


def written_out(raw: dict[str, Any]) -> dict[str, Any]:
    """Transformers fails on "LLLG", 0 and null without layer_types, and on a head_dim of null."""
    layers, pattern = raw["num_hidden_layers"], raw.get("sliding_window_pattern", 4)
    if "layer_types" not in raw and raw.get("sliding_window", 4096) is None:
        raw = raw | {"layer_types": [FULL] * layers}
    elif "layer_types" not in raw and isinstance(pattern, str):
        raw = raw | {"layer_types": [SLIDING if pattern[i % len(pattern)] == "L" else FULL for i in range(layers)]}
    elif "layer_types" not in raw and not pattern:
        raw = raw | {"layer_types": [FULL] * layers}
    return {key: value for key, value in raw.items() if key != "head_dim" or value is not None}


@given(values=st.fixed_dictionaries(SIZES))
@settings(max_examples=300, deadline=None)
def test_every_form_means_what_transformers_makes_of_it(values: dict[str, Any]) -> None:
    raw = published(values)
    ours = parse_config(raw)
    theirs: Any = Reference(**copy.deepcopy(written_out(raw)))  # it changes what it is given
    for name in SIZES.keys() & vars(theirs).keys() - {"head_dim", "eos_token_id", "sliding_window_pattern"}:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.sliding_layers == tuple(t == SLIDING for t in theirs.layer_types)
    rope = theirs.rope_parameters
    assert (ours.rope_theta, ours.rope_scaling is not None) == (rope["rope_theta"], rope["rope_type"] == "llama3")
    # Exaone4Attention: "if self.sliding_window is None or self.is_sliding"
    assert ours.rope_layers == tuple(theirs.sliding_window is None or t == SLIDING for t in theirs.layer_types)


def test_defaults_are_those_of_transformers() -> None:
    reference = Reference()
    assert {key: getattr(reference, key) for key in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("size", ["1.2b", "32b"])
def test_the_published_configurations(size: str, published: Path) -> None:
    config = read_config(published.parent / f"exaone-4.0-{size}")
    check(config)
    assert (config.head_dim, config.eos_token_ids) == ({"1.2b": 64, "32b": 128}[size], (361,))
    assert sum(config.rope_layers) == {"1.2b": 30, "32b": 48}[size]


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 65536}
WRONG: list[tuple[dict[str, Any], str]] = [
    (
        {"model_type": "llama", "architectures": ["LlamaForCausalLM"]},
        "architecture is LlamaForCausalLM .*, not Ex",
    ),
    ({"model_type": "llama", "architectures": None}, r"architecture is \? \(model_type 'llama'\), not Exaone4"),
    ({"architectures": ["Exaone4MoEForCausalLM"]}, "is Exaone4MoEForCausalLM; those"),
    ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    ({"attention_bias": True}, "attention_bias is True"),
    ({"mlp_bias": True}, "mlp_bias is True"),
    ({"head_dim": 64}, r"8 x 64 = 512, not hidden_size 256"),
    ({"num_key_value_heads": 3}, "no multiple of num_key_value_heads 3"),
    ({"num_hidden_layers": 0}, "num_hidden_layers is 0"),
    ({"num_hidden_layers": 10**9, "layer_types": None}, "from 1 to 512"),
    ({"num_hidden_layers": True}, "num_hidden_layers is True"),
    ({"hidden_size": "256"}, "hidden_size is '256'"),
    ({"hidden_size": 257, "head_dim": None}, "8 x 32 = 256, not hidden_size 257"),
    ({"rms_norm_eps": 0}, "rms_norm_eps is 0"),
    ({"rms_norm_eps": 1e300}, "that 32 bits can hold"),
    ({"rms_norm_eps": 1e-60}, "that 32 bits can hold"),
    ({"rope_theta": 10**400}, "that 32 bits can hold"),
    ({"rope_theta": 1e39}, "that 32 bits can hold"),
    ({"rope_scaling": LLAMA3 | {"type": "linear"}}, "rope_type is 'llama3', but type is 'linear'"),
    ({"model_type": None}, r"\(model_type None\), not Exaone4"),
    ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan"),
    ({"tie_word_embeddings": None}, "tie_word_embeddings is None"),
    ({"layer_types": [FULL] * 3}, "layer_types has 3 entries, num_hidden_layers is 4"),
    ({"layer_types": "full"}, "layer_types has 'full'"),
    ({"layer_types": ["chunked_attention"] * 4}, "layer_types has 'chunked_attention'"),
    ({"layer_types": [SLIDING] * 4}, "sliding_window is null"),
    ({"sliding_window": 32, "layer_types": None, "sliding_window_pattern": "LXG"}, "pattern is 'LXG'"),
    ({"sliding_window": 32, "layer_types": None, "sliding_window_pattern": -4}, "pattern is -4"),
    ({"sliding_window": 32, "layer_types": None, "sliding_window_pattern": True}, "pattern is True"),
    ({"sliding_window": 0}, "sliding_window is 0"),
    ({"eos_token_id": "end"}, "eos_token_id is 'end'"),
    ({"eos_token_id": [1, None]}, "eos_token_id is"),
    ({"rope_theta": None}, "rope_theta is missing; llama.cpp would take 10000"),
    ({"rope_theta": 0}, "rope_theta is 0"),
    ({"rope_scaling": {"rope_type": "yarn"}}, "rope_type is 'yarn'; .*longer texts would be lost, and as it scales"),
    ({"rope_scaling": YARN}, r"'yarn' \(the context is stretched by 4.0, from 65536 tokens\); .*longer texts"),
    ({"rope_scaling": {"type": "linear"}}, "rope_type is 'linear'"),
    ({"rope_scaling": {"rope_type": "llama3"}}, "factor is missing"),
    ({"rope_scaling": LLAMA3 | {"low_freq_factor": 4.0}}, "low_freq_factor 4.0 must be below"),
    ({"rope_scaling": 8}, "rope_scaling is 8"),
    ({"rope_parameters": {"rope_theta": 1e4}}, "rope_theta is given twice, as 1000000.0 and as 10000.0"),
    ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor is 0.5"),
    ({"rope_parameters": {FULL: {"factor": 1}, SLIDING: {"factor": 2}}}, "differs by layer type"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_what_cannot_be_computed_is_refused_by_name(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(full_config(**changes)))
    with pytest.raises(ConfigError, match="config.json: .*" + message):
        read_config(tmp_path)


def test_rope_parameters_by_layer_type_may_agree() -> None:
    both = {kind: LLAMA3 | {"rope_theta": 1e6} for kind in (FULL, SLIDING)}
    assert parse_config(full_config(rope_parameters=both)) == parse_config(full_config())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (full_config(sliding_window=4096), "4 layers and a sliding window of 4096, but at that depth llama.cpp never"),
        (hybrid_config(sliding_window=None, layer_types=[FULL] * 64), "64 layers and no window, .* llama.cpp always"),
    ],
)
def test_a_window_that_llama_cpp_would_not_have_is_refused(config: dict[str, Any], message: str) -> None:
    parsed = parse_config(config)
    with pytest.raises(ConfigError, match=message + ".*--allow-wrong-in-llama-cpp"):
        check(parsed)


def check(config: Exaone4Config) -> None:
    check_llama_cpp_runs_it(config.num_hidden_layers, config.sliding_window, any(config.sliding_layers))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


@given(changes=st.dictionaries(st.sampled_from([*full_config(), "rope_parameters"]), json_values, min_size=1))
@settings(max_examples=300, deadline=None)
def test_any_value_is_taken_or_refused(changes: dict[str, Any]) -> None:
    try:
        parse_config(full_config(**changes))
    except Exaone4Error as e:
        assert "\n" not in str(e)
