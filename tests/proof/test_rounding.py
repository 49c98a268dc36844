"""Inputs are rounded as ggml's kernels round them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from exaone4_gguf.format.types import TYPES
from exaone4_gguf.proof.rounding import rounded
from exaone4_gguf.quant import kernels


def some_inputs() -> torch.Tensor:
    x = torch.randn((3, 512), generator=torch.manual_seed(0)) * torch.tensor([[1e-3], [1.0], [50.0]])
    x[1, 32:64] = 0
    return x


@pytest.mark.parametrize(("weight", "input"), [("Q8_0", "Q8_0"), ("Q4_0", "Q8_0"), ("F16", "F16"), ("BF16", "BF16")])
def test_blocks_are_ggml_s(weight: str, input: str) -> None:
    x = some_inputs()
    blocks = kernels.quantize(x.numpy(), TYPES[input])
    expected = torch.from_numpy(kernels.dequantize(blocks, TYPES[input]).copy())
    torch.testing.assert_close(rounded(x, TYPES[weight]), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("weight", ["Q4_K", "Q6_K", "IQ4_XS", "TQ1_0"])
def test_k_types_have_one_scale_for_256(weight: str) -> None:
    """127 steps to the value that is furthest from zero, which is kept as it is."""
    x = some_inputs()
    found = rounded(x, TYPES[weight])
    blocks, original = found.reshape(-1, 256), x.reshape(-1, 256)
    at = original.abs().argmax(-1, keepdim=True)
    torch.testing.assert_close(blocks.gather(-1, at), original.gather(-1, at), rtol=1e-6, atol=0)
    step = original.abs().amax(-1, keepdim=True) / 127
    assert ((blocks - original).abs() <= 0.501 * step).all()
    assert max(len(np.unique(block.numpy())) for block in blocks) > 50


def test_f32_weights_take_inputs_as_they_are() -> None:
    assert torch.equal(rounded(some_inputs(), TYPES["F32"]), some_inputs())


def test_zeros_stay_zeros() -> None:
    assert not rounded(torch.zeros((1, 256)), TYPES["Q4_K"]).any()
