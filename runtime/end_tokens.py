"""Which tokens a file says end a turn, besides those that llama.cpp finds by their texts.

llama.cpp has keys for three. ``convert`` writes all of them into an array of its own where there are more; llama.cpp's
C API does not tell arrays, ggml's own reader does.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from exaone4_gguf.errors import GGUFError
from exaone4_gguf.runtime.gguf_reader import open_gguf

KEYS = tuple(f"tokenizer.ggml.{name}_token_id" for name in ("eos", "eot", "eom"))
MORE = "exaone4_gguf.end_token_ids"

_U32, _U32_BYTES = 4, 4  # GGUF_TYPE_UINT32


def named_end_tokens(path: Path, metadata: Mapping[str, str]) -> Iterator[int]:
    """The ids that the keys have, not all of which need be in the vocabulary.

    Args:
        metadata: as llama.cpp tells it, without the arrays.
    """
    for key in KEYS:
        if (value := metadata.get(key, "")).isdecimal():
            yield int(value)
    try:
        with open_gguf(path) as reader:
            ids = reader.raw_array(MORE, {_U32: _U32_BYTES})
    except GGUFError:
        return  # damaged: llama.cpp's loader says how
    if isinstance(ids, bytes):
        yield from memoryview(ids).cast("I")
