"""The table of types is ggml's."""

from __future__ import annotations

import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from exaone4_gguf.errors import QuantizeError
from exaone4_gguf.format.types import TYPES, WRITABLE, writable_type
from exaone4_gguf.quant import kernels


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
