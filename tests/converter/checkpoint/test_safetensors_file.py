"""Shards are read as the safetensors library reads them; damaged ones are refused by name."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from exaone4_gguf.converter.checkpoint.safetensors_file import read_safetensors
from exaone4_gguf.errors import CheckpointError

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
shapes = st.lists(st.integers(1, 5), min_size=0, max_size=3)
contents = st.dictionaries(
    st.text(min_size=1, max_size=8), st.tuples(st.sampled_from(list(DTYPES)), shapes), max_size=5
)


@given(content=contents)
@settings(max_examples=60, deadline=None)
def test_what_the_library_writes_is_read(
    content: dict[str, tuple[str, list[int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content.pop("__metadata__", None)
    path = tmp_path_factory.mktemp("shard") / "a.safetensors"
    tensors = {name: torch.randn(shape).to(DTYPES[dtype]) for name, (dtype, shape) in content.items()}
    save_file(tensors, path, metadata={"format": "pt"})
    ours = read_safetensors(path)
    theirs = load_file(path)
    assert ours.keys() == theirs.keys()
    for name, (dtype, shape) in content.items():
        assert (ours[name].type.name, list(ours[name].shape)) == (dtype, shape)
        assert ours[name].rows.tobytes() == theirs[name].reshape(-1).view(torch.uint8).numpy().tobytes()


def shard(folder: Path, header: Any, data: bytes = b"\0" * 8) -> Path:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = folder / "a.safetensors"
    path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
    return path


def entry(**changes: Any) -> dict[str, Any]:
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{", "header is not JSON"),
        (b"\xff\xfe", "header is not JSON"),
        (b"[" * 100_000, "header is not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"a": 1, "a": 2}', "'a' twice"),
        ({"a": None}, "lacks dtype"),
        ({"a": entry(dtype="F8_E4M3")}, "dtype F8_E4M3; supported are F32, F16, BF16 .*quantized"),
        ({"a": entry(dtype=["F32"])}, "supported are"),
        ({"a": entry(shape=[-2])}, "whole numbers"),
        ({"a": entry(shape=[True, 2])}, "whole numbers"),
        ({"a": entry(shape="2")}, "whole numbers"),
        ({"a": entry(data_offsets=[0, 4])}, "needs 8 bytes, its offsets span 4"),
        ({"a": entry(data_offsets=[8, 0])}, "its offsets span -8"),
        ({"a": entry(data_offsets=[4, 12])}, "truncated: tensor a ends 4 bytes past"),
        ({"a": entry(), "b": entry()}, "tensors a and b overlap"),
        ({"a": entry(shape=[2**40, 2**40], data_offsets=[0, 2**82])}, "truncated"),
    ],
)
def test_a_wrong_header_is_refused(header: Any, message: str, tmp_path: Path) -> None:
    path = shard(tmp_path, header)
    with pytest.raises(CheckpointError, match=re.escape(f"{path}: ") + ".*" + message):
        read_safetensors(path)


@pytest.mark.parametrize("raw", [b"", b"\1\0\0", b"\xff" * 8, b"\x08\0\0\0\0\0\0\0{}"])
def test_a_file_that_ends_early_is_refused(raw: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(raw)
    with pytest.raises(CheckpointError, match="empty|goes past the end"):
        read_safetensors(tmp_path / "a.safetensors")


@given(raw=st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_random_bytes_are_refused_in_one_line(raw: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = shard(tmp_path_factory.mktemp("random"), raw)
    with pytest.raises(CheckpointError) as e:
        read_safetensors(path)
    assert "\n" not in str(e.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 20) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
entries = st.fixed_dictionaries(
    {}, optional={"dtype": json_values | st.just("F32"), "shape": json_values, "data_offsets": json_values}
)


@given(header=st.dictionaries(st.text(max_size=3), entries | json_values, max_size=3))
@settings(max_examples=200, deadline=None)
def test_any_json_header_is_read_or_refused(header: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> None:
    try:
        read_safetensors(shard(tmp_path_factory.mktemp("any"), header))
    except CheckpointError as e:
        assert "a.safetensors" in str(e)
