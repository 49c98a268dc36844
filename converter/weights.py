"""From the checkpoint's tensors to the GGUF's: all there, of the right shape, under their GGUF names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from exaone4_gguf.converter.classes import CAUSAL
from exaone4_gguf.converter.config import Exaone4Config
from exaone4_gguf.converter.names import (
    EMBEDDING,
    IGNORED_SUFFIXES,
    LM_HEAD,
    ROPE_FREQS,
    ExpectedTensor,
    expected_head_tensors,
    expected_tensors,
)
from exaone4_gguf.converter.rope import frequency_factors
from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.format.tensor import SourceTensor, as_rows
from exaone4_gguf.format.types import TYPES
from exaone4_gguf.quant import kernels

_COMPARED_ROWS = 1024


def gguf_tensors(config: Exaone4Config, found: Mapping[str, SourceTensor]) -> list[SourceTensor]:
    """The tensors of the GGUF file, in no particular order; those of a head are in ``head_tensors``.

    Args:
        found: the checkpoint's tensors by their Hugging Face names.

    Raises:
        CheckpointError: a tensor is missing, has another shape, or is left over.
    """
    expected = list(expected_tensors(config))
    head = list(expected_head_tensors(config))
    found = _with_embedding(config, _under_own_names(config, {e.hf_name for e in expected}, found))
    _check_there(config, [*expected, *head], found)
    _check_left_over(config, found, {e.hf_name for e in (*expected, *head)})
    return [_renamed(found[e.hf_name], e.gguf_name) for e in expected] + list(_rope_freqs(config))


def _under_own_names(
    config: Exaone4Config, expected: set[str], found: Mapping[str, SourceTensor]
) -> Mapping[str, SourceTensor]:
    """The tensors by their class's names, where they were saved from a class with a base, or from the base alone.

    transformers puts the base's name before the names, or takes it away (``from_pretrained``, base_model_prefix).
    """
    prefix = config.model_class.prefix

    def own(name: str) -> str:
        other = prefix + (name if prefix else name.removeprefix(CAUSAL.prefix))
        if other in expected and other not in found:
            return other
        return name

    return {own(name): tensor for name, tensor in found.items()}


def _with_embedding(config: Exaone4Config, found: Mapping[str, SourceTensor]) -> Mapping[str, SourceTensor]:
    """The tensors, the embedding under its own name: where it is tied, it may have been saved as ``lm_head`` alone.

    transformers ties both ways (``PreTrainedModel.tie_weights``).
    """
    embedding = config.model_class.prefix + EMBEDDING
    tied = config.model_class.speaks and config.tie_word_embeddings
    if not tied or embedding in found or LM_HEAD not in found:
        return found
    others = {name: tensor for name, tensor in found.items() if name != LM_HEAD}
    return others | {embedding: found[LM_HEAD]}


def head_tensors(config: Exaone4Config, found: Mapping[str, SourceTensor]) -> list[SourceTensor]:
    """The tensors of the head's file, if there is one, after ``gguf_tensors`` has checked them."""
    return [_renamed(found[e.hf_name], e.gguf_name) for e in expected_head_tensors(config)]


def _check_there(config: Exaone4Config, expected: list[ExpectedTensor], found: Mapping[str, SourceTensor]) -> None:
    missing = [e for e in expected if e.hf_name not in found]
    if missing:
        first, expected_names = missing[0], {e.hf_name for e in expected}
        others = [tensor.name for name, tensor in found.items() if name not in expected_names]
        told = ""
        if others:
            told = f"; there is {others[0]} instead ({len(others)} others in all)"
        raise CheckpointError(
            f"tensor {first.hf_name} of shape {list(first.shape)} is missing ({len(missing)} in all){told}"
        )
    for e in expected:
        if found[e.hf_name].shape != e.shape:
            labels = ""
            if e.shape[0] == config.n_labels:
                labels = f" ({config.n_labels} labels)"
            raise CheckpointError(
                f"tensor {e.hf_name} has shape {list(found[e.hf_name].shape)}; config.json says {list(e.shape)}{labels}"
            )


def _renamed(tensor: SourceTensor, name: str) -> SourceTensor:
    return SourceTensor(name, tensor.shape, tensor.type, tensor.rows, origin=tensor.name)


def _rope_freqs(config: Exaone4Config) -> Iterator[SourceTensor]:
    if config.rope_scaling is None:
        return
    factors = frequency_factors(config.rope_theta, config.rope_scaling, config.head_dim)
    f32 = TYPES["F32"]
    yield SourceTensor(ROPE_FREQS, factors.shape, f32, as_rows(factors.view(np.uint8), factors.shape, f32))


def _check_left_over(config: Exaone4Config, found: Mapping[str, SourceTensor], expected: set[str]) -> None:
    left = [name for name in found if name not in expected and not name.endswith(IGNORED_SUFFIXES)]
    if LM_HEAD in left and config.tie_word_embeddings:
        _check_tied(found[LM_HEAD], found[config.model_class.prefix + EMBEDDING])
        left.remove(LM_HEAD)
    if left:
        shape = list(found[left[0]].shape)
        raise CheckpointError(f"tensor {left[0]} of shape {shape} is not one of EXAONE 4's ({len(left)} in all)")


def _check_tied(head: SourceTensor, embedding: SourceTensor) -> None:
    """Many fine-tunes of tied models save the embedding a second time; it must be the same."""
    if head.shape != embedding.shape:
        raise CheckpointError(
            f"tensor {LM_HEAD} has shape {list(head.shape)}, "
            f"but it is tied to {embedding.name} of {list(embedding.shape)}"
        )
    for first in range(0, len(head.rows), _COMPARED_ROWS):
        rows = slice(first, first + _COMPARED_ROWS)
        a = kernels.dequantize(head.rows[rows], head.type)
        b = kernels.dequantize(embedding.rows[rows], embedding.type)
        if not np.array_equal(a, b, equal_nan=True):
            raise CheckpointError(
                f"tensor {LM_HEAD} differs from {embedding.name}, though config.json says that they are tied; "
                "if the head was trained, set tie_word_embeddings to false"
            )
