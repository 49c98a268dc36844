"""llama.cpp's C API as llama-cpp-python exposes it, with the log kept instead of printed.

Everything that calls llama.cpp goes through ``load_api``, which imports it when it is first needed.
"""

from __future__ import annotations

import ctypes
import functools
from typing import Any

from exaone4_gguf.errors import RequestError, RuntimeFailure
from exaone4_gguf.runtime.llama.interrupts import untorn

_ERROR_LEVEL = 4  # GGML_LOG_LEVEL_ERROR (ggml.h)
_errors: list[str] = []
_callbacks: list[Any] = []
"""Kept here, as C does not keep Python's objects alive."""


@functools.cache
@untorn()
def load_api() -> Any:
    """The module ``llama_cpp``, its log silenced but for the errors, which ``last_error`` tells.

    Raises:
        RuntimeFailure: llama-cpp-python is not installed, or cannot be loaded.
    """
    try:
        import llama_cpp
    except (ImportError, OSError, RuntimeError) as e:
        raise RuntimeFailure(f"llama-cpp-python cannot be loaded: {e}") from e
    callback = llama_cpp.llama_log_callback(_keep_errors)
    _callbacks.append(callback)
    llama_cpp.llama_log_set(callback, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    return llama_cpp


def checked(name: str, value: Any, low: int, high: int) -> int:
    """A whole number within bounds: llama.cpp and ggml end the process on others.

    Raises:
        RequestError: it is none.
    """
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        field = name if name.isidentifier() else None
        raise RequestError(f"{name} is {value!r}", field=field, hint=f"it must be a whole number from {low} to {high}")
    return value


def _keep_errors(level: int, text: bytes, data: Any) -> None:
    if level == _ERROR_LEVEL:
        _errors.append(text.decode("utf-8", errors="replace").strip())
        del _errors[:-8]


def last_error() -> str:
    """What llama.cpp has logged as errors since the last call, in one line."""
    text = "; ".join(line for line in _errors if line)
    _errors.clear()
    return text or "llama.cpp gives no reason"
