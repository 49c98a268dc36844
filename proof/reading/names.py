"""The tensors of EXAONE 4 by transformers' names, and gguf-py's names for them.

The names are those of ``Exaone4ForCausalLM``; those of the other classes, and of wrapped models, differ in what stands
before them. The shapes are written in the names of ``Configuration``'s sizes, rows first.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping

from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.proof.reading.configuration import Configuration

EMBEDDING, NORM, OUTPUT = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"
ROPE_FREQS = "rope_freqs.weight"

LAYER = {
    "self_attn.q_proj": ("q_size", "hidden_size"),
    "self_attn.k_proj": ("kv_size", "hidden_size"),
    "self_attn.v_proj": ("kv_size", "hidden_size"),
    "self_attn.o_proj": ("hidden_size", "q_size"),
    "self_attn.q_norm": ("head_dim",),
    "self_attn.k_norm": ("head_dim",),
    "post_attention_layernorm": ("hidden_size",),
    "post_feedforward_layernorm": ("hidden_size",),
    "mlp.gate_proj": ("intermediate_size", "hidden_size"),
    "mlp.up_proj": ("intermediate_size", "hidden_size"),
    "mlp.down_proj": ("hidden_size", "intermediate_size"),
}

_FIRST = re.compile(r"(.*?)layers\.0\.self_attn\.q_proj\.weight")
_WRAPPER = re.compile(
    r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module|module|base_layer)\."
)
"""What compilers and trainers put around a module, in the middle of names as well."""
_OUTSIDE = re.compile(r"(?:.*\.)?((?:lm_head|score|qa_outputs)\.(?:weight|bias))")
_SUFFIXES = (".weight", ".bias")


def expected_shapes(config: Configuration) -> dict[str, tuple[int, ...]]:
    """Every tensor that a model of this configuration has, its head's aside, with its shape."""
    c = config
    shapes: dict[str, tuple[int, ...]] = {EMBEDDING: (c.vocab_size, c.hidden_size), NORM: (c.hidden_size,)}
    if c.speaks and not c.tie_word_embeddings:
        shapes[OUTPUT] = (c.vocab_size, c.hidden_size)
    for i in range(c.num_hidden_layers):
        for name, sizes in LAYER.items():
            shapes[f"model.layers.{i}.{name}.weight"] = tuple(int(getattr(c, size)) for size in sizes)
    return shapes


def without_wrapping(found: Mapping[str, SourceTensor]) -> dict[str, SourceTensor]:
    """The tensors under the names of ``Exaone4ForCausalLM``, whichever class they were saved from.

    Raises:
        CheckpointError: none of them is of EXAONE 4's first layer.
    """
    found = {_WRAPPER.sub("", name): tensor for name, tensor in found.items()}
    first = next(filter(None, map(_FIRST.fullmatch, found)), None)
    if first is None:
        raise CheckpointError("it has no tensor layers.0.self_attn.q_proj.weight")
    tensors = {}
    for name, tensor in found.items():
        outside = _OUTSIDE.fullmatch(name)
        tensors[outside[1] if outside else f"model.{name.removeprefix(first[1])}"] = tensor
    return tensors


@functools.cache
def gguf_names(n_layers: int) -> Mapping[str, str]:
    """gguf-py's name of each tensor, by transformers'."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    known = get_tensor_name_map(MODEL_ARCH.EXAONE4, n_layers)
    layers = [f"model.layers.{i}.{name}.weight" for i in range(n_layers) for name in LAYER]
    named = ((name, known.get_name(name, _SUFFIXES)) for name in (EMBEDDING, NORM, OUTPUT, *layers))
    return {name: gguf_name for name, gguf_name in named if gguf_name is not None}


def by_transformers_names(tensors: Iterable[SourceTensor], n_layers: int) -> dict[str, SourceTensor]:
    """A GGUF file's tensors of the first ``n_layers`` blocks, under transformers' names."""
    found = {tensor.name: tensor for tensor in tensors}
    return {name: found[gguf_name] for name, gguf_name in gguf_names(n_layers).items() if gguf_name in found}
