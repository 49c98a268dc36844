"""The layout of a file: aligned, in order, split where asked; gguf-py reads it as planned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from gguf import GGUFReader
from hypothesis import given, settings
from hypothesis import strategies as st

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.converter.plan import make_plan
from exaone4_gguf.format.tensor import SourceTensor, as_rows
from exaone4_gguf.format.types import TYPES
from exaone4_gguf.format.values import Value, ValueType, string

F32 = TYPES["F32"]


def tensor(name: str, *shape: int) -> SourceTensor:
    return SourceTensor(name, shape, F32, as_rows(np.zeros(4 * int(np.prod(shape)), np.uint8), shape, F32))


tensors = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=1, max_size=8).map(
    lambda shapes: [tensor(f"t{i}", *shape) for i, shape in enumerate(shapes)]
)


@given(tensors=tensors, most=st.integers(0, 2000), alignment=st.sampled_from([8, 32, 256]))
@settings(max_examples=200)
def test_offsets_are_aligned_and_parts_are_filled_in_order(
    tensors: list[SourceTensor], most: int, alignment: int
) -> None:
    metadata = {"general.alignment": Value(ValueType.UINT32, alignment)}
    plan = make_plan(Path("a.gguf"), metadata, tensors, [F32] * len(tensors), most)
    assert [t.name for t in plan.tensors] == [t.name for t in tensors]
    for file in plan.files:
        at = len(file.header)
        if len(plan.files) == 1 or file is plan.files[0]:
            assert at % alignment == 0
        for t in file.tensors:
            assert t.offset >= at
            at = t.offset + t.n_bytes
        assert file.size >= at
        assert not most or len(file.tensors) == 1 or sum(t.n_bytes for t in file.tensors) <= most


def test_split_keys_are_those_that_llama_cpp_reads(full: Path, tmp_path: Path) -> None:
    paths = convert(full, tmp_path / "s.gguf", split_max_size=1_000_000).paths
    for i, path in enumerate(paths):
        fields = GGUFReader(path).fields
        assert fields["split.no"].contents() == i
        assert fields["split.count"].contents() == len(paths)
        assert fields["split.tensors.count"].contents() == 47
        assert [t.name for t in fields["split.no"].types] == ["UINT16"]


def test_a_model_smaller_than_a_part_is_one_plain_file(full: Path, tmp_path: Path) -> None:
    assert convert(full, tmp_path / "s.gguf", split_max_size=10**9).paths == (tmp_path / "s.gguf",)


def test_an_alignment_of_the_source_is_kept() -> None:
    plan = make_plan(Path("a.gguf"), {"general.name": string("a")}, [tensor("t", 3)], [F32])
    assert len(plan.files[0].header) % 32 == 0
