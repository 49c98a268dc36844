"""llama.cpp as the independent reference: its quantizer, its tokenizer, its logits."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
import numpy.typing as npt

from exaone4_gguf.quant.imatrix import ImportanceMatrix

_LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
_silent = _LOG(lambda level, text, data: None)
llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))


def llama_quantize(source: Path, target: Path, ftype: int, **params: Any) -> None:
    """llama.cpp's own quantizer."""
    p = llama_cpp.llama_model_quantize_default_params()
    p.ftype = ftype
    p.nthread = 2
    for name, value in params.items():
        setattr(p, name, value)
    assert llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(p)) == 0


def tensor_type_overrides(pairs: Sequence[tuple[str, int]]) -> Any:
    """llama-quantize's --tensor-type, as the C API takes it: an array that ends with a null pattern."""
    override = llama_cpp.llama_model_tensor_override
    return (override * (len(pairs) + 1))(*(override(p.encode(), t) for p, t in pairs), override(None, 0))


def imatrix_params(matrix: ImportanceMatrix) -> dict[str, Any]:
    """An importance matrix as the C API takes it, with the keys that llama-quantize sets for it."""
    row, override = llama_cpp.llama_model_imatrix_data, llama_cpp.llama_model_kv_override
    floats = ctypes.POINTER(ctypes.c_float)
    rows = [(name, entry.importance) for name, entry in matrix.entries.items()]
    data = (row * (len(rows) + 1))(*(row(n.encode(), mean.ctypes.data_as(floats), mean.size) for n, mean in rows))
    keys: dict[str, str | int] = {"file": matrix.path, "dataset": matrix.datasets[0], "entries_count": len(rows)}
    keys["chunks_count"] = matrix.chunk_count
    overrides = (override * (len(keys) + 1))()
    for at, (key, value) in zip(overrides, keys.items(), strict=False):
        at.key = f"quantize.imatrix.{key}".encode()
        at.tag = (
            llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR if isinstance(value, str) else llama_cpp.LLAMA_KV_OVERRIDE_TYPE_INT
        )
        if isinstance(value, str):
            at.value.val_str = value.encode()
        else:
            at.value.val_i64 = value
    _kept_alive.append((rows, data, overrides))
    return {"imatrix": data, "kv_overrides": overrides}


_kept_alive: list[Any] = []
"""What llama.cpp has pointers to."""


def load(path: Path, **params: Any) -> llama_cpp.Llama:
    """A model, loaded quietly."""
    defaults = {"n_ctx": 512, "verbose": False, "logits_all": False, "n_threads": 2, "n_threads_batch": 2}
    return llama_cpp.Llama(str(path), **(defaults | params))


def tokenize(model: llama_cpp.Llama, text: str) -> list[int]:
    """Token ids, with the markers in the text as what they are."""
    return list(model.tokenize(text.encode(), add_bos=False, special=True))


def logits(path: Path, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
    """Logits after each token, of shape (tokens, vocabulary)."""
    model = load(path, n_ctx=len(tokens) + 8, logits_all=True, n_batch=len(tokens) + 8)
    try:
        model.eval(list(tokens))
        return np.array(model.scores[: len(tokens)], dtype=np.float32)
    finally:
        model.close()


def greedy(path: Path, prompt: Sequence[int], stop: int, most: int = 256) -> list[int]:
    """The greedy continuation, up to the stop token (not included)."""
    model = load(path, n_ctx=2048)
    found: list[int] = []
    try:
        for token in model.generate(list(prompt), temp=0.0, repeat_penalty=1.0):
            if token == stop or len(found) == most:
                return found
            found.append(int(token))
    finally:
        model.close()
    return found
