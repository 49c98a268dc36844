"""A GGUF file's keys and tensors by ggml's own reader, for what llama.cpp's C API does not tell.

ggml ends the process where a value is asked for as another type than it has, so each is looked at first.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone4_gguf.errors import GGUFError
from exaone4_gguf.runtime.llama import last_error, load_api

_U32, _STRING, _ARRAY = 4, 8, 9  # GGUF_TYPE_* (gguf.h)


class _InitParams(ctypes.Structure):
    """struct gguf_init_params (gguf.h)."""

    _fields_ = (("no_alloc", ctypes.c_bool), ("ctx", ctypes.c_void_p))


@dataclass(frozen=True)
class Place:
    """Where a tensor's bytes are in the file, and ggml's number of its type."""

    type: int
    offset: int
    size: int


class Reader:
    """An open header. Every ``get`` gives None where there is no such key, or one of another type."""

    def __init__(self, gguf: Any, context: int) -> None:
        self._gguf = gguf
        self._context = context

    def text(self, key: str) -> str | None:
        """A string."""
        at = self._find(key, _STRING)
        return None if at is None else self._gguf.gguf_get_val_str(self._context, at).decode("utf-8", "replace")

    def number(self, key: str) -> int | None:
        """An unsigned number of 32 bits."""
        at = self._find(key, _U32)
        return None if at is None else int(self._gguf.gguf_get_val_u32(self._context, at))

    def texts(self, key: str) -> tuple[str, ...] | None:
        """An array of strings."""
        at = self._find(key, _ARRAY)
        if at is None or self._gguf.gguf_get_arr_type(self._context, at) != _STRING:
            return None
        count = self._gguf.gguf_get_arr_n(self._context, at)
        raw = (self._gguf.gguf_get_arr_str(self._context, at, i) for i in range(count))
        return tuple(item.decode("utf-8", "replace") for item in raw)

    def raw_array(self, key: str, item_bytes: dict[int, int]) -> bytes | int | None:
        """An array's bytes, its items of a type in ``item_bytes`` (ggml's number: size); a single number as itself."""
        at = self._gguf.gguf_find_key(self._context, key.encode())
        if at < 0:
            return None
        if self._gguf.gguf_get_kv_type(self._context, at) != _ARRAY:
            return self.number(key)
        size = item_bytes.get(self._gguf.gguf_get_arr_type(self._context, at), 0)
        count = self._gguf.gguf_get_arr_n(self._context, at)
        return ctypes.string_at(self._gguf.gguf_get_arr_data(self._context, at), size * count) if size else b""

    def place(self, tensor: str) -> Place | None:
        """Where a tensor is."""
        gguf, context = self._gguf, self._context
        i = gguf.gguf_find_tensor(context, tensor.encode())
        if i < 0:
            return None
        offset = gguf.gguf_get_data_offset(context) + gguf.gguf_get_tensor_offset(context, i)
        return Place(gguf.gguf_get_tensor_type(context, i), offset, gguf.gguf_get_tensor_size(context, i))

    def _find(self, key: str, type: int) -> int | None:
        at = self._gguf.gguf_find_key(self._context, key.encode())
        return None if at < 0 or self._gguf.gguf_get_kv_type(self._context, at) != type else int(at)


@contextmanager
def open_gguf(path: Path) -> Iterator[Reader]:
    """The header of a file, while the context lasts.

    Raises:
        GGUFError: ggml cannot read it.
    """
    gguf = _functions()
    context = gguf.gguf_init_from_file(str(path).encode(), _InitParams(True, None))
    if not context:
        raise GGUFError(f"{path}: damaged: {last_error()}")
    try:
        yield Reader(gguf, context)
    finally:
        gguf.gguf_free(context)


@functools.cache
def _functions() -> Any:
    library = load_api().llama_cpp._lib
    handle, index, text = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p
    for name, restype, *argtypes in (
        ("gguf_init_from_file", handle, text, _InitParams),
        ("gguf_free", None, handle),
        ("gguf_find_key", index, handle, text),
        ("gguf_get_kv_type", ctypes.c_int, handle, index),
        ("gguf_get_val_u32", ctypes.c_uint32, handle, index),
        ("gguf_get_val_str", text, handle, index),
        ("gguf_get_arr_type", ctypes.c_int, handle, index),
        ("gguf_get_arr_n", ctypes.c_size_t, handle, index),
        ("gguf_get_arr_data", handle, handle, index),
        ("gguf_get_arr_str", text, handle, index, ctypes.c_size_t),
        ("gguf_get_data_offset", ctypes.c_size_t, handle),
        ("gguf_find_tensor", index, handle, text),
        ("gguf_get_tensor_type", ctypes.c_int, handle, index),
        ("gguf_get_tensor_offset", ctypes.c_size_t, handle, index),
        ("gguf_get_tensor_size", ctypes.c_size_t, handle, index),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = restype, argtypes
    return library
