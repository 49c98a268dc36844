"""Right files pass, whatever their type; files that are wrong in one place fail, and the report names the place."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.converter.model import from_checkpoint
from exaone4_gguf.errors import RequestError, TextError
from exaone4_gguf.format.file import read_gguf
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.format.values import u32
from exaone4_gguf.proof.report import FileReport, Report, Verdict
from exaone4_gguf.proof.verify import CHEAP, PARTS, verify
from exaone4_gguf.quant.recipes import FILE_TYPES
from tests.checkpoints import full_config, hybrid_config, random_tensors, write_checkpoint
from tests.proof.wrong_files import FAULTS, changed, flipped, made_from, one_nan, rewritten

BASES = {"full": "Q4_K_M", "hybrid": "auto"}
STRUCTURAL = (
    "key heads",
    "half of a head rotated",
    "rope_freqs missing",
    "q and k swapped",
    "the tied flag: no output",
)


@pytest.fixture(scope="session")
def reports(full: Path, hybrid: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileReport]:
    """What is found in each wrong file, and in the right ones."""
    found: dict[str, FileReport] = {}
    for base, folder in (("full", full), ("hybrid", hybrid)):
        tmp = tmp_path_factory.mktemp(base)
        right = convert(folder, tmp / "right.gguf", BASES[base]).paths[0]
        names = [name for name, fault in FAULTS.items() if fault.base == base]
        wrong = [FAULTS[name].write(right, tmp / f"{i}.gguf") for i, name in enumerate(names)]
        files = verify(folder, [right, *wrong], parts=CHEAP, threads=2).files
        found |= dict(zip([base, *names], files, strict=True))
    return found


def failed(report: FileReport) -> list[str]:
    return [part.name for part in report.parts if part.verdict is Verdict.FAILED]


@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_file_fails_in_its_part_and_place(name: str, reports: dict[str, FileReport]) -> None:
    fault, report = FAULTS[name], reports[name]
    assert report.verdict is Verdict.FAILED
    assert failed(report) == [fault.part]
    findings = next(part.findings for part in report.parts if part.name == fault.part)
    assert fault.says in next(f.what for f in findings if f.where == fault.where)


@pytest.mark.parametrize("base", BASES)
def test_the_file_that_they_were_made_from_passes(base: str, reports: dict[str, FileReport]) -> None:
    assert reports[base].verdict is Verdict.PASSED


@pytest.fixture(scope="session")
def every_type(full: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("types")
    return {name: convert(full, folder / f"{name}.gguf", name).paths[0] for name in FILE_TYPES}


def test_right_files_of_every_type_pass_and_one_flipped_block_is_found(
    every_type: dict[str, Path], full: Path, tmp_path: Path
) -> None:
    name = "blk.1.ffn_down.weight"
    wrong = [rewritten(path, tmp_path / path.name, {}, flipped(name, 3)) for path in every_type.values()]
    right = verify(full, list(every_type.values()), parts=CHEAP).files
    assert [report.verdict for report in right] == [Verdict.PASSED] * len(right)
    for report in verify(full, wrong, parts=["tensors"]).files:
        assert [f.where for f in report.parts[0].findings] == [name], report.file_type


@pytest.mark.parametrize("intermediate", ["Q4_0", "Q5_0", "Q4_1", "Q3_K"])
def test_a_tensor_that_was_quantized_twice_is_found(
    intermediate: str, every_type: dict[str, Path], full: Path, tmp_path: Path
) -> None:
    name = "blk.1.ffn_gate.weight"
    source = next(t for t in from_checkpoint(full).tensors if t.name == name)

    def change(tensors: dict[str, object]) -> None:
        tensors[f"source {name}"] = source
        made_from(name, intermediate)(tensors)  # type: ignore[arg-type]
        del tensors[f"source {name}"]

    path = rewritten(every_type["Q4_K_M"], tmp_path / "a.gguf", {}, change)  # type: ignore[arg-type]
    assert read_gguf(path).tensors[name].type.name == "Q4_K"
    (part,) = verify(full, path, parts=["tensors"]).files[0].parts
    assert [f.where for f in part.findings] == [name]
    assert f"its values were {intermediate} before" in part.findings[0].what


BY_BEHAVIOUR = ("theta 10000", "window one less", "window one more", "pattern shifted by a layer", "rope_freqs doubled")


@pytest.fixture(scope="session")
def behaviours(hybrid: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileReport]:
    tmp = tmp_path_factory.mktemp("behaviour")
    right = convert(hybrid, tmp / "right.gguf").paths[0]
    wrong = [FAULTS[name].write(right, tmp / f"{i}.gguf") for i, name in enumerate(BY_BEHAVIOUR)]
    files = verify(hybrid, [right, *wrong], parts=["behaviour"], tokens=96).files
    return dict(zip(["right", *BY_BEHAVIOUR], files, strict=True))


@pytest.mark.parametrize("name", BY_BEHAVIOUR)
def test_the_logits_alone_tell_a_wrong_file(name: str, behaviours: dict[str, FileReport]) -> None:
    """On three times as many tokens as the window has."""
    assert behaviours[name].verdict is Verdict.FAILED


def test_the_logits_of_a_right_file_are_the_reference_s(behaviours: dict[str, FileReport]) -> None:
    assert behaviours["right"].verdict is Verdict.PASSED
    figures = behaviours["right"].figures("behaviour")
    assert figures["conversion"]["mean_kl"] < 1e-4
    assert figures["conversion"]["tokens"] == 96


@pytest.mark.parametrize("outtype", ["F32", "Q4_K_M", "Q4_0"])
def test_what_a_type_costs_is_told_and_decides_nothing(outtype: str, full: Path, every_type: dict[str, Path]) -> None:
    report = verify(full, every_type[outtype], parts=["behaviour"], tokens=96)
    assert report.verdict is Verdict.PASSED
    figures = report.files[0].figures("behaviour")
    least, most = {"F32": (0, 1e-9), "Q4_K_M": (1e-3, 1), "Q4_0": (1e-3, 1)}[outtype]
    assert least <= figures["cost"]["mean_kl"] < most
    assert figures["conversion"]["mean_kl"] <= figures["limit"]


@pytest.mark.parametrize("name", STRUCTURAL)
def test_llama_cpp_is_not_given_files_that_may_end_the_process(
    name: str, full: Path, hybrid: Path, tmp_path: Path
) -> None:
    fault = FAULTS[name]
    folder = {"full": full, "hybrid": hybrid}[fault.base]
    path = fault.write(convert(folder, tmp_path / "a.gguf").paths[0], tmp_path / "b.gguf")
    (part,) = verify(folder, path, parts=["behaviour"]).files[0].parts
    assert part.verdict is Verdict.NOT_EVALUATED


def test_a_part_that_cannot_run_is_not_passed(full: Path, full_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exaone4_gguf.proof.behaviour.available_memory", lambda: 10_000)
    told: list[str] = []
    report = verify(full, full_gguf, tokens=8, tell=told.append)
    assert report.verdict is Verdict.NOT_EVALUATED
    assert [p.name for p in report.files[0].parts if p.verdict is Verdict.NOT_EVALUATED] == ["behaviour"]
    assert "llama.cpp needs" in told[0]


def test_without_transformers_the_keys_are_still_compared(
    full: Path, full_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exaone4_gguf.proof.verify.tokenizer.own_tokenizer", lambda folder: None)
    (report,) = verify(full, full_gguf).files
    evaluated = {part.name for part in report.parts if part.verdict is Verdict.PASSED}
    assert evaluated == {"metadata", "tensors"}
    assert report.verdict is Verdict.NOT_EVALUATED
    wrong = FAULTS["a merge removed"].write(full_gguf, tmp_path / "a.gguf")
    assert failed(verify(full, wrong).files[0]) == ["tokenizer"]


def test_a_window_that_was_not_reached_is_told(hybrid: Path, tmp_path: Path) -> None:
    path = convert(hybrid, tmp_path / "a.gguf").paths[0]
    (part,) = verify(hybrid, path, parts=["behaviour"], tokens=16).files[0].parts
    assert part.notes == ("the window of 32 was not reached; --tokens 160 would",)


def test_blocks_for_next_token_prediction_are_no_part_of_the_depth(hybrid: Path, tmp_path: Path) -> None:
    """65 blocks, one of them for that, are the 64 layers of the checkpoint; 66 with one are not."""

    def with_nextn(n_blocks: int) -> Path:
        def change(tensors: dict[str, SourceTensor]) -> None:
            for name in ("ffn_up.weight", "nextn.eh_proj.weight"):
                tensors[f"blk.64.{name}"] = replace(tensors["blk.0.ffn_up.weight"], name=f"blk.64.{name}")

        keys = {"exaone4.block_count": u32(n_blocks), "exaone4.nextn_predict_layers": u32(1)}
        right = convert(hybrid, tmp_path / "right.gguf", force=True).paths[0]
        return rewritten(right, tmp_path / f"{n_blocks}.gguf", keys, change)

    report = verify(hybrid, [with_nextn(65), with_nextn(66)], parts=["metadata", "tensors"])
    right, wrong = report.files
    assert right.verdict is Verdict.PASSED, right.parts
    notes = [note for part in right.parts for note in part.notes]
    assert any("blocks for next-token prediction: 1" in note for note in notes)
    assert any("not compared: 2 tensors for next-token prediction" in note for note in notes)
    assert [f.where for f in wrong.parts[0].findings] == ["exaone4.block_count"]


@pytest.mark.parametrize("outtype", ["auto", "Q4_K_M"])
def test_the_file_of_another_model_is_told_in_one_finding(outtype: str, full: Path, tmp_path: Path) -> None:
    """Of the same shape, and of another; no cause is told where the values have nothing in common."""
    tensors = random_tensors(full_config(), seed=5)
    same = write_checkpoint(tmp_path / "same", full_config(), tensors)
    other = write_checkpoint(tmp_path / "other", hybrid_config())
    files = [convert(folder, tmp_path / f"{folder.name}.gguf", outtype).paths[0] for folder in (same, other)]
    for report in verify(full, files, parts=["metadata", "tensors"]).files:
        (finding,) = report.parts[1].findings
        assert finding.where == "another model"
        assert finding.what == report.another_model
        assert "before" not in finding.what


def test_without_torch_the_parts_say_whose_reading_they_used(
    full: Path, full_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exaone4_gguf.proof.verify.quiet.has_reference", lambda: False)
    monkeypatch.setattr("exaone4_gguf.proof.verify.tokenizer.own_tokenizer", lambda folder: None)
    (report,) = verify(full, full_gguf).files
    assert report.verdict is Verdict.NOT_EVALUATED
    told = json.dumps(Report("", (report,)).to_json())
    assert told.count("read by the converter itself") == len(report.parts)


def test_the_report_is_json(reports: dict[str, FileReport], full: Path, full_gguf: Path) -> None:
    report = verify(full, full_gguf, parts=["metadata", "tensors"])
    told = report.to_json()
    assert told["verdict"] == told["files"][0]["verdict"] == "passed"
    assert [part["name"] for part in told["files"][0]["parts"]] == ["metadata", "tensors"]
    assert len(told["files"][0]["parts"][1]["figures"]["tensors"]) == len(from_checkpoint(full).tensors)


def test_numbers_that_are_not_finite_are_null_in_json(full: Path, full_gguf: Path, tmp_path: Path) -> None:
    change = changed("blk.0.ffn_up.weight", one_nan)
    report = verify(
        full, rewritten(full_gguf, tmp_path / "a.gguf", {}, change), parts=["tensors", "behaviour"], tokens=8
    )
    assert [part.verdict for part in report.files[0].parts] == [Verdict.FAILED, Verdict.FAILED]
    figures = json.loads(json.dumps(report.to_json(), allow_nan=False))["files"][0]["parts"][1]["figures"]
    assert figures["conversion"]["mean_kl"] is None


def test_what_the_runtime_refuses_fails(hybrid: Path, tmp_path: Path) -> None:
    path = FAULTS["window missing"].write(convert(hybrid, tmp_path / "a.gguf").paths[0], tmp_path / "b.gguf")
    (part,) = verify(hybrid, path, parts=["behaviour"], tokens=8).files[0].parts
    assert part.verdict is Verdict.FAILED
    assert "64 layers without a sliding window" in part.findings[0].what


def test_wrong_arguments(full: Path, full_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=f"there is no part 'logits'; there are {', '.join(PARTS)}"):
        verify(full, full_gguf, parts=["logits"])
    with pytest.raises(RequestError, match="tokens is 1"):
        verify(full, full_gguf, tokens=1)
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(TextError, match="there is no text in it"):
        verify(full, full_gguf, data=tmp_path / "empty.txt")
    (tmp_path / "raw.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(TextError, match="not UTF-8"):
        verify(full, full_gguf, data=tmp_path / "raw.txt")
