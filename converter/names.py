"""The tensors of EXAONE 4: their names in transformers and in GGUF, and their shapes.

A shape is written in the names of the configuration's sizes, rows first as in numpy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from exaone4_gguf.converter.config import Exaone4Config

BLOCK_TENSORS = (
    ("self_attn.q_proj.weight", "attn_q.weight", ("q_size", "hidden_size")),
    ("self_attn.k_proj.weight", "attn_k.weight", ("kv_size", "hidden_size")),
    ("self_attn.v_proj.weight", "attn_v.weight", ("kv_size", "hidden_size")),
    ("self_attn.o_proj.weight", "attn_output.weight", ("hidden_size", "q_size")),
    ("self_attn.q_norm.weight", "attn_q_norm.weight", ("head_dim",)),
    ("self_attn.k_norm.weight", "attn_k_norm.weight", ("head_dim",)),
    ("post_attention_layernorm.weight", "post_attention_norm.weight", ("hidden_size",)),
    ("post_feedforward_layernorm.weight", "post_ffw_norm.weight", ("hidden_size",)),
    ("mlp.gate_proj.weight", "ffn_gate.weight", ("intermediate_size", "hidden_size")),
    ("mlp.up_proj.weight", "ffn_up.weight", ("intermediate_size", "hidden_size")),
    ("mlp.down_proj.weight", "ffn_down.weight", ("hidden_size", "intermediate_size")),
)

EMBEDDING = "embed_tokens.weight"
LM_HEAD = "lm_head.weight"
ROPE_FREQS = "rope_freqs.weight"

MODEL_TENSORS = (
    (EMBEDDING, "token_embd.weight", ("vocab_size", "hidden_size")),
    ("norm.weight", "output_norm.weight", ("hidden_size",)),
)
"""As BLOCK_TENSORS, named after the prefix of the model's class."""

PREDICTION_TENSORS = ("nextn.eh_proj.weight", "nextn.enorm.weight", "nextn.hnorm.weight")
"""What a block for next-token prediction has besides, in GGUF; llama.cpp keeps such blocks and does not run them."""

OUTPUT_TENSOR = (LM_HEAD, "output.weight", ("vocab_size", "hidden_size"))

HEAD_TENSORS = (
    ("weight", "cls.output.weight", ("n_labels", "hidden_size")),
    ("bias", "cls.output.bias", ("n_labels",)),
)
"""A classifier's head, which has a file of its own; the names are llama.cpp's (LLM_TENSOR_CLS_OUT)."""

# Buffers that older versions of transformers saved; they follow from the configuration.
IGNORED_SUFFIXES = ("rotary_emb.inv_freq",)


@dataclass(frozen=True)
class ExpectedTensor:
    """A tensor that the checkpoint must have."""

    hf_name: str
    gguf_name: str
    shape: tuple[int, ...]


def expected_tensors(config: Exaone4Config) -> Iterator[ExpectedTensor]:
    """Every tensor of the base that a checkpoint of this configuration has; ``lm_head`` where it is one of its own."""
    prefix = config.model_class.prefix
    for hf_name, gguf_name, shape in MODEL_TENSORS:
        yield ExpectedTensor(prefix + hf_name, gguf_name, config.sizes(shape))
    if config.model_class.speaks and not config.tie_word_embeddings:
        hf_name, gguf_name, shape = OUTPUT_TENSOR
        yield ExpectedTensor(hf_name, gguf_name, config.sizes(shape))
    for layer in range(config.num_hidden_layers):
        for hf_name, gguf_name, shape in BLOCK_TENSORS:
            yield ExpectedTensor(f"{prefix}layers.{layer}.{hf_name}", f"blk.{layer}.{gguf_name}", config.sizes(shape))


def expected_head_tensors(config: Exaone4Config) -> Iterator[ExpectedTensor]:
    """The tensors of the head, if the configuration has one."""
    if config.head is None:
        return
    for hf_name, gguf_name, shape in HEAD_TENSORS[: 1 + config.head.has_bias]:
        yield ExpectedTensor(f"{config.head.form.tensor}.{hf_name}", gguf_name, config.sizes(shape))


def block_of(gguf_name: str) -> int:
    """The number of the block that a tensor is in; -1 outside of the blocks."""
    number = gguf_name.split(".")[1] if gguf_name.startswith("blk.") else ""
    if number.isdecimal():
        return int(number)
    return -1


def file_order(gguf_name: str) -> tuple[int, bytes]:
    """Sorting key of llama.cpp's order: outside the blocks first, then by layer, then by name."""
    return (block_of(gguf_name), gguf_name.encode())
