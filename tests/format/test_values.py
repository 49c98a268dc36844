"""Values survive being written and read, and gguf-py reads them as we do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader
from hypothesis import given, settings
from hypothesis import strategies as st

from exaone4_gguf.converter.plan import make_plan
from exaone4_gguf.errors import GGUFError
from exaone4_gguf.format.values import Cursor, Metadata, Value, ValueType, array, pack, string

T = ValueType
SCALARS: dict[ValueType, st.SearchStrategy[Any]] = {
    T.UINT8: st.integers(0, 2**8 - 1),
    T.INT8: st.integers(-(2**7), 2**7 - 1),
    T.UINT16: st.integers(0, 2**16 - 1),
    T.INT16: st.integers(-(2**15), 2**15 - 1),
    T.UINT32: st.integers(0, 2**32 - 1),
    T.INT32: st.integers(-(2**31), 2**31 - 1),
    T.FLOAT32: st.floats(width=32, allow_nan=False),
    T.BOOL: st.booleans(),
    T.STRING: st.text(st.characters(exclude_categories=["Cs"])),
    T.UINT64: st.integers(0, 2**64 - 1),
    T.INT64: st.integers(-(2**63), 2**63 - 1),
    T.FLOAT64: st.floats(allow_nan=False),
}
scalars = st.sampled_from(list(SCALARS)).flatmap(lambda t: SCALARS[t].map(lambda data: Value(t, data)))
arrays = st.sampled_from(list(SCALARS)).flatmap(lambda t: st.lists(SCALARS[t]).map(lambda items: array(t, items)))
keys = st.text("abcdefghij._", min_size=1, max_size=20)


@given(value=scalars | arrays)
def test_what_is_written_is_read(value: Value) -> None:
    assert Cursor(memoryview(pack(value))).value() == value


@given(metadata=st.dictionaries(keys, scalars | arrays.filter(lambda v: v.data), max_size=5))
@settings(max_examples=50, deadline=None)
def test_gguf_py_reads_the_same(metadata: Metadata, tmp_path_factory: pytest.TempPathFactory) -> None:
    path: Path = tmp_path_factory.mktemp("values") / "a.gguf"
    path.write_bytes(make_plan(path, metadata | {"general.alignment": Value(T.UINT32, 32)}, [], []).files[0].header)
    fields = GGUFReader(path).fields
    for key, value in metadata.items():
        assert fields[key].contents() == value.data


def test_bytes_that_are_no_text_are_kept() -> None:
    raw = pack(string("ab")).replace(b"ab", b"\xff\xfe")
    assert pack(Cursor(memoryview(raw)).value()) == raw


@given(value=scalars | arrays, cut=st.integers(1, 100))
def test_a_header_that_ends_early_is_an_error(value: Value, cut: int) -> None:
    raw = pack(value)[:-cut]
    with pytest.raises(GGUFError, match="truncated"):
        Cursor(memoryview(raw)).value()


@given(raw=st.binary(max_size=200))
def test_random_bytes_are_a_value_or_an_error(raw: bytes) -> None:
    try:
        assert isinstance(Cursor(memoryview(raw)).value(), Value)
    except GGUFError as e:
        assert "\n" not in str(e)
