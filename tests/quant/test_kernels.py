"""The kernels are ggml's, and finite is what ggml calls valid."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from gguf import GGMLQuantizationType, quants
from hypothesis import given, settings
from hypothesis import strategies as st

from exaone4_gguf.errors import QuantizeError, RuntimeFailure
from exaone4_gguf.format.types import TYPES, WRITABLE
from exaone4_gguf.quant import kernels


def some_rows() -> kernels.Floats:
    """Rows as weights are, of several sizes."""
    generator = np.random.default_rng(0)
    return (generator.standard_normal((64, 512)) * generator.lognormal(sigma=2, size=(64, 1))).astype(np.float32)


@pytest.mark.parametrize("name", ["F16", "BF16", "Q8_0", "Q4_0", "Q5_0", "Q4_1", "Q5_1"])
def test_bytes_are_those_of_gguf_py(name: str) -> None:
    """gguf-py's numpy quantizers are an implementation of their own."""
    expected = quants.quantize(some_rows(), GGMLQuantizationType[name])
    assert kernels.quantize(some_rows(), TYPES[name]).tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", [n for n in WRITABLE if n != "F32"])
def test_dequantized_values_are_those_of_gguf_py(name: str) -> None:
    blocks = kernels.quantize(some_rows(), TYPES[name])
    expected = quants.dequantize(blocks, GGMLQuantizationType[name])
    assert np.array_equal(kernels.dequantize(blocks, TYPES[name]), expected)


@pytest.mark.parametrize("name", [n for n in TYPES if TYPES[n].scales or TYPES[n].is_float])
@given(raw=st.binary(min_size=292 * 2, max_size=292 * 2))
@settings(max_examples=40, deadline=None)
def test_finite_is_what_ggml_calls_valid(name: str, raw: bytes) -> None:
    """On random bytes, whose scales are often infinite or NaN."""
    t = TYPES[name]
    size = len(raw) // t.type_size * t.type_size
    blocks = np.frombuffer(raw[:size], np.uint8).reshape(1, -1).copy()
    validate = kernels._ggml().ggml_validate_row_data
    validate.restype = ctypes.c_bool
    assert kernels.all_finite(blocks, t) == validate(
        t.id, blocks.ctypes.data_as(ctypes.c_void_p), ctypes.c_size_t(size)
    )


def test_first_non_finite_names_the_place() -> None:
    x = np.zeros((3, 4), np.float32)
    x[1, 2] = np.inf
    assert kernels.first_non_finite(x) == (1, 2, np.inf)


def test_rows_that_do_not_fit_are_refused_before_ggml_sees_them() -> None:
    with pytest.raises(QuantizeError, match="rows of 100 cannot be Q8_0"):
        kernels.quantize(np.zeros((1, 100), np.float32), TYPES["Q8_0"])


def test_a_type_that_needs_an_importance_matrix_is_refused_before_ggml_aborts() -> None:
    with pytest.raises(QuantizeError, match="needs an importance matrix"):
        kernels.quantize(np.zeros((1, 256), np.float32), TYPES["IQ2_XXS"])


def test_without_llama_cpp_python_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(RuntimeFailure, match="pip install llama-cpp-python"):
        kernels.library_path()
