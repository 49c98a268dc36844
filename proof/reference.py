"""EXAONE 4's forward pass, written to be read next to the paper (https://arxiv.org/abs/2507.11407), and streamed.

It holds the activations of all sequences and one slab of one matrix at a time, so the 32B runs in a few GB. The
weights are a checkpoint's or a GGUF file's, by transformers' names, and are widened to float32; the hyperparameters are
always the checkpoint's. Nothing of it comes from the converter's reading. Like the model, it

- normalizes the outputs of attention and feed-forward, not their inputs (post-norm), and each head's queries and keys;
- shares each key and value head among several query heads (GQA);
- rotates queries and keys with llama3's frequencies, but not in the full layers of a hybrid (NoPE);
- lets the sliding layers see no further back than the window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - as everywhere
from torch import Tensor

from exaone4_gguf.converter.pipeline import default_threads
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.proof.reading.configuration import Configuration
from exaone4_gguf.proof.reading.names import EMBEDDING, NORM, OUTPUT
from exaone4_gguf.quant import kernels

SLAB_WEIGHTS = 1 << 24
"""Weights of a matrix that are widened at a time: 64 MB as float32."""

QUERIES = 512
"""Queries whose attention is computed at a time, so that the scores of a long sequence need not be held."""

Hook = Callable[[str, Tensor], Tensor]
"""Is given a linear layer's weight name and its input, (sequences, tokens, columns); returns what is multiplied."""

Progress = Callable[[int], None]
"""Called with the number of weights that have just been used."""


class Weights:
    """Tensors by transformers' names, widened to float32 when they are asked for."""

    def __init__(self, tensors: Mapping[str, SourceTensor], threads: int | None = None) -> None:
        self._tensors = tensors
        self._threads = threads or default_threads()

    def vector(self, name: str) -> Tensor:
        """A tensor of one dimension."""
        return self.rows(name, slice(None))[0]

    def rows(self, name: str, which: slice | list[int]) -> Tensor:
        """Some rows of a matrix."""
        tensor = self._tensors[name]
        raw = tensor.rows[which]
        pieces = np.array_split(raw, min(self._threads, max(1, raw.size >> 20)))
        if len(pieces) == 1:
            return torch.from_numpy(kernels.dequantize(raw, tensor.type).copy())
        with ThreadPoolExecutor(len(pieces)) as pool:
            return torch.from_numpy(
                np.concatenate(list(pool.map(lambda p: kernels.dequantize(p, tensor.type), pieces)))
            )

    def slabs(self, name: str) -> Iterator[tuple[slice, Tensor]]:
        """A matrix, piece by piece: which rows, and their values."""
        n_rows, n_columns = self._tensors[name].shape
        step = max(1, SLAB_WEIGHTS // n_columns)
        for first in range(0, n_rows, step):
            rows = slice(first, min(first + step, n_rows))
            yield rows, self.rows(name, rows)

    def n_rows(self, name: str) -> int:
        """How many rows a matrix has."""
        return len(self._tensors[name].rows)


class Reference:
    """The model: a configuration with weights.

    Args:
        inputs: sees the input of each linear layer, and may change it.
        progress: is told of the weights as they are used.
    """

    def __init__(
        self,
        config: Configuration,
        weights: Weights,
        inputs: Hook = lambda name, x: x,
        progress: Progress = lambda n: None,
    ) -> None:
        self._config = config
        self._weights = weights
        self._inputs = inputs
        self._progress = progress

    @torch.inference_mode()
    def hidden_states(self, tokens: Tensor) -> Tensor:
        """What the output layer is given.

        Args:
            tokens: ids, (sequences, tokens).

        Returns:
            (sequences, tokens, hidden_size), normalized.
        """
        ids, place = tokens.unique(return_inverse=True)
        x = self._weights.rows(EMBEDDING, ids.tolist())[place]
        rotation = self._rotation(tokens.shape[1])
        for layer in range(self._config.num_hidden_layers):
            name = f"model.layers.{layer}"
            x = x + self._norm(f"{name}.post_attention_layernorm.weight", self._attention(layer, x, rotation))
            x = x + self._norm(f"{name}.post_feedforward_layernorm.weight", self._feed_forward(layer, x))
        return self._norm(NORM, x)

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """The logits of the next token, (..., vocabulary), of hidden states, (..., hidden_size).

        A model without an output has that which llama.cpp gives it: the embedding.
        """
        own = self._config.speaks and not self._config.tie_word_embeddings
        return self._linear(OUTPUT if own else EMBEDDING, hidden)

    def _attention(self, layer: int, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        c, name = self._config, f"model.layers.{layer}.self_attn"
        q = self._heads(self._linear(f"{name}.q_proj.weight", x), c.num_attention_heads)
        k = self._heads(self._linear(f"{name}.k_proj.weight", x), c.num_key_value_heads)
        v = self._heads(self._linear(f"{name}.v_proj.weight", x), c.num_key_value_heads)
        q = self._norm(f"{name}.q_norm.weight", q)
        k = self._norm(f"{name}.k_norm.weight", k)
        if c.rope_layers[layer]:
            q, k = rotated(q, rotation), rotated(k, rotation)
        window = c.sliding_window if c.sliding_layers[layer] else None
        return self._linear(f"{name}.o_proj.weight", attended(q, k, v, window).transpose(1, 2).flatten(2))

    def _feed_forward(self, layer: int, x: Tensor) -> Tensor:
        name = f"model.layers.{layer}.mlp"
        gate = F.silu(self._linear(f"{name}.gate_proj.weight", x), inplace=True)
        gate *= self._linear(f"{name}.up_proj.weight", x)
        return self._linear(f"{name}.down_proj.weight", gate)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        x = self._inputs(name, x)
        y = x.new_empty((*x.shape[:-1], self._weights.n_rows(name)))
        for rows, weight in self._weights.slabs(name):
            y[..., rows] = x @ weight.T
            self._progress(weight.numel())
        return y

    def _heads(self, x: Tensor, n: int) -> Tensor:
        """(sequences, tokens, n x head_dim) as (sequences, n, tokens, head_dim)."""
        return x.unflatten(-1, (n, self._config.head_dim)).transpose(1, 2)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        """RMSNorm (https://arxiv.org/abs/1910.07467)."""
        return F.rms_norm(x, x.shape[-1:], self._weights.vector(name), self._config.rms_norm_eps)

    def _rotation(self, n_tokens: int) -> tuple[Tensor, Tensor]:
        """Cosine and sine by position and frequency, (tokens, head_dim / 2), computed in float64."""
        frequencies = torch.tensor(self._config.inverse_frequencies, dtype=torch.float64)
        angles = torch.outer(torch.arange(n_tokens, dtype=torch.float64), frequencies)
        return angles.cos().float(), angles.sin().float()


def rotated(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """RoPE (https://arxiv.org/abs/2104.09864): the pairs are the two halves of a head."""
    cos, sin = rotation
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def attended(q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
    """Causal attention in which a token sees itself and the ``window`` - 1 tokens before it, or all of them.

    Args:
        q: (sequences, heads, tokens, head_dim); ``k`` and ``v`` may have fewer heads, which are shared.
    """
    n_tokens = q.shape[2]
    out = torch.empty_like(q)
    for first in range(0, n_tokens, QUERIES):
        last = min(first + QUERIES, n_tokens)
        seen = 0 if window is None else max(0, first - window + 1)
        back = torch.arange(first, last)[:, None] - torch.arange(seen, last)
        mask = (back >= 0) & (back < (window or n_tokens))
        keys, values = k[:, :, seen:last], v[:, :, seen:last]
        out[:, :, first:last] = F.scaled_dot_product_attention(
            q[:, :, first:last], keys, values, attn_mask=mask, enable_gqa=True
        )
    return out
