"""The table of types is ggml's."""

from __future__ import annotations

import pytest
import torch
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from exaone4_gguf.errors import QuantizeError
from exaone4_gguf.format.types import TYPES, WRITABLE, writable_type
from exaone4_gguf.proof.rounding import rounded
from exaone4_gguf.quant import kernels
from exaone4_gguf.quant.recipes import FILE_TYPES, FileType


@pytest.mark.parametrize("name", TYPES)
def test_sizes_are_those_of_ggml_and_gguf(name: str) -> None:
    t = TYPES[name]
    ggml = kernels._ggml()
    assert (ggml.ggml_blck_size(t.id), ggml.ggml_type_size(t.id)) == (t.block_size, t.type_size)
    assert GGML_QUANT_SIZES[GGMLQuantizationType[name]] == (t.block_size, t.type_size)
    assert GGMLQuantizationType[name] == t.id


def test_names_are_taken_in_any_case() -> None:
    assert writable_type("q4_k") is TYPES["Q4_K"]


@pytest.mark.parametrize("name", ["Q9_9", "", "IQ1_S"])
def test_an_unknown_type_lists_the_known_ones(name: str) -> None:
    with pytest.raises(QuantizeError, match=", ".join(WRITABLE)):
        writable_type(name)


@pytest.mark.parametrize("name", TYPES)
def test_every_row_is_complete_in_every_room(name: str) -> None:
    """A row that lacks a column, or names what another room does not have, fails here."""
    t = TYPES[name]
    columns = 256
    inputs = torch.linspace(-1, 1, columns)
    assert rounded(inputs, t).shape == inputs.shape
    assert t.row_bytes(columns) == columns // t.block_size * t.type_size
    assert t.fallback is None or t.fallback in WRITABLE
    assert t.repacked.keys() <= {"avx2", "dotprod", "i8mm"}
    if t.own_kernel or t.wants_imatrix or t.fallback:
        assert name in WRITABLE
    if name in WRITABLE and t.block_size == 256:
        assert t.fallback, "a row that 256 does not divide needs another type"


def test_the_written_types_have_each_a_place_of_its_own() -> None:
    assert [TYPES[name].written for name in WRITABLE] == list(range(1, len(WRITABLE) + 1))


@pytest.mark.parametrize("file_type", FILE_TYPES.values(), ids=str)
def test_a_file_type_names_types_that_are_written(file_type: FileType) -> None:
    better = [name for cases in file_type.better.values() for _, name in cases]
    assert {file_type.base, file_type.output, *better} <= set(WRITABLE)
