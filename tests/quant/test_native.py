"""The project's kernels write ggml's bytes, on every instruction set, from every source, for rows of every kind."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from exaone4_gguf.format.types import TYPES
from exaone4_gguf.quant import kernels, native

LEVELS = native.instructions()[:-1]
BLOCKS = int(os.environ.get("EXAONE4_CASES", "2000"))
"""Random super-blocks of each type; 10,000,000 takes some minutes."""

pytestmark = pytest.mark.skipif(not LEVELS, reason="the kernel was not compiled: no compiler at hand")


def encoded(
    rows: kernels.Floats, name: str, level: str, source: str = "F32", importance: kernels.Floats | None = None
) -> kernels.Bytes:
    stored = kernels.quantize(rows, TYPES[source]) if source != "F32" else rows.view(np.uint8)
    blocks = np.zeros((len(rows), TYPES[name].row_bytes(rows.shape[1])), np.uint8)
    assert native.encode(stored, TYPES[source], TYPES[name], blocks, level, importance)
    return blocks


def assert_ggmls(rows: kernels.Floats, name: str, level: str, importance: kernels.Floats | None = None) -> None:
    """The same bytes; where ggml's scales become infinite, ours do as well, and the rest is no matter."""
    expected = kernels.quantize(rows, TYPES[name], importance)
    found = encoded(rows, name, level, importance=importance)
    for row in np.flatnonzero((expected != found).any(axis=1)):
        assert not kernels.all_finite(expected[row : row + 1], TYPES[name]), rows[row]
        assert not kernels.all_finite(found[row : row + 1], TYPES[name]), rows[row]


def some_rows(n: int, seed: int = 0) -> kernels.Floats:
    """Weights of all sizes: normal ones, some rows with outliers, some with few values."""
    dice = np.random.default_rng(seed)
    rows = dice.standard_normal((n, 256)).astype(np.float32)
    rows *= dice.lognormal(-4, 3, (n, 1)).astype(np.float32)
    rows[::5, ::7] *= 100
    rows[1::5] = np.round(rows[1::5] * 20) / 20
    rows[2::5, dice.integers(0, 256, 64)] = 0
    return rows


@pytest.mark.parametrize("name", native.TYPES)
@pytest.mark.parametrize("level", LEVELS)
def test_random_blocks(name: str, level: str) -> None:
    for first in range(0, BLOCKS, 100_000):
        assert_ggmls(some_rows(min(100_000, BLOCKS - first), first), name, level)


@pytest.mark.parametrize("name", native.TYPES)
@pytest.mark.parametrize("level", LEVELS)
def test_random_blocks_with_an_importance_matrix(name: str, level: str) -> None:
    for first in range(0, BLOCKS, 100_000):
        n = min(100_000, BLOCKS - first)
        dice = np.random.default_rng(first)
        importance = dice.lognormal(0, 3, 768).astype(np.float32)
        importance[dice.integers(0, 768, 50)] = 0
        assert_ggmls(some_rows(n // 3 * 3, first).reshape(-1, 768), name, level, importance)


special = st.sampled_from([0.0, -0.0, 1e-45, -1e-42, 1e-38, 1e-20, 65504.0, -7e4, 1e10, 3e38, -3e38, 0.5, -0.5, 127.5])
values = st.floats(width=32, allow_nan=False, allow_infinity=False) | special | st.floats(-1, 1, width=32)
constant = values.map(lambda v: np.full(256, v, np.float32))
outlier = st.tuples(st.integers(0, 255), values, values).map(lambda t: np.where(np.arange(256) == t[0], t[1], t[2]))
alternating = values.map(lambda v: np.where(np.arange(256) % 2, v, -v))
ramp = st.tuples(values, values).map(lambda t: np.linspace(np.float64(t[0]), np.float64(t[1]), 256))
rows = st.lists(
    constant | outlier | alternating | ramp | arrays(np.float32, 256, elements=values), min_size=1, max_size=5
)


@pytest.mark.parametrize("name", native.TYPES)
@pytest.mark.parametrize("level", LEVELS)
@given(listed=rows, importance=st.none() | (constant | outlier | ramp).map(lambda x: np.abs(x).astype(np.float32)))
@settings(max_examples=200, deadline=None)
def test_rows_of_every_kind(
    name: str, level: str, listed: list[kernels.Floats], importance: kernels.Floats | None
) -> None:
    """Zeros, one outlier, denormals, huge, constant, negative zero, alternating signs, and any."""
    with np.errstate(all="ignore"):
        stacked = np.nan_to_num(np.stack(listed).astype(np.float32), posinf=3e38, neginf=-3e38)
    assert_ggmls(stacked, name, level, importance)


@pytest.mark.parametrize("name", native.TYPES)
@pytest.mark.parametrize("source", ["F16", "BF16"])
@pytest.mark.parametrize("level", LEVELS)
def test_widening_in_the_same_call(name: str, source: str, level: str) -> None:
    weights = np.clip(some_rows(300), -6e4, 6e4)
    widened = kernels.dequantize(kernels.quantize(weights, TYPES[source]), TYPES[source])
    assert np.array_equal(encoded(weights, name, level, source), kernels.quantize(widened, TYPES[name]))


@pytest.mark.parametrize("name", ["Q4_0", "Q8_0", "IQ4_NL"])
@pytest.mark.parametrize("columns", [32, 96, 544, 1056])
def test_rows_that_do_not_fill_the_lanes(name: str, columns: int) -> None:
    dice = np.random.default_rng(1)
    weights = dice.standard_normal((7, columns)).astype(np.float32)
    for level in LEVELS:
        assert_ggmls(weights, name, level)
        assert_ggmls(weights, name, level, dice.random(columns, np.float32))


def test_what_it_does_not_do_is_left_to_ggml() -> None:
    weights = some_rows(4)
    for name in ("Q5_0", "F16", "Q4_1"):
        stored = weights.view(np.uint8)
        expected = kernels.quantize(weights, TYPES[name])
        assert np.array_equal(kernels.convert(stored, TYPES["F32"], TYPES[name]), expected)


def test_rows_may_be_every_second_one() -> None:
    weights = some_rows(8)
    expected = kernels.quantize(weights[::2], TYPES["Q4_K"])
    assert np.array_equal(kernels.convert(weights.view(np.uint8)[::2], TYPES["F32"], TYPES["Q4_K"]), expected)


def test_without_the_module_ggml_does_all(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = some_rows(4)
    expected = kernels.convert(weights.view(np.uint8), TYPES["F32"], TYPES["Q4_K"])
    monkeypatch.setattr(native, "_kernel", None)
    assert native.instructions() == ["ggml"]
    assert np.array_equal(kernels.convert(weights.view(np.uint8), TYPES["F32"], TYPES["Q4_K"]), expected)


def test_a_buffer_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="do not fill"):
        native.encode(np.zeros((1, 1024), np.uint8), TYPES["F32"], TYPES["Q4_K"], np.zeros((1, 100), np.uint8), "x")
