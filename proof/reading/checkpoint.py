"""A checkpoint as the proof sees it: its configuration, and its tensors by transformers' names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from exaone4_gguf.converter.checkpoint.adapter import check_no_adapter
from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.format.types import TYPES
from exaone4_gguf.proof.reading.configuration import Configuration, read_configuration
from exaone4_gguf.proof.reading.names import (
    EMBEDDING,
    OUTPUT,
    ROPE_FREQS,
    expected_shapes,
    gguf_names,
    without_wrapping,
)
from exaone4_gguf.proof.reading.weights import read_weights
from exaone4_gguf.quant import kernels

HEADS = ("score", "qa_outputs")
"""transformers' names for the heads of the classes."""

_COMPARED_ROWS = 1024


@dataclass(frozen=True)
class Checkpoint:
    """``tensors`` are the model's, ``head`` those of a classifier's head; both by transformers' names."""

    folder: Path
    config: Configuration
    tensors: Mapping[str, SourceTensor]
    head: Mapping[str, SourceTensor]

    @cached_property
    def gguf_tensors(self) -> list[SourceTensor]:
        """What the file must hold: the tensors under gguf-py's names, and RoPE's factors."""
        names = gguf_names(self.config.num_hidden_layers)
        tensors = [replace(t, name=names[name], origin=t.name) for name, t in self.tensors.items()]
        if self.config.scaled:
            factors = self.config.frequency_factors
            rows = factors.view(np.uint8).reshape(1, -1)
            tensors.append(SourceTensor(ROPE_FREQS, factors.shape, TYPES["F32"], rows))
        return tensors

    @property
    def n_weights(self) -> int:
        """How many weights the file must hold."""
        return sum(t.n_weights for t in self.gguf_tensors)


def read_checkpoint(folder: Path, read: Callable[[Path], Configuration] = read_configuration) -> Checkpoint:
    """Read a folder.

    Args:
        read: whose reading of config.json is taken.

    Raises:
        CheckpointError: a file is missing or damaged, a tensor of the model is missing or has another shape, or there
            is an adapter, with which transformers computes something else.
    """
    check_no_adapter(folder)
    config, found = read(folder), read_weights(folder)
    try:
        tensors = without_wrapping(found)
        if config.tie_word_embeddings and EMBEDDING not in tensors and OUTPUT in tensors:
            tensors[EMBEDDING] = tensors[OUTPUT]
        shapes = expected_shapes(config)
        for name, shape in shapes.items():
            if name not in tensors:
                raise CheckpointError(f"tensor {name} is missing")
            stored = tensors[name].shape
            if stored != shape:
                raise CheckpointError(f"tensor {name} has shape {list(stored)}; config.json says {list(shape)}")
        _check_tied(config, tensors)
    except CheckpointError as e:
        raise CheckpointError(f"{folder}: {e}") from None
    head = {name: tensor for name, tensor in tensors.items() if name.split(".")[0] in HEADS}
    return Checkpoint(folder, config, {name: tensors[name] for name in shapes}, head)


def _check_tied(config: Configuration, tensors: Mapping[str, SourceTensor]) -> None:
    """A tied model's output may be saved as well, and must then be the embedding."""
    if not config.tie_word_embeddings or OUTPUT not in tensors:
        return
    a, b = tensors[OUTPUT], tensors[EMBEDDING]
    for first in range(0, len(b.rows), _COMPARED_ROWS):
        rows = slice(first, first + _COMPARED_ROWS)
        left, right = (kernels.dequantize(t.rows[rows], t.type) for t in (a, b))
        if not np.array_equal(left, right, equal_nan=True):
            raise CheckpointError(f"tensor {OUTPUT} differs from {EMBEDDING}, but config.json says that they are tied")
