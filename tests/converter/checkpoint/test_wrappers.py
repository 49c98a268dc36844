"""Names as training frameworks save them; torch itself writes those that it can here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import Exaone4ForCausalLM

from exaone4_gguf.converter.checkpoint import wrappers
from exaone4_gguf.converter.classes import CLASSES
from exaone4_gguf.converter.convert import convert
from exaone4_gguf.converter.names import BLOCK_TENSORS, EMBEDDING, LM_HEAD, MODEL_TENSORS
from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.proof.verify import verify
from tests.checkpoints import class_config, full_config, random_tensors, write_checkpoint

Tensors = dict[str, torch.Tensor]
Rename = Callable[[str], str]


def in_layers(wrapper: str) -> Rename:
    """A wrapper around each layer."""

    def rename(name: str) -> str:
        parts = name.split(".")
        return ".".join([*parts[:3], wrapper, *parts[3:]]) if "layers" in parts else name

    return rename


RENAMES: dict[str, Rename] = {
    **{p: lambda name, p=p: p + name for p in ("_orig_mod.", "module.", "base_model.model.", "model.", "llm.")},  # type: ignore[misc]
    "combined": lambda name: f"module._orig_mod.{name}",
    "Lightning and torch.compile": lambda name: f"model._orig_mod.{name}",
    "DeepSpeed in Lightning": lambda name: f"_forward_module.model.{name}",
    "the base alone": lambda name: name.replace("model.", "model._orig_mod.", 1),
    "each layer": in_layers("_orig_mod"),
    "FSDP": lambda name: f"_fsdp_wrapped_module.{in_layers('_fsdp_wrapped_module._checkpoint_wrapped_module')(name)}",
    "peft, merged": lambda name: f"base_model.model.{name.replace('_proj.weight', '_proj.base_layer.weight')}",
}


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", RENAMES)
def test_a_wrapper_that_all_names_have_changes_nothing(kind: str, tied: bool, tmp_path: Path) -> None:
    config = full_config(tie_word_embeddings=tied)
    tensors = random_tensors(config)
    plain = write_checkpoint(tmp_path / "a" / "model", config, tensors)
    wrapped = {RENAMES[kind](name): tensor for name, tensor in tensors.items()}
    assert wrapped.keys() != tensors.keys()
    folder = write_checkpoint(tmp_path / "b" / "model", config, wrapped)
    expected = convert(plain, tmp_path / "a.gguf").paths[0].read_bytes()
    assert convert(folder, tmp_path / "b.gguf").paths[0].read_bytes() == expected
    assert verify(folder, tmp_path / "b.gguf", parts=["metadata", "tensors"]).verdict == "passed"


@pytest.mark.parametrize("name", ["Exaone4ForSequenceClassification", "Exaone4ForQuestionAnswering", "Exaone4Model"])
@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "base_model.model."])
def test_the_other_classes(wrapper: str, name: str, tmp_path: Path) -> None:
    config = class_config(name)
    tensors = random_tensors(config)
    if name == "Exaone4Model" and wrapper.endswith("model."):
        pytest.skip("model.layers are the names of another class")
    folder = write_checkpoint(tmp_path / "model", config, {wrapper + n: t for n, t in tensors.items()})
    convert(folder, tmp_path / "out.gguf")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch.compile imports what it deprecates
def test_what_torch_saves_of_a_compiled_and_of_a_parallel_model(tmp_path: Path) -> None:
    """The names are torch's own."""
    config = full_config()
    plain = write_checkpoint(tmp_path / "plain" / "model", config)
    model = Exaone4ForCausalLM.from_pretrained(plain, dtype=torch.bfloat16)
    expected = convert(plain, tmp_path / "a.gguf").paths[0].read_bytes()
    regional = Exaone4ForCausalLM.from_pretrained(plain, dtype=torch.bfloat16)
    for layer in regional.model.layers:
        layer.mlp = torch.compile(layer.mlp)
    compiled = torch.compile(model).state_dict()  # type: ignore[attr-defined]  # it is told to be a function
    for i, saved in enumerate((compiled, nn.DataParallel(model).state_dict(), regional.state_dict())):
        state = {name: t.clone() for name, t in saved.items() if "lm_head" not in name}
        assert any("_orig_mod" in name or name.startswith("module.") for name in state)
        folder = write_checkpoint(tmp_path / str(i) / "model", config, state)
        assert convert(folder, tmp_path / f"{i}.gguf").paths[0].read_bytes() == expected


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "module"])
def test_a_training_state_in_torchs_format(key: str, full: Path, full_gguf: Path, tmp_path: Path) -> None:
    config = full_config()
    folder = write_checkpoint(tmp_path / "EXAONE-4.0-Tiny", config)
    (folder / "model.safetensors").unlink()
    tensors = {f"model.{name}": tensor for name, tensor in random_tensors(config).items()}
    torch.save({key: tensors, "global_step": 3, "epoch": 1}, folder / "pytorch_model.bin")
    assert convert(folder, tmp_path / "a.gguf").paths[0].read_bytes() == full_gguf.read_bytes()


FEW = "model.layers.3.mlp.up_proj.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({f"_orig_mod.{FEW}": t.pop(FEW)}), f"names of several kinds, like .*_orig_mod.{FEW}"),
        (
            lambda t: t.update({f"teacher.{n}": x.clone() for n, x in t.items()}),
            "names of several kinds, like .*teacher",
        ),
        (
            lambda t: t.update({f"x.{n}": t.pop(n) for n in list(t)}) or t.update(y=torch.ones(2)),
            "like .* and y; EXAONE",
        ),
        (
            lambda t: t.update({f"{n}.lora_A.default.weight": torch.ones(2) for n in [FEW]}),
            "adapter's .*merge_and_unload",
        ),
        (
            lambda t: t.update({FEW.replace("up_proj", "_orig_mod.up_proj"): t[FEW].clone()}),
            f"tensors .* and .* are both {FEW} without wrappers",
        ),
    ],
    ids=["one has it", "two models", "a stranger", "an adapter", "twice"],
)
def test_names_that_can_mean_several_things_are_shown(
    change: Callable[[Tensors], object], message: str, tmp_path: Path
) -> None:
    tensors = random_tensors(full_config())
    change(tensors)
    folder = write_checkpoint(tmp_path / "model", full_config(), tensors)
    with pytest.raises(CheckpointError, match=message):
        convert(folder, tmp_path / "out.gguf")


def test_names_of_another_model_are_shown(tmp_path: Path) -> None:
    """EXAONE 3.5's."""
    folder = write_checkpoint(tmp_path / "model", full_config())
    save_file({"transformer.wte.weight": torch.ones(4, 4)}, folder / "model.safetensors")
    message = (
        "model.embed_tokens.weight .* is missing .*there is transformer.wte.weight instead .* in model.safetensors"
    )
    with pytest.raises(CheckpointError, match=message):
        convert(folder, tmp_path / "out.gguf")


def test_the_tables_are_those_of_the_names() -> None:
    bases = {name.split(".")[0] for name, *_ in MODEL_TENSORS} | {"layers"}
    assert set(wrappers.BASE_MODULES) == bases
    assert EMBEDDING.split(".")[0] in bases
    assert set(wrappers.HEADS) == {LM_HEAD.split(".")[0]} | {c.head.tensor for c in CLASSES.values() if c.head}
    assert set(wrappers.BASES) == {c.prefix.rstrip(".") for c in CLASSES.values()} - {""}
    own = {part for name, *_ in (*BLOCK_TENSORS, *MODEL_TENSORS) for part in name.split(".")}
    assert not own & set(wrappers.TRANSPARENT)
