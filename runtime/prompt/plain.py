"""Data as JSON has it, of what callers give: checked, copied, and named in the error where it is something else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from exaone4_gguf.errors import MessageError
from exaone4_gguf.format.nesting import MESSAGE_LEVELS

Object = dict[str, Any]
Fields = Mapping[str, Any]


def plain(value: object, where: str, depth: int = 0) -> Any:
    """A copy of a value as JSON has them: objects with `model_dump()` become mappings, tuples become lists.

    Lone surrogates, which UTF-8 cannot hold, become U+FFFD.

    Raises:
        MessageError: it holds something that is not JSON, or is nested deeper than 64.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return as_unicode(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            refuse(where, f"{value} is not a JSON number")
        return value
    if depth == MESSAGE_LEVELS:
        refuse(where, f"is nested deeper than {MESSAGE_LEVELS}")
    value = dumped(value)
    if isinstance(value, Mapping):
        return {_key(key, where): plain(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value)]
    return refuse(where, f"{_kind(value)} is not JSON")


def _key(key: object, where: str) -> str:
    """A key as JSON writes it."""
    if isinstance(key, str):
        return as_unicode(key)
    if key is None or isinstance(key, bool | int | float):
        return json.dumps(key)
    return refuse(where, f"a key is {_kind(key)}, not text")


def as_list(value: object, where: str) -> Iterable[object]:
    """The value as a list: anything that can be run through, but no text and no object."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        refuse(where, f"expected a list of {where}, got {_kind(value)}")
    return value


def as_object(value: object, where: str) -> Fields:
    """The fields of an object, or of one with `model_dump()`."""
    value = dumped(value)
    if not isinstance(value, Mapping):
        refuse(where, f"expected an object, got {_kind(value)}")
    return value


def as_text(value: object, where: str) -> str:
    """A text that UTF-8 can hold; None is the empty one."""
    if not isinstance(value, str | None):
        refuse(where, f"expected text, got {_kind(value)}")
    return as_unicode(value or "")


def dumped(value: object) -> object:
    """What `model_dump()` gives of an object of pydantic's, which clients hand back; all else as it is."""
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump()
    return value


def as_unicode(text: str) -> str:
    """The text as UTF-8 can hold it: two surrogates that belong together become one character, others U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return str.__str__(text)


def refuse(where: str, why: str) -> NoReturn:
    """Raise MessageError, which names the field in one line."""
    raise MessageError(" ".join(why.split()), where=where, field=where)


def _kind(value: object) -> str:
    return type(value).__name__
