"""Which layers slide, read from the file before llama.cpp makes a cache for it.

llama.cpp ends the process where a windowed model has no layer that slides (GGML_ASSERT in create_memory,
src/llama-model.cpp), and its C API does not tell arrays of metadata; ggml's own reader does.
"""

from __future__ import annotations

from pathlib import Path

from exaone4_gguf.errors import GGUFError
from exaone4_gguf.runtime.gguf_reader import open_gguf

_KEY = "exaone4.attention.sliding_window_pattern"
_ITEM_BYTES = {7: 1, 4: 4, 5: 4}  # GGUF_TYPE_BOOL, UINT32, INT32


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
