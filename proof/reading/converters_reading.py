"""The converter's own reading of a checkpoint: what verify falls back to where transformers is not installed.

A mistake of the converter is then on both sides and cannot be seen, so each part that uses it says so.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from exaone4_gguf.converter.config import read_config
from exaone4_gguf.converter.model import from_checkpoint
from exaone4_gguf.converter.rope import frequency_factors
from exaone4_gguf.format.values import Metadata
from exaone4_gguf.proof.reading.configuration import Configuration, plain_frequencies, read_json, read_pooling

NAME = "the converter"
NOTE = (
    "config.json was read by the converter itself, whose mistakes this cannot show: "
    "with transformers (pip install 'exaone4-gguf[reference]') it is read independently"
)


def read_configuration(folder: Path) -> Configuration:
    """config.json as the converter reads it.

    Raises:
        ConfigError: the converter would refuse it.
    """
    c = read_config(folder)
    labels: tuple[str, ...] = ()
    pad_token_id = None
    if c.head:
        labels, pad_token_id = c.head.labels, c.head.pad_token_id
    frequencies = plain_frequencies(c.rope_theta, c.head_dim)
    if c.rope_scaling:
        frequencies /= frequency_factors(c.rope_theta, c.rope_scaling, c.head_dim).astype(np.float64)
    return Configuration(
        vocab_size=c.vocab_size,
        hidden_size=c.hidden_size,
        intermediate_size=c.intermediate_size,
        num_hidden_layers=c.num_hidden_layers,
        num_attention_heads=c.num_attention_heads,
        num_key_value_heads=c.num_key_value_heads,
        head_dim=c.head_dim,
        max_position_embeddings=c.max_position_embeddings,
        rms_norm_eps=c.rms_norm_eps,
        tie_word_embeddings=c.tie_word_embeddings,
        sliding_window=c.sliding_window,
        sliding_layers=c.sliding_layers,
        rope_theta=c.rope_theta,
        inverse_frequencies=tuple(frequencies.tolist()),
        scaled=c.rope_scaling is not None,
        eos_token_ids=c.eos_token_ids,
        model_class=c.model_class.name,
        labels=labels,
        problem_type=read_json(folder / "config.json").get("problem_type"),
        pad_token_id=pad_token_id,
        pooling=read_pooling(folder),
        read_by=NAME,
    )


def read_metadata(folder: Path) -> Metadata:
    """The metadata that the converter would write.

    Raises:
        CheckpointError: the converter would refuse the folder.
    """
    return from_checkpoint(folder, strict=False).metadata
