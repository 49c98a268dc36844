"""A model to be written as GGUF: its metadata and tensors, whichever of the two sources it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exaone4_gguf.converter.chat_template import read_chat_templates
from exaone4_gguf.converter.checkpoint import read_tensors
from exaone4_gguf.converter.config import check_llama_cpp_runs_it, read_config
from exaone4_gguf.converter.gguf_file import SPLIT_KEYS, GGUFFile
from exaone4_gguf.converter.gguf_values import Metadata
from exaone4_gguf.converter.metadata import build_metadata, file_type_keys
from exaone4_gguf.converter.plan import in_file_order
from exaone4_gguf.converter.source import SourceTensor
from exaone4_gguf.converter.tokenizer import read_tokenizer
from exaone4_gguf.converter.weights import gguf_tensors
from exaone4_gguf.errors import ConfigError, GGUFError
from exaone4_gguf.quant.types import TYPES, TensorType


@dataclass(frozen=True)
class Model:
    """A source's content. ``metadata`` lacks the keys that the plan adds (file type, parts).

    ``tensors`` are in file order; ``types`` are theirs in a lossless file.
    """

    metadata: Metadata
    tensors: Sequence[SourceTensor]
    types: Sequence[TensorType]
    n_layers: int
    sliding_window: int | None

    @property
    def n_weights(self) -> int:
        """How many weights it has."""
        return sum(t.n_weights for t in self.tensors)

    def check_llama_cpp_runs_it(self) -> None:
        """Raises ConfigError for what llama.cpp would load without a word and compute wrong."""
        check_llama_cpp_runs_it(self.n_layers, self.sliding_window)


def from_checkpoint(folder: Path, *, strict: bool = True) -> Model:
    """A Hugging Face folder as a model.

    Args:
        strict: refuse what llama.cpp would compute, or tokenize, differently.

    Raises:
        CheckpointError: the folder is not a complete checkpoint of EXAONE 4.
    """
    config = read_config(folder)
    if strict:
        check_llama_cpp_runs_it(config.num_hidden_layers, config.sliding_window)
    tokenizer = read_tokenizer(folder, check_pre_tokenizer=strict).padded(config.vocab_size)
    templates = read_chat_templates(folder)
    tensors = in_file_order(gguf_tensors(config, read_tensors(folder)))
    metadata = build_metadata(folder, config, tokenizer, templates, sum(t.n_weights for t in tensors))
    types = [TYPES["F32"] if len(t.shape) < 2 else t.type for t in tensors]  # llama.cpp wants its norms so
    return Model(metadata, tensors, types, config.num_hidden_layers, config.sliding_window)


def from_gguf(gguf: GGUFFile, *, strict: bool = True) -> Model:
    """A GGUF file as a model; foreign keys stay.

    Raises:
        GGUFError: it lacks a key that the quantization needs, or llama.cpp would compute it wrong.
    """
    n_layers = gguf.get("%s.block_count")
    if not isinstance(n_layers, int):
        raise GGUFError(f"{gguf.path}: it has no exaone4.block_count")
    dropped = {*SPLIT_KEYS, *file_type_keys(0)}
    metadata = {key: value for key, value in gguf.metadata.items() if key not in dropped}
    tensors = in_file_order(list(gguf.tensors.values()))
    window = gguf.get("%s.attention.sliding_window")
    model = Model(metadata, tensors, [t.type for t in tensors], n_layers, window)
    try:
        if strict:
            model.check_llama_cpp_runs_it()
    except ConfigError as e:
        raise GGUFError(f"{gguf.path}: {e}") from None
    return model
