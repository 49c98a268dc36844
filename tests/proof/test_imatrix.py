"""The importance matrix is llama-imatrix's, a stopped run goes on, and what it makes is verified byte for byte."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.errors import Exaone4Error
from exaone4_gguf.proof.corpus import PROSE
from exaone4_gguf.proof.imatrix import imatrix
from exaone4_gguf.proof.report import Verdict
from exaone4_gguf.proof.verify import verify
from exaone4_gguf.quant.imatrix import ImportanceMatrix, read_imatrix

LLAMA_IMATRIX = os.environ.get("LLAMA_IMATRIX") or shutil.which("llama-imatrix")


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(PROSE))
    return path


@pytest.fixture(scope="session")
def matrix(full: Path, text: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ImportanceMatrix]:
    path = tmp_path_factory.mktemp("imatrix") / "imatrix.gguf"
    return path, imatrix(full, path, text, ctx_size=128)


def test_what_is_written_is_read_again(matrix: tuple[Path, ImportanceMatrix], text: Path) -> None:
    path, made = matrix
    read = read_imatrix(path)
    assert (read.chunk_count, read.chunk_size, read.datasets) == (made.chunk_count, 128, (str(text),))
    assert len(read.entries) == 4 * 7
    for name, entry in read.entries.items():
        assert np.array_equal(entry.sums, made.entries[name].sums)
        assert entry.count == made.chunk_count * 128
    q, k, down = (read.entries[f"blk.2.{role}.weight"] for role in ("attn_q", "attn_k", "ffn_down"))
    assert np.array_equal(q.sums, k.sums)  # they have the same input
    assert (q.sums.shape, down.sums.shape) == ((256,), (512,))


@pytest.mark.skipif(LLAMA_IMATRIX is None, reason="llama-imatrix is not on PATH, nor named by LLAMA_IMATRIX")
@pytest.mark.parametrize("model", ["full", "hybrid"])
def test_it_is_llama_imatrix_s(model: str, text: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """On the same tokens, cosine at least 0.999 for every tensor, and the same counts."""
    folder: Path = request.getfixturevalue(model)
    ours = imatrix(folder, tmp_path / "ours.gguf", text, ctx_size=128, chunks=6)
    path = convert(folder, tmp_path / "model.gguf", "F32").paths[0]
    options = ["-f", text, "-o", tmp_path / "theirs.gguf", "-c", 128, "--chunks", 6, "--no-ppl", "-t", 2, "-ngl", 0]
    subprocess.run([str(o) for o in (LLAMA_IMATRIX, "-m", path, *options)], check=True, capture_output=True)
    theirs = read_imatrix(tmp_path / "theirs.gguf")
    assert theirs.entries.keys() == ours.entries.keys()
    assert (theirs.chunk_count, theirs.chunk_size) == (ours.chunk_count, ours.chunk_size)
    for name, entry in theirs.entries.items():
        a, b = entry.sums.astype(np.float64), ours.entries[name].sums.astype(np.float64)
        assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) >= 0.999, name
        assert np.allclose(a, b, rtol=0.02), name
        assert entry.count == ours.entries[name].count


class Stopped(Exception):
    """As Ctrl-C would."""


@contextmanager
def stopping(title: str, total: int) -> Iterator[Any]:
    """A progress that stops the run after two thirds."""
    done = 0

    def advance(n: int) -> None:
        nonlocal done
        done += n
        if done > total * 2 / 3:
            raise Stopped

    yield advance


def test_a_stopped_run_goes_on(
    full: Path, text: Path, matrix: tuple[Path, ImportanceMatrix], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exaone4_gguf.proof.imatrix.TOKENS_AT_ONCE", 512)
    told: list[str] = []
    with pytest.raises(Stopped):
        imatrix(full, tmp_path / "a.gguf", text, ctx_size=128, show_progress=stopping)
    assert [path.name for path in tmp_path.iterdir()] == [".a.gguf.exaone4-gguf-imatrix"]
    made = imatrix(full, tmp_path / "a.gguf", text, ctx_size=128, tell=told.append)
    assert told[0].startswith("going on after ")
    for name, entry in matrix[1].entries.items():
        assert np.allclose(entry.sums, made.entries[name].sums, rtol=1e-4)
        assert entry.count == made.entries[name].count
    assert [path.name for path in tmp_path.iterdir()] == ["a.gguf"]


def test_a_run_with_other_arguments_does_not_go_on(
    full: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exaone4_gguf.proof.imatrix.TOKENS_AT_ONCE", 512)
    with pytest.raises(Stopped):
        imatrix(full, tmp_path / "a.gguf", text, ctx_size=128, show_progress=stopping)
    told: list[str] = []
    made = imatrix(full, tmp_path / "a.gguf", text, ctx_size=128, chunks=2, tell=told.append)
    assert not told
    assert made.chunk_count == 2


def test_a_damaged_state_is_none(full: Path, text: Path, tmp_path: Path) -> None:
    (tmp_path / ".a.gguf.exaone4-gguf-imatrix").write_bytes(b"PK\x03\x04 and no more")
    assert imatrix(full, tmp_path / "a.gguf", text, ctx_size=64, chunks=1).chunk_count == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ctx_size": 1}, "ctx_size is 1"),
        ({"chunks": 0}, "chunks is 0"),
        ({"ctx_size": 100_000}, "tokens do not fill a chunk of 100000; give more text, or a smaller -c"),
        ({"data": "none.txt"}, "none.txt: No such file"),
        ({"outfile": "none/a.gguf"}, "no such folder"),
        ({"outfile": "."}, "it is a folder"),
    ],
)
def test_wrong_arguments(
    options: dict[str, Any], message: str, full: Path, text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments: dict[str, Any] = {"model_dir": full, "outfile": "a.gguf", "data": text, **options}
    with pytest.raises(Exaone4Error, match=message):
        imatrix(**arguments)
    assert not list(tmp_path.iterdir())


def test_an_existing_file_is_replaced_only_by_force(full: Path, text: Path, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_text("precious")
    with pytest.raises(Exaone4Error, match="--force replaces it"):
        imatrix(full, tmp_path / "a.gguf", text)
    imatrix(full, tmp_path / "a.gguf", text, ctx_size=64, chunks=1, force=True)
    assert read_imatrix(tmp_path / "a.gguf").chunk_count == 1


def test_behind_a_symbolic_link_the_file_is_replaced(full: Path, text: Path, tmp_path: Path) -> None:
    link, real = tmp_path / "a.gguf", tmp_path / "real"
    link.symlink_to(real)
    imatrix(full, link, text, ctx_size=64, chunks=1)
    assert link.is_symlink()
    assert read_imatrix(real).chunk_count == 1
    real.unlink()
    real.symlink_to(link)
    with pytest.raises(Exaone4Error, match="leads back to itself"):
        imatrix(full, link, text, ctx_size=64, chunks=1, force=True)


@pytest.mark.parametrize("outtype", ["Q4_K_M", "Q6_K", "Q4_0", "Q2_K", "IQ4_XS"])
def test_files_made_with_it_are_verified(
    outtype: str, full: Path, matrix: tuple[Path, ImportanceMatrix], tmp_path: Path
) -> None:
    """As near as they can be without the matrix, byte for byte with it."""
    path = convert(full, tmp_path / "a.gguf", outtype, imatrix=matrix[0]).paths[0]
    without, within = (verify(full, path, parts=["tensors"], imatrix=m) for m in (None, matrix[0]))
    assert (without.verdict, within.verdict) == (Verdict.PASSED, Verdict.PASSED)
    rows = within.files[0].figures("tensors")["tensors"]
    sampled = outtype == "IQ4_XS"
    assert all(row["reproduced"] == 1 for row in rows if not sampled or row["type"] not in ("IQ4_XS", "IQ4_NL"))
    assert any(row["reproduced"] < 1 for row in without.files[0].figures("tensors")["tensors"])
