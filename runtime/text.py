"""Tokens -> text as it comes: whole characters only."""

from __future__ import annotations

import codecs


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
