"""Which layers slide, read from the file before llama.cpp makes a cache for it.

llama.cpp ends the process where a windowed model has no layer that slides (GGML_ASSERT in create_memory,
src/llama-model.cpp), and its C API does not tell arrays of metadata; ggml's own reader does.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from exaone4_gguf.runtime.llama import load_api

_KEY = b"exaone4.attention.sliding_window_pattern"
_ARRAY = 9  # GGUF_TYPE_ARRAY
_ITEM_BYTES = {7: 1, 4: 4, 5: 4}  # GGUF_TYPE_BOOL, UINT32, INT32


class _InitParams(ctypes.Structure):
    """struct gguf_init_params (gguf.h)."""

    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


def any_layer_slides(path: Path) -> bool:
    """Whether the file's pattern has a sliding layer; without a pattern llama.cpp takes three of four."""
    gguf = _functions()
    context = gguf.gguf_init_from_file(str(path).encode(), _InitParams(True, None))
    if not context:
        return True  # damaged: llama.cpp's loader says how
    try:
        key = gguf.gguf_find_key(context, _KEY)
        return key < 0 or _slides(gguf, context, key)
    finally:
        gguf.gguf_free(context)


def _slides(gguf: Any, context: int, key: int) -> bool:
    if gguf.gguf_get_kv_type(context, key) != _ARRAY:
        return int(gguf.gguf_get_val_u32(context, key)) != 1
    size = _ITEM_BYTES.get(gguf.gguf_get_arr_type(context, key), 0) * gguf.gguf_get_arr_n(context, key)
    return any(ctypes.string_at(gguf.gguf_get_arr_data(context, key), size)) if size else True


def _functions() -> Any:
    library = load_api().llama_cpp._lib
    library.gguf_init_from_file.restype = ctypes.c_void_p
    library.gguf_init_from_file.argtypes = (ctypes.c_char_p, _InitParams)
    library.gguf_find_key.restype = ctypes.c_int64
    library.gguf_find_key.argtypes = (ctypes.c_void_p, ctypes.c_char_p)
    for name, restype in (
        ("gguf_get_kv_type", ctypes.c_int),
        ("gguf_get_arr_type", ctypes.c_int),
        ("gguf_get_arr_n", ctypes.c_size_t),
        ("gguf_get_arr_data", ctypes.c_void_p),
        ("gguf_get_val_u32", ctypes.c_uint32),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = restype, (ctypes.c_void_p, ctypes.c_int64)
    library.gguf_free.argtypes = (ctypes.c_void_p,)
    return library
