"""The proof's reading of a checkpoint: transformers' configuration, names, shapes, and gguf-py's names for them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from exaone4_gguf.converter.config import parse_config
from exaone4_gguf.converter.names import expected_tensors
from exaone4_gguf.converter.rope import frequency_factors
from exaone4_gguf.errors import CheckpointError, ConfigError
from exaone4_gguf.proof.reading.checkpoint import read_checkpoint
from exaone4_gguf.proof.reading.configuration import Configuration, read_configuration, read_pooling
from exaone4_gguf.proof.reading.names import expected_shapes, gguf_names
from tests.checkpoints import LLAMA3, full_config, hybrid_config, random_tensors, write_checkpoint


def configured(folder: Path, config: dict[str, Any]) -> Configuration:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return read_configuration(folder)


@pytest.mark.parametrize("config", [full_config(), hybrid_config(num_hidden_layers=8, layer_types=None)])
def test_names_and_shapes_are_those_of_transformers(config: dict[str, Any], tmp_path: Path) -> None:
    config["sliding_window_pattern"] = 4
    read = configured(tmp_path / "m", config)
    with torch.device("meta"):
        model = transformers.Exaone4ForCausalLM(transformers.Exaone4Config(**config))
    expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    if config["tie_word_embeddings"]:
        del expected["lm_head.weight"]
    assert expected_shapes(read) == expected


def test_converter_and_gguf_py_agree_on_the_names() -> None:
    """Here the one is tested with the other; verify asks gguf-py alone."""
    config = parse_config(hybrid_config())
    assert {e.hf_name: e.gguf_name for e in expected_tensors(config)} == gguf_names(64)


FORMS: dict[str, tuple[dict[str, Any], list[bool], float]] = {
    "as text": ({"sliding_window_pattern": "LLG", "layer_types": None}, [True, True, False, True], 1e6),
    "a number": ({"sliding_window_pattern": 2, "layer_types": None}, [True, False, True, False], 1e6),
    "0": ({"sliding_window_pattern": 0, "layer_types": None}, [False] * 4, 1e6),
    "null": ({"sliding_window_pattern": None, "layer_types": None}, [False] * 4, 1e6),
    "no window": ({"sliding_window": None, "layer_types": None}, [False] * 4, 1e6),
    "layers": ({"layer_types": ["full_attention", *["sliding_attention"] * 3]}, [False, True, True, True], 1e6),
    "transformers 5": (
        {"rope_theta": None, "rope_scaling": None, "rope_parameters": LLAMA3 | {"rope_theta": 5e5}},
        [True, True, True, False],
        5e5,
    ),
    "by type of layer": (
        {
            "rope_theta": None,
            "rope_scaling": None,
            "rope_parameters": {f"{kind}_attention": LLAMA3 | {"rope_theta": 5e5} for kind in ("full", "sliding")},
        },
        [True, True, True, False],
        5e5,
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_every_published_form_of_config_json(name: str, tmp_path: Path) -> None:
    changes, sliding, theta = FORMS[name]
    small = {"num_hidden_layers": 4, "layer_types": hybrid_config()["layer_types"][:4]}
    config = {key: v for key, v in hybrid_config(**small | changes).items() if key != "rope_theta" or v is not None}
    read = configured(tmp_path / "m", config)
    assert (list(read.sliding_layers), read.rope_theta, read.scaled) == (sliding, theta, True)
    assert read.read_by == f"transformers {transformers.__version__}"


def test_the_factors_are_those_of_transformers_and_of_the_converter(tmp_path: Path) -> None:
    read = configured(tmp_path / "m", full_config())
    config = parse_config(full_config())
    assert config.rope_scaling is not None
    ours = frequency_factors(config.rope_theta, config.rope_scaling, config.head_dim)
    np.testing.assert_allclose(read.frequency_factors, ours, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rope_theta": None}, "rope_theta is missing"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"model_type": "llama"}, "model_type is 'llama'"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope_type is 'yarn'"),
        ({"num_hidden_layers": "four"}, "transformers cannot read it"),
        ({"layer_types": ["other"] * 4}, "transformers cannot read it"),
    ],
)
def test_what_cannot_be_read_is_one_line(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message) as told:
        configured(tmp_path / "m", full_config(**changes))
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "base_model.model.", "module._orig_mod."])
def test_wrapped_names(prefix: str, full: Path, tmp_path: Path) -> None:
    wrapped = {f"{prefix}{name}": t for name, t in load_file(full / "model.safetensors").items()}
    folder = write_checkpoint(tmp_path / "m", full_config(), wrapped)
    assert read_checkpoint(folder).tensors.keys() == read_checkpoint(full).tensors.keys()


def test_a_tied_matrix_under_the_name_of_the_head(full: Path, tmp_path: Path) -> None:
    tensors = load_file(full / "model.safetensors")
    tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")
    found = read_checkpoint(write_checkpoint(tmp_path / "m", full_config(), tensors)).tensors
    expected = read_checkpoint(full).tensors["model.embed_tokens.weight"]
    assert np.array_equal(found["model.embed_tokens.weight"].rows, expected.rows)


@pytest.mark.parametrize("shards", [1, 3])
def test_the_values_are_those_that_safetensors_reads(shards: int, tmp_path: Path) -> None:
    tensors = random_tensors(full_config(tie_word_embeddings=False))
    folder = write_checkpoint(tmp_path / "m", full_config(tie_word_embeddings=False), tensors, shards)
    for name, tensor in read_checkpoint(folder).tensors.items():
        assert tensor.rows.tobytes() == tensors[name].view(torch.uint8).numpy().tobytes(), name


def test_what_is_wrong_with_the_weights_is_named(full: Path, tmp_path: Path) -> None:
    tensors = load_file(full / "model.safetensors")
    folder = write_checkpoint(tmp_path / "m", full_config(), tensors)
    path = folder / "model.safetensors"
    save_file({name: t for name, t in tensors.items() if "layers.3.mlp.up" not in name}, path)
    with pytest.raises(CheckpointError, match=r"layers\.3\.mlp\.up_proj\.weight is missing"):
        read_checkpoint(folder)
    save_file(tensors | {"model.norm.weight": torch.ones(3)}, path)
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight has shape \[3\]"):
        read_checkpoint(folder)
    save_file(tensors | {"lm_head.weight": torch.zeros_like(tensors["model.embed_tokens.weight"])}, path)
    with pytest.raises(CheckpointError, match="config.json says that they are tied"):
        read_checkpoint(folder)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match="does not fill its place"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("settings", "number"),
    [
        ({"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}, 3),
        ({"pooling_mode_cls_token": True}, 2),
        ({"pooling_mode": "mean"}, 1),
        ({"pooling_mode": ["LastToken"]}, 3),
        ({"word_embedding_dimension": 256}, 1),
        ({"pooling_mode_max_tokens": True, "pooling_mode_mean_tokens": False}, "max"),
        ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True}, "mean and cls"),
        ({"pooling_mode": ["mean", "max"]}, "mean and max"),
    ],
)
def test_pooling_stands_beside_the_weights(settings: dict[str, Any], number: int | str, tmp_path: Path) -> None:
    assert read_pooling(tmp_path) is None
    modules = [{"path": "", "type": "sentence_transformers.models.Transformer"}]
    modules.append({"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"})
    (tmp_path / "modules.json").write_text(json.dumps(modules))
    (tmp_path / "1_Pooling").mkdir()
    (tmp_path / "1_Pooling" / "config.json").write_text(json.dumps(settings))
    assert read_pooling(tmp_path) == number


def test_an_adapter_beside_the_weights_is_named(full: Path, tmp_path: Path) -> None:
    """Transformers puts it on top of the weights, so that no file of these is the folder's model."""
    folder = tmp_path / "model"
    shutil.copytree(full, folder)
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    with pytest.raises(CheckpointError, match=r"adapter_config\.json: an adapter \(LORA\).* merge it into its base"):
        read_checkpoint(folder)
