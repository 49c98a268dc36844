"""GGUF files are read as gguf-py reads them; damaged ones end in one clear line."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader, GGUFWriter
from hypothesis import given, settings
from hypothesis import strategies as st

from exaone4_gguf.converter.convert import convert, quantize
from exaone4_gguf.errors import Exaone4Error, GGUFError
from exaone4_gguf.format.file import read_gguf
from tests import llama


def test_tensors_are_those_that_gguf_py_reads(full_gguf: Path) -> None:
    ours, theirs = read_gguf(full_gguf), GGUFReader(full_gguf)
    assert list(ours.tensors) == [t.name for t in theirs.tensors]
    for t in theirs.tensors:
        mine = ours.tensors[t.name]
        assert mine.type.name == t.tensor_type.name
        assert mine.shape == tuple(int(n) for n in reversed(t.shape))
        assert mine.rows.tobytes() == t.data.tobytes()


def damage(path: Path, tmp_path: Path, find: bytes, replace: bytes) -> Path:
    raw = path.read_bytes()
    assert find in raw
    target = tmp_path / "damaged.gguf"
    target.write_bytes(raw.replace(find, replace, 1))
    return target


def test_another_architecture_is_named(tmp_path: Path) -> None:
    writer = GGUFWriter(tmp_path / "a.gguf", "llama")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with pytest.raises(GGUFError, match="architecture is 'llama', not exaone4"):
        read_gguf(tmp_path / "a.gguf")


@pytest.mark.parametrize(
    ("find", "replace", "message"),
    [
        (b"GGUF", b"GGML", "not a GGUF file"),
        (b"GGUF\x03", b"GGUF\x01", "GGUF version 1"),
        (b"GGUF\x03\0\0\0", b"GGUF\0\0\0\x03", "GGUF version 50331648"),
        (b"general.type\x08", b"general.type\x63", "no value type 99"),
        (b"general.type\x08", b"general.nam\xff\x08", "is not UTF-8"),
        (b"output_norm.weight\x01\0\0\0", b"output_norm.weight\x09\0\0\0", "9 dimensions"),
        (b"token_embd.weight", b"output_nor.weight", None),
    ],
)
def test_a_damaged_header_is_one_clear_line(
    find: bytes, replace: bytes, message: str | None, full_gguf: Path, tmp_path: Path
) -> None:
    damaged = damage(full_gguf, tmp_path, find, replace)
    if message is None:
        assert "output_nor.weight" in read_gguf(damaged).tensors
        return
    with pytest.raises(GGUFError, match=re.escape(f"{damaged}: ") + ".*" + message):
        read_gguf(damaged)


@given(cut=st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None)
def test_a_truncated_file_is_an_error(cut: float, full_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    raw = full_gguf.read_bytes()
    path = tmp_path_factory.mktemp("cut") / "cut.gguf"
    path.write_bytes(raw[: int(cut * (len(raw) - 64))])
    with pytest.raises(GGUFError, match="truncated|not a GGUF|empty"):
        read_gguf(path)


@given(at=st.integers(0, 30_000), byte=st.integers(0, 255))
@settings(max_examples=200, deadline=None)
def test_a_flipped_byte_is_read_or_refused(
    at: int, byte: int, full_gguf: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Never another exception, whichever byte of the header it is."""
    raw = bytearray(full_gguf.read_bytes())
    raw[at] = byte
    path = tmp_path_factory.mktemp("flip") / "flip.gguf"
    path.write_bytes(raw)
    try:
        read_gguf(path)
    except Exaone4Error as e:
        assert "\n" not in str(e)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(GGUFError, match="no such file"):
        read_gguf(tmp_path / "none.gguf")


def test_split_files_are_read_as_one(full: Path, full_gguf: Path, tmp_path: Path) -> None:
    """From any part, and llama.cpp loads them; quantized, they give the file that the whole one gives."""
    parts = convert(full, tmp_path / "s.gguf", split_max_size=1_000_000).paths
    assert [p.name for p in parts] == [f"s-{i:05d}-of-{len(parts):05d}.gguf" for i in range(1, len(parts) + 1)]
    whole = read_gguf(full_gguf)
    for part in (parts[0], parts[-1]):
        joined = read_gguf(part)
        assert joined.parts == parts
        assert {n: t.rows.tobytes() for n, t in joined.tensors.items()} == {
            n: t.rows.tobytes() for n, t in whole.tensors.items()
        }
    a = quantize(parts[1], tmp_path / "a.gguf", "Q8_0").paths[0]
    b = quantize(full_gguf, tmp_path / "b.gguf", "Q8_0").paths[0]
    assert a.read_bytes() == b.read_bytes()
    tokens = list(range(300, 320))
    assert np.array_equal(llama.logits(parts[0], tokens), llama.logits(full_gguf, tokens))


def test_a_missing_part_is_named(full: Path, tmp_path: Path) -> None:
    parts = convert(full, tmp_path / "s.gguf", split_max_size=1_000_000).paths
    parts[1].unlink()
    with pytest.raises(GGUFError, match=f"1 of its {len(parts)} parts are missing: {parts[1].name}"):
        read_gguf(parts[0])


def test_a_part_under_another_name_is_refused(full: Path, tmp_path: Path) -> None:
    parts = convert(full, tmp_path / "s.gguf", split_max_size=1_000_000).paths
    for name in ("x.gguf", "s-00000-of-00000.gguf", "s-00001-of-00009.gguf"):
        shutil.copy(parts[0], tmp_path / name)
        with pytest.raises(GGUFError, match="a part of a split file, but not named as one"):
            quantize(tmp_path / name, tmp_path / "o.gguf", "Q8_0")


def test_a_file_without_all_tensors_is_refused(full_gguf: Path, tmp_path: Path) -> None:
    damaged = damage(full_gguf, tmp_path, b"blk.2.attn_q.weight", b"blk.2.attn_Q.weight")
    with pytest.raises(GGUFError, match=r"tensor blk.2.attn_q.weight is missing \(1 in all\)"):
        quantize(damaged, tmp_path / "o.gguf", "Q8_0")


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "fifo"):
        with pytest.raises(GGUFError, match="not a file"):
            read_gguf(path)


def test_a_part_in_the_wrong_place_is_refused(full: Path, tmp_path: Path) -> None:
    parts = convert(full, tmp_path / "s.gguf", split_max_size=1_000_000).paths
    parts[1].write_bytes(parts[2].read_bytes())
    with pytest.raises(GGUFError, match="not those of part 2"):
        read_gguf(parts[0])
