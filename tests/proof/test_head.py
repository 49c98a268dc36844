"""verify covers the classes with a head, and finds what is wrong with one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.format.file import head_path
from exaone4_gguf.proof.report import FileReport, Verdict
from exaone4_gguf.proof.verify import verify
from tests.classes import BASE, QUESTION, SEQUENCE, TOKEN, write_class
from tests.runtime.encode.test_head import CHANGES, rewrite


def part(report: FileReport) -> tuple[Verdict, list[str]]:
    (found,) = (part for part in report.parts if part.name == "head")
    return found.verdict, [finding.where for finding in found.findings]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("verified")
    folder = write_class(root / "model", SEQUENCE, "full")
    return folder, convert(folder, root / "base.gguf", "Q8_0").paths[0]


@pytest.mark.parametrize(("name", "shape"), [(BASE, "full"), (TOKEN, "full"), (QUESTION, "full"), (SEQUENCE, "hybrid")])
def test_right_files_pass(name: str, shape: str, tmp_path: Path) -> None:
    """The hybrid is untied: llama.cpp gives it the embedding as its output."""
    folder = write_class(tmp_path / "model", name, shape)
    file = convert(folder, tmp_path / "a.gguf", "Q8_0", head_type=None if name == BASE else "F16").paths[0]
    report = verify(folder, file, tokens=64, threads=1)
    assert report.verdict is Verdict.PASSED
    assert part(report.files[0]) == (Verdict.PASSED, [])


WHERE = {
    "another base": "exaone4_gguf.weights_id",
    "another width": "exaone4-head.embedding_length",
    "other labels": "exaone4-head.classifier.output_labels",
    "another task": "exaone4-head.task",
    "another activation": "exaone4-head.activation",
    "no head": "base.head.gguf",
}


@pytest.mark.parametrize("name", WHERE)
def test_a_wrong_head_is_found(name: str, classifier: tuple[Path, Path], tmp_path: Path) -> None:
    folder, right = classifier
    for file in (right, head_path(right)):
        shutil.copy(file, tmp_path)
    rewrite(head_path(tmp_path / right.name), CHANGES[name][0])
    (report,) = verify(folder, tmp_path / right.name, parts=["head"]).files
    assert part(report) == (Verdict.FAILED, [WHERE[name]])


def test_a_missing_head_is_found(classifier: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copy(classifier[1], tmp_path)
    (report,) = verify(classifier[0], tmp_path / classifier[1].name, parts=["head"]).files
    assert part(report) == (Verdict.FAILED, ["base.head.gguf"])


def test_another_matrix_is_found(classifier: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_class(tmp_path / "model", SEQUENCE, "full", num_labels=5)

    tensors = load_file(other / "model.safetensors")
    save_file(tensors | {"score.weight": tensors["score.weight"].flip(0)}, other / "model.safetensors")
    (report,) = verify(other, classifier[1], parts=["head"]).files
    assert part(report) == (Verdict.FAILED, ["cls.output.weight"])


def test_a_model_that_talks_has_no_such_part(full: Path, full_gguf: Path) -> None:
    assert all(p.name != "head" for p in verify(full, full_gguf, parts=["head", "metadata"]).files[0].parts)
    (alone,) = verify(full, full_gguf, parts=["head"]).files
    assert part(alone) == (Verdict.NOT_EVALUATED, [])


def test_a_file_that_cannot_talk_is_not_that_of_a_checkpoint_that_can(
    full: Path, classifier: tuple[Path, Path]
) -> None:
    (report,) = verify(full, classifier[1], parts=["metadata", "head"]).files
    assert part(report) == (Verdict.FAILED, ["exaone4_gguf.class"])
