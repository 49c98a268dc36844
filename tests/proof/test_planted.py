"""A mistake of the converter is found by verify, which reads the checkpoint with eyes of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.proof.report import FileReport, Verdict
from exaone4_gguf.proof.verify import CHEAP, verify
from tests.checkpoints import write_checkpoint
from tests.proof.planted import MISTAKES, MODELS, Mistake, same_shape, square_config, swapped

Folders = Callable[[str], Path]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """The models, each written once."""
    root = tmp_path_factory.mktemp("planted")

    def folder(name: str) -> Path:
        path: Path = root / name
        return path if path.is_dir() else write_checkpoint(path, {**MODELS, "square": square_config}[name]())

    return folder


def verified(mistake: Mistake, folder: Path, target: Path, parts: tuple[str, ...]) -> FileReport:
    """The report of the file that the converter makes with a mistake, which stays while the file is verified."""
    with pytest.MonkeyPatch.context() as patch:
        mistake.plant(patch)
        path = convert(folder, target, mistake.outtype, allow_wrong_in_llama_cpp=True).paths[0]
        return verify(folder, path, parts=parts, threads=1, tokens=96).files[0]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found_and_named_in_its_part(name: str, folders: Folders, tmp_path: Path) -> None:
    mistake = MISTAKES[name]
    report = verified(mistake, folders(mistake.model), tmp_path / "a.gguf", CHEAP)
    (part,) = (part for part in report.parts if part.name == mistake.part)
    assert part.verdict is Verdict.FAILED
    assert mistake.says in next(f.what for f in part.findings if f.where == mistake.where)


@pytest.mark.parametrize("name", MODELS)
def test_without_a_mistake_the_same_files_pass(name: str, folders: Folders, tmp_path: Path) -> None:
    report = verified(Mistake(lambda patch: None, "", ""), folders(name), tmp_path / "a.gguf", CHEAP)
    assert report.verdict is Verdict.PASSED, report.parts


@pytest.mark.parametrize(("a", "b"), list(same_shape()))
def test_two_tensors_of_one_shape_are_not_exchanged_unseen(a: str, b: str, folders: Folders, tmp_path: Path) -> None:
    mistake = Mistake(swapped(a, b), "tensors", "")
    (part,) = verified(mistake, folders("square"), tmp_path / "a.gguf", ("tensors",)).parts
    assert {f.where for f in part.findings} >= {f"blk.{i}.{name}" for i in range(4) for name in (a, b)}


BY_BEHAVIOUR = {
    "theta doubled": MISTAKES["theta doubled"],
    "factors of one": MISTAKES["factors of one"],
    "epsilon": MISTAKES["epsilon"],
    "transposed": MISTAKES["transposed"],
    "rows for another RoPE": MISTAKES["rows for another RoPE"],
    "one matrix of another layer": MISTAKES["one matrix of another layer"],
    "gate for up": Mistake(swapped("ffn_gate.weight", "ffn_up.weight"), "", ""),
    "key for value": Mistake(swapped("attn_k.weight", "attn_v.weight"), "", ""),
    "both norms": Mistake(swapped("post_attention_norm.weight", "post_ffw_norm.weight"), "", ""),
}


@pytest.mark.parametrize("name", BY_BEHAVIOUR)
def test_the_logits_of_a_lossless_file_show_a_mistake_as_well(name: str, folders: Folders, tmp_path: Path) -> None:
    """Exchanged weights make a model that llama.cpp evaluates faithfully: only the checkpoint's show it."""
    mistake = replace(BY_BEHAVIOUR[name], outtype="F32")
    (part,) = verified(mistake, folders("tied"), tmp_path / "a.gguf", ("behaviour",)).parts
    assert part.verdict is Verdict.FAILED, part.summary
