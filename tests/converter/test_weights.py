"""Every tensor is there, with its shape; nothing is left over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import Exaone4ForCausalLM

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.errors import CheckpointError
from tests.checkpoints import class_config, full_config, random_tensors, write_checkpoint

Tensors = dict[str, torch.Tensor]
NORM, EMBEDDING, HEAD = "model.layers.2.self_attn.q_norm.weight", "model.embed_tokens.weight", "lm_head.weight"


def converted(tmp_path: Path, change: Callable[[Tensors], Any], **config: Any) -> Path:
    tensors = random_tensors(full_config(**config))
    change(tensors)
    folder = write_checkpoint(tmp_path / "model", full_config(**config), tensors)
    return convert(folder, tmp_path / "out.gguf").paths[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(NORM), rf"tensor {NORM} of shape \[32\] is missing \(1 in all\)"),
        (lambda t: t.update({NORM: torch.ones(33)}), rf"tensor {NORM} has shape \[33\]; config.json says \[32\]"),
        (lambda t: t.update({NORM: torch.ones(32, 1)}), rf"tensor {NORM} has shape \[32, 1\]"),
        (lambda t: t.update(extra=torch.ones(2)), r"tensor extra of shape \[2\] is not one of EXAONE 4's"),
        (lambda t: t.update({HEAD: t[EMBEDDING] + 1}), "differs from model.embed_tokens.weight"),
        (lambda t: t.update({HEAD: t[EMBEDDING][:-1].clone()}), r"lm_head.weight has shape \[703, 256\]"),
        (lambda t: t.update({NORM.replace("weight", "bias"): torch.ones(2)}), "q_norm.bias of shape"),
    ],
)
def test_a_wrong_set_of_tensors_is_refused(change: Callable[[Tensors], Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=message):
        converted(tmp_path, change)
    assert not list(tmp_path.glob("*.gguf"))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_a_second_copy_of_a_tied_embedding_is_dropped(dtype: torch.dtype, tmp_path: Path, full_gguf: Path) -> None:
    path = converted(tmp_path, lambda t: t.update({HEAD: t[EMBEDDING].to(dtype).clone()}))
    assert path.stat().st_size > 0


def test_saved_rotary_buffers_are_ignored(tmp_path: Path) -> None:
    converted(tmp_path, lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(16)}))


def test_an_untied_model_needs_its_head(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="tensor lm_head.weight of shape .* is missing"):
        converted(tmp_path, lambda t: t.pop(HEAD), tie_word_embeddings=False)


def test_a_tied_matrix_may_have_the_heads_name_alone(tmp_path: Path, full_gguf: Path) -> None:
    config = full_config()
    tensors = random_tensors(config)
    tensors[HEAD] = tensors.pop(EMBEDDING)
    folder = write_checkpoint(tmp_path / "EXAONE-4.0-Tiny", config, tensors)
    assert convert(folder, tmp_path / "a.gguf").paths[0].read_bytes() == full_gguf.read_bytes()
    model = Exaone4ForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)  # transformers reads it so
    assert torch.equal(model.model.embed_tokens.weight, tensors[HEAD])


CLASSES = ("Exaone4ForCausalLM", "Exaone4Model", "Exaone4ForSequenceClassification", "Exaone4ForQuestionAnswering")


def without_base(name: str) -> str:
    """The name within the base; a head has no base before it."""
    base, _, inside = name.partition(".")
    return inside if base in ("model", "transformer") else name


@pytest.mark.parametrize("name", CLASSES)
def test_the_bases_name_may_be_there_or_not(name: str, tmp_path: Path) -> None:
    """As transformers loads it: the base alone into a class with a head, and the base out of a model that speaks."""
    config = class_config(name)
    right = random_tensors(config)
    renamed = (lambda key: f"model.{key}") if name == "Exaone4Model" else without_base
    other = {renamed(key): tensor for key, tensor in right.items()}
    found = [convert(write_checkpoint(tmp_path / folder / "m", config, tensors), tmp_path / f"{folder}.gguf").paths[0]
             for folder, tensors in (("right", right), ("other", other))]  # fmt: skip
    assert found[0].read_bytes() == found[1].read_bytes()
    _, told = getattr(transformers, name).from_pretrained(tmp_path / "other" / "m", output_loading_info=True)
    assert not told["missing_keys"]


def test_an_untied_model_needs_both(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tensor model.embed_tokens.weight of shape .* is missing \(1 in all\)"):
        converted(tmp_path, lambda t: t.pop(EMBEDDING), tie_word_embeddings=False)


def test_a_tied_matrix_of_another_shape_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"has shape \[703, 256\]; config.json says \[704, 256\]"):
        converted(tmp_path, lambda t: t.update({HEAD: t.pop(EMBEDDING)[:-1].clone()}))
