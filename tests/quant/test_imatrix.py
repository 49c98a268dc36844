"""Importance matrices come back as they were written, from both forms; damaged ones are refused in one line."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exaone4_gguf.errors import ImatrixError
from exaone4_gguf.quant.imatrix import Entry, ImportanceMatrix, read_imatrix, write_imatrix

MATRIX = ImportanceMatrix(
    {
        "blk.0.attn_q.weight": Entry(np.array([1.0, 0.0, 9.0, 2.5], np.float32), 4.0),
        "blk.0.ffn_down.weight": Entry(np.array([3.0, 6.0], np.float32), 3.0),
    },
    ("문서.txt",),
    chunk_count=7,
    chunk_size=512,
)


def binary(matrix: ImportanceMatrix, trailing: bytes | None = None) -> bytes:
    """The old form, as llama-imatrix --output-format dat writes it."""
    text = struct.pack("<i", len(matrix.entries))
    for name, entry in matrix.entries.items():
        calls = matrix.chunk_count
        text += struct.pack("<i", len(name.encode())) + name.encode() + struct.pack("<ii", calls, len(entry.sums))
        text += (entry.sums / np.float32(entry.count) * np.float32(calls)).tobytes()
    dataset = matrix.datasets[0].encode()
    end = struct.pack("<ii", matrix.chunk_count, len(dataset)) + dataset
    return text + (end if trailing is None else trailing)


def same(a: ImportanceMatrix, b: ImportanceMatrix) -> bool:
    means = [(a.entries[n].importance, b.entries[n].importance) for n in a.entries]
    return a.entries.keys() == b.entries.keys() and all(np.allclose(x, y, rtol=1e-6) for x, y in means)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_imatrix(tmp_path / "a.gguf", MATRIX)
    found = read_imatrix(tmp_path / "a.gguf")
    assert same(found, MATRIX)
    assert (found.datasets, found.chunk_count, found.chunk_size) == (MATRIX.datasets, 7, 512)
    assert [f.name for f in tmp_path.iterdir()] == ["a.gguf"]


def test_the_old_form_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(binary(MATRIX))
    found = read_imatrix(tmp_path / "a.dat")
    assert same(found, MATRIX)
    assert (found.datasets, found.chunk_count) == (MATRIX.datasets, 7)


def test_the_oldest_form_has_no_end(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_bytes(binary(MATRIX, b""))
    assert same(read_imatrix(tmp_path / "a.dat"), MATRIX)


def test_columns_that_saw_nothing_count_one() -> None:
    """As llama-quantize has it for experts that were never asked."""
    assert list(Entry(np.zeros(3, np.float32), 0.0).importance) == [1, 1, 1]


@pytest.mark.parametrize("form", ["gguf", "dat"])
@given(cut=st.floats(0, 0.999), flip=st.none() | st.tuples(st.floats(0, 0.999), st.integers(1, 255)))
@settings(max_examples=300, deadline=None)
def test_a_damaged_file_is_refused_or_read(
    form: str, cut: float, flip: tuple[float, int] | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Never another exception, and never a value that is not finite."""
    path = tmp_path_factory.mktemp("damaged") / f"a.{form}"
    if form == "gguf":
        write_imatrix(path, MATRIX)
    else:
        path.write_bytes(binary(MATRIX))
    raw = bytearray(path.read_bytes())
    if flip:
        raw[int(flip[0] * len(raw))] ^= flip[1]
    else:
        raw = raw[: int(cut * len(raw))]
    path.write_bytes(raw)
    try:
        found = read_imatrix(path)
    except ImatrixError as e:
        assert "\n" not in str(e)
    else:
        assert all(np.isfinite(e.importance).all() for e in found.entries.values())


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry(np.array([1.0, np.nan], np.float32), 1.0), "blk.0.x holds a value that is not finite"),
        (Entry(np.array([-1.0], np.float32), 1.0), "blk.0.x holds a negative value"),
        (Entry(np.array([1.0], np.float32), float("inf")), "blk.0.x holds a value that is not finite"),
    ],
)
def test_values_that_no_mean_of_squares_has(entry: Entry, message: str, tmp_path: Path) -> None:
    write_imatrix(tmp_path / "a.gguf", ImportanceMatrix({"blk.0.x": entry}, ("a",), 1, 512))
    with pytest.raises(ImatrixError, match=message):
        read_imatrix(tmp_path / "a.gguf")


def test_other_files_are_none(demo_gguf: Path, tmp_path: Path) -> None:
    with pytest.raises(ImatrixError, match="not an importance matrix: it lacks"):
        read_imatrix(demo_gguf)
    (tmp_path / "text").write_text("Once upon a time there was a matrix.")
    with pytest.raises(ImatrixError, match="not an importance matrix"):
        read_imatrix(tmp_path / "text")
    with pytest.raises(ImatrixError, match="No such file"):
        read_imatrix(tmp_path / "missing")
    with pytest.raises(ImatrixError, match="Is a directory"):
        read_imatrix(tmp_path)
