"""What a file says that llama.cpp's C API does not tell, or that must be known before llama.cpp loads it.

llama.cpp ends the process where there are more blocks for next-token prediction than blocks (load_hparams), and where
no block is left to run; also where a windowed model has no layer that slides (GGML_ASSERT in create_memory,
src/llama-model.cpp). Its C API tells no arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from exaone4_gguf.errors import GGUFError
from exaone4_gguf.format.file import read_keys
from exaone4_gguf.format.keys import ARCHITECTURE, END_TOKENS_KEY
from exaone4_gguf.format.values import Metadata, ValueType

_BLOCKS, _PREDICTING = f"{ARCHITECTURE}.block_count", f"{ARCHITECTURE}.nextn_predict_layers"
_PATTERN = f"{ARCHITECTURE}.attention.sliding_window_pattern"
END_KEYS = tuple(f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom"))
"""llama.cpp's own; ``convert`` writes all ends into an array of ours where there are more."""


def read_header(path: Path) -> Metadata:
    """What is looked at here; nothing of a damaged file, as llama.cpp's loader says what is wrong with it."""
    try:
        return read_keys(path, {_BLOCKS, _PREDICTING, _PATTERN, *END_KEYS, END_TOKENS_KEY})
    except GGUFError:
        return {}


def check_blocks(path: Path, header: Metadata) -> None:
    """Raises GGUFError where no block is left to be run as a layer."""
    blocks, predicting = _number(header, _BLOCKS), _number(header, _PREDICTING) or 0
    if blocks is not None and predicting >= blocks:
        raise GGUFError(f"{path}: {predicting} of its {blocks} blocks are for next-token prediction: no layer is left")


def any_layer_slides(header: Metadata) -> bool:
    """Whether the file's pattern has a sliding layer; without a pattern llama.cpp takes three of four."""
    pattern = header.get(_PATTERN)
    if pattern is None or not pattern.data:
        return True
    if pattern.item_type is None:
        return bool(pattern.data != 1)
    return any(pattern.data)


def named_end_tokens(header: Metadata) -> Iterator[int]:
    """The ids that the keys have, not all of which need be in the vocabulary."""
    for key in END_KEYS:
        number = _number(header, key)
        if number is not None:
            yield number
    more = header.get(END_TOKENS_KEY)
    if more is not None and more.item_type is ValueType.UINT32:
        yield from more.data


def _number(header: Metadata, key: str) -> int | None:
    value = header.get(key)
    if value is not None and value.type is ValueType.UINT32:
        return int(value.data)
    return None
