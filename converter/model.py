"""A model to be written as GGUF: its metadata and tensors, whichever of the two sources it comes from."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.checkpoint.adapter import check_no_adapter
from exaone4_gguf.converter.checkpoint.folder import read_tensors, weight_files
from exaone4_gguf.converter.checkpoint.weight_files import named
from exaone4_gguf.converter.classes import CLASSES
from exaone4_gguf.converter.config import Exaone4Config, check_llama_cpp_runs_it, read_config
from exaone4_gguf.converter.fingerprint import weights_id
from exaone4_gguf.converter.head import Head, check_belongs, make_head, read_head
from exaone4_gguf.converter.metadata import build_metadata, file_type_keys
from exaone4_gguf.converter.names import BLOCK_TENSORS, MODEL_TENSORS, PREDICTION_TENSORS
from exaone4_gguf.converter.plan import in_file_order
from exaone4_gguf.converter.pooling import read_pooling
from exaone4_gguf.converter.tokenizer.chat_template import (
    check_they_compile,
    read_chat_templates,
    with_llama_server_form,
)
from exaone4_gguf.converter.tokenizer.tokenizer import read_tokenizer
from exaone4_gguf.converter.weights import gguf_tensors, head_tensors
from exaone4_gguf.errors import CheckpointError, ConfigError, GGUFError
from exaone4_gguf.format.file import GGUFFile, head_path
from exaone4_gguf.format.keys import ARCHITECTURE, CLASS_KEY, SPLIT_KEYS, WEIGHTS_ID_KEY
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.format.types import TYPES, TensorType
from exaone4_gguf.format.values import Metadata, string, u32

_log = logging.getLogger(__name__)

POOLING_KEY = f"{ARCHITECTURE}.pooling_type"


@dataclass(frozen=True)
class Model:
    """A source's content. ``metadata`` lacks the keys that the plan adds (file type, parts).

    ``tensors`` are in file order; ``types`` are theirs in a lossless file. ``n_layers`` are computed; ``n_blocks`` are
    these and those for next-token prediction.
    """

    metadata: Metadata
    tensors: Sequence[SourceTensor]
    types: Sequence[TensorType]
    n_layers: int
    n_blocks: int
    sliding_window: int | None
    sliding_layers: tuple[bool, ...]
    gqa: int
    """Query heads for each key head; 0 where the file does not say."""
    inputs: tuple[Path, ...]
    """The files that it is read from, which no output may replace."""
    head: Head | None = None
    """A classifier's, which is written into a file beside the model's."""

    @property
    def n_weights(self) -> int:
        """How many weights it has."""
        return sum(t.n_weights for t in self.tensors)

    def check_llama_cpp_runs_it(self) -> None:
        """Raises ConfigError for what llama.cpp would load without a word and compute wrong."""
        check_llama_cpp_runs_it(self.n_layers, self.sliding_window, any(self.sliding_layers))


def from_checkpoint(folder: Path, *, strict: bool = True, template_for_llama_server: bool = False) -> Model:
    """A Hugging Face folder as a model.

    Args:
        strict: refuse what llama.cpp would compute, or tokenize, differently, and a template that does not compile.
        template_for_llama_server: change the chat template, see ``for_llama_server``.

    Raises:
        CheckpointError: the folder is not a complete checkpoint of EXAONE 4.
    """
    check_no_adapter(folder)
    config = read_config(folder)
    if strict:
        check_llama_cpp_runs_it(config.num_hidden_layers, config.sliding_window, any(config.sliding_layers))
    tokenizer = read_tokenizer(folder, check_pre_tokenizer=strict).padded(config.vocab_size)
    templates = read_chat_templates(folder)
    if strict:
        check_they_compile(folder, templates)
    if template_for_llama_server:
        templates = with_llama_server_form(folder, templates)
    found, tensors = _weights(folder, config)
    metadata = build_metadata(folder, config, tokenizer, templates, sum(t.n_weights for t in tensors))
    metadata |= _class_keys(config, tensors) | _pooling_key(folder, strict)
    head = make_head(config.head, metadata, head_tensors(config, found)) if config.head else None
    types = [TYPES["F32"] if len(t.shape) < 2 else t.type for t in tensors]  # llama.cpp wants its norms so
    inputs = tuple(path for path in folder.iterdir() if path.suffix != ".gguf")
    window, sliding = config.sliding_window, config.sliding_layers
    gqa = config.num_attention_heads // config.num_key_value_heads
    depth = config.num_hidden_layers
    return Model(metadata, tensors, types, depth, depth, window, sliding, gqa, inputs, head)


def _weights(folder: Path, config: Exaone4Config) -> tuple[Mapping[str, SourceTensor], list[SourceTensor]]:
    """The checkpoint's tensors by their names, and those of the file in its order.

    Whether a checkpoint is quantized is told by its weights: config.json may be a quantized one's, left over.
    """
    try:
        found = read_tensors(folder)
        tensors = _gguf_tensors(folder, config, found)
    except CheckpointError as e:
        if config.quantization:
            raise CheckpointError(
                f"the checkpoint is quantized ({config.quantization}, says config.json); convert the original one: {e}"
            ) from None
        raise
    if config.quantization:
        _log.warning("%s: quantization_config (%s) is left over: the weights are plain", folder, config.quantization)
    return found, tensors


def _gguf_tensors(folder: Path, config: Exaone4Config, found: Mapping[str, SourceTensor]) -> list[SourceTensor]:
    """The tensors in file order. What does not fit is told with the files that it was looked for in."""
    try:
        return in_file_order(gguf_tensors(config, found))
    except CheckpointError as e:
        raise CheckpointError(f"{folder}: {e}; in {named(weight_files(folder))}") from None


def _class_keys(config: Exaone4Config, tensors: Sequence[SourceTensor]) -> Metadata:
    """Which class a base is of, where it is not that which speaks, and which weights its head belongs to."""
    if config.model_class.speaks:
        return {}
    keys = {CLASS_KEY: string(config.model_class.name)}
    if config.head:
        return keys | {WEIGHTS_ID_KEY: string(weights_id(tensors))}
    return keys


def _pooling_key(folder: Path, strict: bool) -> Metadata:
    """How a folder of sentence-transformers pools."""
    try:
        pooling = read_pooling(folder)
    except ConfigError as e:
        if strict:
            raise
        _log.warning("%s", e)
        return {}
    if pooling is None:
        return {}
    return {POOLING_KEY: u32(pooling)}


def from_gguf(gguf: GGUFFile, *, strict: bool = True) -> Model:
    """A GGUF file as a model; foreign keys stay.

    Raises:
        GGUFError: it lacks a key that the quantization needs, or llama.cpp would compute it wrong.
    """
    depth = gguf.depth
    dropped = {*SPLIT_KEYS, *file_type_keys(0)}
    metadata = {key: value for key, value in gguf.metadata.items() if key not in dropped}
    tensors = in_file_order(list(gguf.tensors.values()))
    window = gguf.get("%s.attention.sliding_window")
    _check_complete(gguf)
    sliding = _sliding_layers(gguf, depth, window)
    head = _head_beside(gguf, strict)
    inputs = (*gguf.parts, head_path(gguf.path)) if head else gguf.parts
    types, gqa = [t.type for t in tensors], _gqa(gguf)
    model = Model(metadata, tensors, types, depth, gguf.n_blocks, window, sliding, gqa, inputs, head)
    try:
        if strict:
            model.check_llama_cpp_runs_it()
    except ConfigError as e:
        raise GGUFError(f"{gguf.path}: {e}") from None
    return model


def _head_beside(gguf: GGUFFile, strict: bool) -> Head | None:
    """The head of a classifier's base, which goes where the base goes."""
    model_class = CLASSES.get(str(gguf.get(CLASS_KEY)))
    if model_class is None or model_class.head is None:
        return None
    path = head_path(gguf.path)
    if not path.is_file():
        _log.warning("%s: its head is not beside it (%s), and does not come along", gguf.path, path.name)
        return None
    try:
        head = read_head(path)
        check_belongs(head, path, gguf.metadata, gguf.path)
    except GGUFError as e:
        if strict:
            raise
        _log.warning("%s", e)
        return None
    return head


def _check_complete(gguf: GGUFFile) -> None:
    """A part of a split file under another name, say, has not all tensors of the model."""
    expected = [name for _, name, _ in MODEL_TENSORS]
    expected += [f"blk.{layer}.{name}" for layer in range(gguf.n_blocks) for _, name, _ in BLOCK_TENSORS]
    expected += [f"blk.{layer}.{name}" for layer in range(gguf.depth, gguf.n_blocks) for name in PREDICTION_TENSORS]
    missing = [name for name in expected if name not in gguf.tensors]
    if missing:
        raise GGUFError(f"{gguf.path}: tensor {missing[0]} is missing ({len(missing)} in all)")


def _gqa(gguf: GGUFFile) -> int:
    """As llama.cpp reads it: of the first layer, where there is one number for each."""
    heads, kv_heads = (gguf.get(f"%s.attention.{key}") for key in ("head_count", "head_count_kv"))
    if kv_heads is None:
        kv_heads = heads
    first: list[int] = [n[0] if isinstance(n, list) and n else n for n in (heads, kv_heads)]
    if all(isinstance(n, int) and n > 0 for n in first):
        return first[0] // first[1]
    return 0


def _sliding_layers(gguf: GGUFFile, n_layers: int, window: Any) -> tuple[bool, ...]:
    """Which layers slide, as llama.cpp reads it: an array, a number, or 4 where there is none."""
    pattern = gguf.get("%s.attention.sliding_window_pattern", _DEFAULT_PATTERN)
    if window is None:
        return (False,) * n_layers
    if isinstance(pattern, int) and not isinstance(pattern, bool):
        return tuple(pattern == 0 or i % pattern < pattern - 1 for i in range(n_layers))
    if not isinstance(pattern, list) or len(pattern) < n_layers:
        raise GGUFError(f"{gguf.path}: exaone4.attention.sliding_window_pattern is not one value for each layer")
    return tuple(map(bool, pattern[:n_layers]))


_DEFAULT_PATTERN = 4  # llama_model_exaone4::load_arch_hparams
