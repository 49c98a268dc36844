"""From hidden states to one vector of a text: the ways that there are, and the one that a file asks for."""

from __future__ import annotations

from collections.abc import Mapping

from exaone4_gguf.errors import RequestError
from exaone4_gguf.format.keys import ARCHITECTURE

POOLINGS = ("mean", "cls", "last")
"""llama.cpp's names: the mean of all tokens, the first one, the last one."""

KEY = f"{ARCHITECTURE}.pooling_type"
_NUMBERS = {"1": "mean", "2": "cls", "3": "last"}  # LLAMA_POOLING_TYPE_* (llama.h)
_NONE = ("-1", "0")


def chosen_pooling(wanted: str | None, metadata: Mapping[str, str]) -> str:
    """The pooling that is wanted, else the file's, else the mean.

    Args:
        metadata: the file's, as llama.cpp tells it.

    Raises:
        RequestError: there is none of that name, or the file asks for another.
    """
    if wanted is not None:
        if wanted not in POOLINGS:
            raise RequestError(f"pooling is {wanted!r}", field="pooling", hint=f"one of: {', '.join(POOLINGS)}")
        return wanted
    number = metadata.get(KEY, _NONE[0])
    if number in _NONE:
        return POOLINGS[0]
    if number not in _NUMBERS:
        raise RequestError(f"the file asks for pooling type {number}, which is unknown; say {', '.join(POOLINGS)}")
    return _NUMBERS[number]
