"""What llama.cpp's processor kernels do to the input of a linear layer, as far as it changes the numbers.

ggml multiplies blocks of weights with blocks of 8-bit inputs: ``vec_dot_type`` (ggml-cpu.c) says which belong to which.
That is no fault of a file, and is the larger part of what llama.cpp's logits differ by; so the reference does it too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from exaone4_gguf.format.types import TensorType


def _q8_0(x: Tensor) -> Tensor:
    """Blocks of 32 with a scale that is stored in 16 bits (quantize_row_q8_0)."""
    blocks = x.unflatten(-1, (-1, 32))
    scale = blocks.abs().amax(-1, keepdim=True) / 127
    steps = (blocks / scale.clamp_min(torch.finfo(torch.float32).tiny)).round_()
    return (steps * scale.half().float()).flatten(-2)


def _q8_k(x: Tensor) -> Tensor:
    """Blocks of 256, scaled so that the value furthest from zero becomes -127 (quantize_row_q8_K)."""
    blocks = x.unflatten(-1, (-1, 256))
    furthest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))
    scale = furthest / -127
    steps = (blocks / torch.where(scale == 0, torch.ones_like(scale), scale)).round_().clamp_max_(127)
    return (steps * scale).flatten(-2)


_ROUNDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "F32": lambda x: x,
    "F16": lambda x: x.half().float(),
    "BF16": lambda x: x.bfloat16().float(),
    "Q8_0": _q8_0,
    "Q8_K": _q8_k,
}


def rounded(x: Tensor, weight: TensorType) -> Tensor:
    """The input (..., columns) of a linear layer whose weights have that type, as ggml multiplies it."""
    return _ROUNDINGS[weight.activation](x)
