"""The frequency factors are transformers' llama3 scaling."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Exaone4Config
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from exaone4_gguf.converter.rope import RopeScaling, frequency_factors


@given(
    theta=st.sampled_from([1e4, 5e5, 1e6]),
    head_dim=st.sampled_from([32, 64, 128]),
    factor=st.floats(1.5, 64),
    low=st.floats(0.5, 2),
    span=st.floats(1, 8),
    context=st.sampled_from([2048, 8192, 65536]),
)
@settings(max_examples=60, deadline=None)
def test_factors_are_those_of_transformers(
    theta: float, head_dim: int, factor: float, low: float, span: float, context: int
) -> None:
    rope = {
        "rope_theta": theta,
        "rope_type": "llama3",
        "factor": factor,
        "low_freq_factor": low,
        "high_freq_factor": low + span,
        "original_max_position_embeddings": context,
    }
    config = Exaone4Config(rope_parameters=rope, hidden_size=head_dim, num_attention_heads=1, num_hidden_layers=4)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
    plain = 1.0 / theta ** (np.arange(0, head_dim, 2) / head_dim)
    ours = frequency_factors(theta, RopeScaling(factor, low, low + span, context), head_dim)
    np.testing.assert_allclose(plain / ours, scaled.numpy(), rtol=1e-5)
