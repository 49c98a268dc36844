"""Tokens -> text as it comes, and JSON that UTF-8 can hold: whole characters only."""

from __future__ import annotations

import codecs
import json
import re

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class Utf8Decoder:
    """Bytes in, text out; the bytes of an unfinished character wait for the rest of it."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def decode(self, piece: bytes) -> str:
        """The characters that the piece completes."""
        return self._decoder.decode(piece)

    @property
    def is_whole(self) -> bool:
        """Whether no character is unfinished."""
        return not self._decoder.getstate()[0]

    def finish(self) -> str:
        """What is left at the end: the sign for a character that was cut off, or nothing."""
        return self._decoder.decode(b"", final=True)


def without_lone_surrogates(text: str) -> str:
    """The same JSON; escaped surrogates that belong to no pair, which UTF-8 cannot hold, become U+FFFD.

    Raises:
        ValueError: it is not JSON.
    """
    if not _SURROGATE.search(text):
        return text
    again = json.dumps(json.loads(text), ensure_ascii=False)
    return again.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
