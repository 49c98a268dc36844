"""A folder without an index: its files are converted where they fit together, else named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from exaone4_gguf.converter.checkpoint.folder import read_tensors, weight_files
from exaone4_gguf.converter.convert import convert
from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.proof.verify import verify
from tests.checkpoints import full_config, random_tensors, write_checkpoint

CONFIG = full_config()
TENSORS = random_tensors(CONFIG)


def write(folder: Path, *names: str) -> Path:
    """A checkpoint whose tensors are spread over files of these names."""
    write_checkpoint(folder, CONFIG, TENSORS)
    (folder / "model.safetensors").unlink()
    for i, name in enumerate(names):
        part = {key: TENSORS[key] for key in list(TENSORS)[i :: len(names)]}
        torch.save(part, folder / name) if name.endswith(".bin") else save_file(part, folder / name)
    return folder


def numbered(form: str, count: int, first: int = 1) -> tuple[str, ...]:
    return tuple(form.format(i, count) for i in range(first, first + count))


FITTING = (
    numbered("model-{:05d}-of-{:05d}.safetensors", 3),
    numbered("model-{:05d}-of-{:05d}.safetensors", 1),
    numbered("model-{:05d}-of-{:05d}.safetensors", 3, first=0),
    numbered("model-{}-of-{}.safetensors", 11),
    numbered("model_{:02d}_of_{:02d}.safetensors", 2),
    numbered("model.fp16-{:05d}-of-{:05d}.safetensors", 2),
    numbered("model-{:05d}-of-{:05d}.fp16.safetensors", 2),
    numbered("pytorch_model-{:05d}-of-{:05d}.bin", 2),
    ("consolidated.safetensors",),
    ("model.fp16.safetensors",),
    ("my-fine-tune.safetensors",),
    ("part-a.safetensors", "part-b.safetensors"),
    ("pytorch_model.fp16.bin",),
)


@pytest.mark.parametrize("names", FITTING, ids=lambda names: names[0])
def test_files_that_fit_together_are_converted(names: tuple[str, ...], full_gguf: Path, tmp_path: Path) -> None:
    folder = write(tmp_path / "EXAONE-4.0-Tiny", *names)
    assert sorted(path.name for path in weight_files(folder)) == sorted(names)
    assert convert(folder, tmp_path / "out.gguf").paths[0].read_bytes() == full_gguf.read_bytes()
    assert verify(folder, tmp_path / "out.gguf", parts=["metadata", "tensors"]).verdict == "passed"


def test_what_trainers_and_disks_leave_beside_the_weights_is_not_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", *FITTING[0])
    for name in ("training_args.bin", "optimizer.bin", "._model-00001-of-00003.safetensors", "v_head.safetensors"):
        (folder / name).write_bytes(b"else")
    assert [path.name for path in weight_files(folder)] == list(FITTING[0])
    assert read_tensors(folder).keys() == TENSORS.keys()


def test_transformers_names_go_before_others(tmp_path: Path) -> None:
    """As in Mistral's folders, which hold their weights twice."""
    folder = write(tmp_path / "model", *FITTING[0])
    save_file({"tok_embeddings.weight": torch.ones(2, 2)}, folder / "consolidated.safetensors")
    assert read_tensors(folder).keys() == TENSORS.keys()


@pytest.mark.parametrize("names", [FITTING[0], FITTING[4], FITTING[7]], ids=lambda names: names[0])
@pytest.mark.parametrize("gone", [0, 1])
def test_a_number_that_is_missing_is_named_with_those_that_are_there(
    gone: int, names: tuple[str, ...], tmp_path: Path
) -> None:
    folder = write(tmp_path / "model", *names)
    (folder / names[gone]).unlink()
    there = ", ".join(name for name in names if name != names[gone])
    message = rf"{names[gone]}: the shard is missing \(1 of {len(names)}\), and there is no index; there are {there}"
    with pytest.raises(CheckpointError, match=message):
        convert(folder, tmp_path / "out.gguf")


def test_a_number_that_is_missing_among_very_many_is_named_at_once(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", "model-00001-of-99999999999.safetensors")
    with pytest.raises(CheckpointError, match="model-00002-of-99999999999.safetensors: the shard is missing"):
        read_tensors(folder)


@pytest.mark.parametrize(
    "names", [("model.bf16.safetensors", "model.fp16.safetensors"), ("a.safetensors", "b.safetensors")]
)
def test_files_that_hold_the_same_tensor_are_named(names: tuple[str, str], tmp_path: Path) -> None:
    folder = write(tmp_path / "model", names[0])
    save_file(TENSORS, folder / names[1])
    with pytest.raises(CheckpointError, match=rf"{names[1]}: tensor .* is in another shard too \({names[0]}\)"):
        convert(folder, tmp_path / "out.gguf")


def test_files_that_are_no_whole_model_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "model", "part-a.safetensors", "part-b.safetensors")
    (folder / "part-b.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"tensor .* is missing \(\d+ in all\).* in part-a.safetensors"):
        convert(folder, tmp_path / "out.gguf")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["consolidated.00.pth", "x.ckpt"], "; there are consolidated.00.pth, x.ckpt"),
        (["adapter_model.safetensors"], "; there are adapter_model.safetensors"),
        (["model.safetensors.part"], "; a download was not finished .model.safetensors.part."),
        (["checkpoint-500/model.safetensors"], "; folders with weights in it are checkpoint-500"),
    ],
)
def test_without_weights_what_is_there_is_named(names: list[str], told: str, tmp_path: Path) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=f"nor an index of shards{told}"):
        read_tensors(tmp_path)
