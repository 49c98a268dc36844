"""How many layers there are and which slide, read from the file before llama.cpp makes a model or a cache of it.

llama.cpp ends the process where there are more blocks for next-token prediction than blocks (load_hparams), and where
no block is left to run; also where a windowed model has no layer that slides (GGML_ASSERT in create_memory,
src/llama-model.cpp), and its C API does not tell arrays of metadata; ggml's own reader does.
"""

from __future__ import annotations

from pathlib import Path

from exaone4_gguf.errors import GGUFError
from exaone4_gguf.runtime.gguf_reader import open_gguf

_KEY = "exaone4.attention.sliding_window_pattern"
_ITEM_BYTES = {7: 1, 4: 4, 5: 4}  # GGUF_TYPE_BOOL, UINT32, INT32


def check_blocks(path: Path) -> None:
    """Raises GGUFError where no block is left to be run as a layer."""
    try:
        with open_gguf(path) as reader:
            blocks, predicting = (reader.number(f"exaone4.{key}") for key in ("block_count", "nextn_predict_layers"))
    except GGUFError:
        return  # damaged: llama.cpp's loader says how
    if blocks is not None and (predicting or 0) >= blocks:
        raise GGUFError(
            f"{path}: {predicting or 0} of its {blocks} blocks are for next-token prediction: no layer is left"
        )


def any_layer_slides(path: Path) -> bool:
    """Whether the file's pattern has a sliding layer; without a pattern llama.cpp takes three of four."""
    try:
        with open_gguf(path) as reader:
            pattern = reader.raw_array(_KEY, _ITEM_BYTES)
    except GGUFError:
        return True  # damaged: llama.cpp's loader says how
    if isinstance(pattern, int):
        return pattern != 1
    return any(pattern) if pattern else True
