"""``verify``, ``convert --verify`` and ``imatrix`` at the command line: their output, and their exit codes."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exaone4_gguf import cli
from exaone4_gguf.commands import verify as verify_command
from exaone4_gguf.proof import verify
from exaone4_gguf.quant.imatrix import read_imatrix
from tests.proof.wrong_files import FAULTS

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line; exit code, stdout, stderr."""

    def run(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["exaone4-gguf", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def wrong(full_gguf: Path, tmp_path: Path) -> Path:
    return FAULTS["a stale tensor"].write(full_gguf, tmp_path / "wrong.gguf")


def test_a_right_file_is_exit_code_0(run: Run, full: Path, full_gguf: Path) -> None:
    code, out, err = run("verify", full, full_gguf, "--tokens", 16)
    assert code == 0
    first, *parts = out.splitlines()[:6]
    assert first.endswith("passed")
    assert [line.split()[:2] for line in parts] == [[name, "passed"] for name in verify.PARTS if name != "head"]
    assert err == "llama.cpp needs 0.5 GB of memory for full.gguf\n"


def test_a_wrong_file_is_exit_code_1_and_named(run: Run, full: Path, wrong: Path) -> None:
    code, out, _ = run("verify", full, wrong, "--only", "tensors")
    assert code == 1
    assert "tensors    failed" in out
    assert " values are wrong, the first at [0, 0]" in out


def test_several_files_are_put_side_by_side(run: Run, full: Path, full_gguf: Path, wrong: Path, tmp_path: Path) -> None:
    options = ("--only", "tensors", "--only", "behaviour", "--tokens", 16, "--plot", tmp_path / "a.svg")
    code, out, _ = run("verify", full, full_gguf, wrong, *options)
    assert code == 1
    heading, *rows = out.splitlines()[-3:]
    assert heading.split()[:2] == ["file", "type"]
    assert [row.split()[0] for row in rows] == ["full.gguf", "wrong.gguf"]
    assert (tmp_path / "a.svg").exists()


@pytest.fixture
def at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 80 columns, without colours."""
    for name, value in {"TTY_COMPATIBLE": "1", "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("at_80_columns")
def test_several_files_are_legible_at_80_columns(
    run: Run, full: Path, full_gguf: Path, wrong: Path, tmp_path: Path
) -> None:
    """Nothing is cut, no word is broken, no line is longer than the terminal."""
    named = tmp_path / "EXAONE-4.0-1.2B-of-our-own-fine-tune-Q4_K_M.gguf"
    shutil.copy(full_gguf, named)
    _, out, _ = run("verify", full, named, wrong, "--only", "behaviour", "--only", "tensors", "--tokens", 16)
    lines = out.splitlines()
    assert all(len(line.rstrip()) <= 80 for line in lines if str(tmp_path) not in line), out
    assert "…" not in out
    assert named.name in lines
    for word in ("perplexity", "checkpoint's", "BF16", "same top"):
        assert word in "\n".join(lines[lines.index(named.name) :])
    broken = [line.split() for line in lines]
    assert {"values", "wrong,"} <= {word for words in broken for word in words}


@pytest.mark.usefixtures("at_80_columns")
def test_notes_do_not_run_into_the_progress_and_transformers_is_quiet(
    run: Run, full_gguf: Path, full: Path, tmp_path: Path
) -> None:
    """This configuration makes transformers warn of max_position_embeddings."""
    folder = tmp_path / "model"
    shutil.copytree(full, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 8192}))
    _, _, err = run("verify", folder, full_gguf, "--tokens", 16)
    assert "transformers" not in err
    assert "max_position_embeddings" not in err
    note = "llama.cpp needs 0.5 GB of memory for full.gguf"
    before = err[: err.index(note)]
    assert "behaviour" not in before
    assert before == "" or before[-1] in "\n\r" or before.endswith("\x1b[2K")
    assert err[err.index(note) + len(note)] == "\n"


def test_another_model_is_told_first_and_shortly(run: Run, hybrid: Path, full_gguf: Path) -> None:
    code, out, _ = run("verify", hybrid, full_gguf, "--only", "metadata", "--only", "tensors", "--only", "tokenizer")
    assert code == 1
    heading, first, *rest = out.rstrip().splitlines()
    assert heading.endswith("failed")
    assert first.startswith("another model: ")
    assert [line.split()[0] for line in rest] == ["metadata", "tensors", "tokenizer"]


def test_json_is_for_programs(run: Run, full: Path, full_gguf: Path, wrong: Path) -> None:
    code, out, _ = run("verify", full, full_gguf, wrong, "--only", "metadata", "--only", "tensors", "--json")
    report = json.loads(out)
    assert (code, report["verdict"]) == (1, "failed")
    assert [file["verdict"] for file in report["files"]] == ["passed", "failed"]
    assert report["files"][1]["parts"][1]["findings"][0]["where"] == "blk.1.attn_q.weight"


def test_convert_may_verify_what_it_wrote(run: Run, full: Path, tmp_path: Path) -> None:
    code, out, err = run("convert", full, tmp_path / "a.gguf", "--outtype", "Q4_K_M", "--verify")
    assert (code, out) == (0, f"{tmp_path / 'a.gguf'}\n")
    assert "template   passed" in err
    assert "behaviour" not in err


def test_a_split_file_is_verified_as_one(run: Run, full: Path, tmp_path: Path) -> None:
    code, _, err = run("convert", full, tmp_path / "a.gguf", "--split-max-size", "2M", "--verify")
    assert (code, "47 of 47 compared" in err) == (0, True)


def test_the_importance_matrix_goes_all_the_way(run: Run, full: Path, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("Seoul 서울 Sevilla. " * 80)
    matrix = tmp_path / "i.gguf"
    code, out, err = run("imatrix", full, matrix, "--data", tmp_path / "text.txt", "-c", 64, "--chunks", 2)
    assert (code, out) == (0, f"{matrix}\n")
    assert "i.gguf written: 28 layers over 2 chunks of text" in err
    assert read_imatrix(matrix).chunk_size == 64
    options = ("--outtype", "Q4_K_M", "--imatrix", matrix, "--verify")
    code, _, err = run("convert", full, tmp_path / "a.gguf", *options)
    assert (code, "47 of 47 compared, 47 of them byte for byte" in err) == (0, True)
    assert run("verify", full, tmp_path / "a.gguf", "--only", "tensors")[0] == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("verify", "{full}"), "Missing argument 'FILE.gguf...'"),
        (("verify", "{full}", "none.gguf"), "none.gguf: no such file"),
        (("verify", "{full}", "{full}/config.json"), "not a GGUF file"),
        (("verify", "none", "{gguf}"), "none: no such folder"),
        (("verify", "{full}", "{gguf}", "--only", "logits"), "'logits' is not one of"),
        (("verify", "{full}", "{gguf}", "--tokens", "1"), "tokens is 1"),
        (("verify", "{full}", "{gguf}", "--data", "none.txt"), "none.txt: No such file"),
        (("verify", "{full}", "{gguf}", "--plot", "a.txt"), "a picture is one of"),
        (("verify", "{full}", "{gguf}", "--imatrix", "none"), "none: No such file"),
        (("imatrix", "{full}", "a.gguf"), "Missing option '--data'"),
        (("imatrix", "{full}", "a.gguf", "--data", "{full}/config.json", "-c", "99999"), "do not fill a chunk"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    args: tuple[str, ...],
    message: str,
    run: Run,
    full: Path,
    full_gguf: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*(a.format(full=full, gguf=full_gguf) for a in args))
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_the_parts_are_those_of_the_function() -> None:
    assert verify_command.PARTS == verify.PARTS
