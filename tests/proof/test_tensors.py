"""Right tensors of every type that ggml has pass, with and without an importance matrix; wrong ones are named."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.format.types import TYPES
from exaone4_gguf.proof.report import Part, Verdict
from exaone4_gguf.proof.tensors import check_tensors
from exaone4_gguf.quant import kernels
from exaone4_gguf.quant.kernels import Bytes, Floats
from tests.proof.wrong_files import flipped

NAME = "blk.0.ffn_down.weight"
COLUMNS = 768
SLOW = ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ1_S", "IQ1_M")
"""ggml makes tables for these, which takes ten seconds a type."""
CHOSEN = TYPES if os.environ.get("EXAONE4_CASES") else {n: t for n, t in TYPES.items() if n not in SLOW}
QUANTIZED = [name for name, t in CHOSEN.items() if not t.is_float]
NEEDING_IMPORTANCE = ("IQ2_XXS", "IQ2_XS", "IQ1_S")


def weights(seed: int = 0, tail: float = 5.0) -> Floats:
    """Rows as models have them: heavy-tailed, of several sizes."""
    generator = np.random.default_rng(seed)
    x = generator.standard_t(tail, (48, COLUMNS)) * generator.lognormal(sigma=0.5, size=(48, 1))
    return (0.02 * x).astype(np.float32)


def importance(sigma: float) -> Floats | None:
    """Of each column: lognormal; none at all for a negative sigma."""
    x = np.random.default_rng(1).lognormal(sigma=abs(sigma), size=COLUMNS).astype(np.float32)
    return x if sigma >= 0 else None


def tensor(x: Floats, type: str = "F32", sigma: float = -1.0) -> SourceTensor:
    """Values in a type."""
    x = np.ascontiguousarray(x)
    rows: Bytes = x.view(np.uint8) if type == "F32" else kernels.quantize(x, TYPES[type], importance(sigma))
    return SourceTensor(NAME, x.shape, TYPES[type], rows)


def checked(source: SourceTensor, file: SourceTensor, **options: Any) -> Part:
    return check_tensors([source], {NAME: file}, **options)


@pytest.mark.parametrize("sigma", [-1.0, 0.0, 1.0, 2.0])
@pytest.mark.parametrize("type", QUANTIZED)
def test_a_right_tensor_passes_and_one_with_a_flipped_block_does_not(type: str, sigma: float) -> None:
    """Made without an importance matrix, or with one that the check does not know."""
    if sigma < 0 and type in NEEDING_IMPORTANCE:
        pytest.skip(f"{type} cannot be made without an importance matrix")
    source, file = tensor(weights()), tensor(weights(), type, sigma)
    part = checked(source, file, has_imatrix=sigma >= 0)
    assert part.verdict is Verdict.PASSED, part.findings
    tensors = {NAME: file}
    flipped(NAME, 7)(tensors)
    part = check_tensors([source], tensors, has_imatrix=sigma >= 0)
    assert part.verdict is Verdict.FAILED
    assert f"the first at [{7 * TYPES[type].block_size // COLUMNS}, " in part.findings[0].what


@pytest.mark.parametrize("type", ["Q4_K", "Q6_K", "Q2_K", "Q4_0", "IQ4_XS", "IQ3_S"])
def test_with_the_matrix_at_hand_every_block_can_be_made_again(type: str) -> None:
    matrix = importance(2.0)
    assert matrix is not None
    source, file = tensor(weights()), tensor(weights(), type, 2.0)
    part = checked(source, file, has_imatrix=True, importances={NAME: matrix})
    assert part.verdict is Verdict.PASSED
    made = part.figures["tensors"][0]["reproduced"]
    assert made == 1 or type.startswith("IQ")


@pytest.mark.parametrize("sigma", [-1.0, 2.0])
@pytest.mark.parametrize(
    ("type", "before"), [("Q4_K", "Q4_0"), ("Q4_K", "Q5_0"), ("Q6_K", "Q4_K"), ("Q2_K", "Q3_K"), ("IQ4_XS", "Q4_0")]
)
def test_quantizing_twice_is_found_whatever_the_importance(type: str, before: str, sigma: float) -> None:
    first = kernels.dequantize(kernels.quantize(weights(), TYPES[before]), TYPES[before])
    part = checked(tensor(weights()), tensor(first, type, sigma), has_imatrix=sigma >= 0)
    assert f"its values were {before} before" in part.findings[0].what


def test_a_fine_type_before_is_told_and_costs_little() -> None:
    first = kernels.dequantize(kernels.quantize(weights(), TYPES["Q8_0"]), TYPES["Q8_0"])
    part = checked(tensor(weights()), tensor(first, "Q4_K"))
    assert part.verdict is Verdict.PASSED
    assert part.notes == (f"the values of {NAME} were Q8_0 before, which costs little",)


WRONG: dict[str, Callable[[Floats], Any]] = {
    "another seed": lambda x: weights(seed=9),
    "negated": lambda x: -x,
    "doubled": lambda x: 2 * x,
    "zeros": lambda x: 0 * x,
    "rows turned around": lambda x: x[::-1],
    "columns turned around": lambda x: x[:, ::-1],
    "one row of another seed": lambda x: np.vstack([x[:20], weights(seed=9)[:1], x[21:]]),
    "noise": lambda x: x + 0.5 * x.std() * np.random.default_rng(3).standard_normal(x.shape),
}


@pytest.mark.parametrize("type", [*QUANTIZED, "F16", "BF16", "F32"])
@pytest.mark.parametrize("name", WRONG)
def test_other_values_fail_in_every_type(name: str, type: str) -> None:
    """Even if the file says that it was made with an importance matrix, which widens what is right."""
    if TYPES[type].bits_per_weight < {"noise": 3, "doubled": 2.1}.get(name, 0):
        pytest.skip(f"{type} itself is as far from the source")
    x = np.ascontiguousarray(WRONG[name](weights()), dtype=np.float32)
    sigma = 1.0 if type in QUANTIZED else -1.0
    part = checked(tensor(weights()), tensor(x, type, sigma), has_imatrix=type in QUANTIZED)
    assert part.verdict is Verdict.FAILED


def test_rows_in_another_order_are_told() -> None:
    part = checked(tensor(weights()), tensor(weights()[::-1], "Q8_0"))
    assert "its rows are in another order: row 0 holds the checkpoint's row 47" in part.findings[0].what


def test_what_another_compiler_rounds_otherwise_passes() -> None:
    """One value that lies between two steps, on the other one."""
    x = weights()
    x[5, :32] = np.linspace(-1, 1, 32)
    x[5, 3] = 10.4999 / 127
    source, file = tensor(x), tensor(x, "Q8_0")
    rows = file.rows.copy()
    rows[5, 2 + 3] += 1
    part = checked(source, SourceTensor(NAME, file.shape, file.type, rows))
    assert part.verdict is Verdict.PASSED
    assert "1 of 1,152 blocks have other bytes" in part.notes[0]
    rows[5, 2 + 3] += 3
    assert checked(source, SourceTensor(NAME, file.shape, file.type, rows)).verdict is Verdict.FAILED


def test_a_float_type_may_be_rounded_another_way_but_a_lossless_one_not() -> None:
    """What lies between two steps, on the other one; and one bit off, where nothing had to be rounded."""
    x = weights()
    x[2, :8] = 1 + 2.0**-8  # as near to 1 as to the next of BF16
    up = tensor(x, "BF16").rows.view(np.uint16).copy()
    up[2, :8] += 1
    file = SourceTensor(NAME, x.shape, TYPES["BF16"], up.view(np.uint8))
    part = checked(tensor(x), file)
    assert (part.verdict, part.notes) == (Verdict.PASSED, (f"{NAME} was rounded another way",))
    off = up.copy()
    off[2, 2] ^= 1
    part = checked(file, SourceTensor(NAME, x.shape, TYPES["BF16"], off.view(np.uint8)))
    assert "1 of 36,864 values are wrong, the first at [2, 2]" in part.findings[0].what


@pytest.mark.parametrize("has_imatrix", [False, True])
def test_a_float_type_is_not_cut_off(has_imatrix: bool) -> None:
    """Each value is within a step of its source, and the tensor has twice the error of a rounded one."""
    cut = (weights().view(np.uint32) >> 16).astype(np.uint16)
    file = SourceTensor(NAME, weights().shape, TYPES["BF16"], cut.view(np.uint8))
    (finding,) = check_tensors([tensor(weights())], {NAME: file}, has_imatrix=has_imatrix).findings
    assert "not rounded to the nearest" in finding.what


@pytest.mark.parametrize("threads", [1, 3])
def test_progress_counts_every_weight(threads: int) -> None:
    done: list[int] = []
    checked(tensor(weights()), tensor(weights(), "Q4_K"), threads=threads, progress=done.append)
    assert sum(done) == weights().size
