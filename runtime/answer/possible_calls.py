"""Calls in thoughts that are still open: quoted there, or, if the text ends with them, meant.

Nothing is put right here. A call counts that is JSON, with its closing tag, of an offered tool, with arguments that
fit; several may follow one another with blanks between.
"""

from __future__ import annotations

from exaone4_gguf.format.tags import CALL, END_CALL, END_THINK, tag_or_text
from exaone4_gguf.runtime.partial_json.scanner import JsonScanner, Place
from exaone4_gguf.runtime.tools.repair.table import recover
from exaone4_gguf.runtime.tools.repair.texts import Offered

BLANKS = " \t\r\n"
_TAGS = (CALL, END_CALL, END_THINK)


class PossibleCalls:
    """Holds text back from behind an opening tag on, as long as it may be calls with which the text ends."""

    def __init__(self, offered: Offered) -> None:
        self.ended = False
        """It is no such text, and what ``feed`` gave back is not part of it."""
        self.are_whole = False
        """What came up to here is calls, and blanks."""
        self._offered = offered
        self._held = [CALL]
        self._body: list[str] = []
        self._scanner = JsonScanner()

    @property
    def text(self) -> str:
        """What is held back."""
        return "".join(self._held)

    def feed(self, text: str) -> str:
        """Read on; the text that was not used: the beginning of a tag, or what does not belong to such calls."""
        position = 0
        while position < len(text):
            tag, end = tag_or_text(text, position, _TAGS)
            if tag is None:
                break
            piece = text[position:end]
            if not self._takes(piece, tag):
                self.ended = True
                break
            self._held.append(piece)
            position = end
        return text[position:]

    def _takes(self, piece: str, tag: str) -> bool:
        if tag == END_THINK:
            return False
        if self.are_whole:
            return self._opens(tag) or not piece.strip(BLANKS)
        if tag and not self._scanner.in_string:
            self.are_whole = tag == END_CALL and self._is_right()
            return self.are_whole
        self._body.append(piece)
        return self._scans(piece)

    def _opens(self, tag: str) -> bool:
        if tag == CALL:
            self.are_whole, self._body, self._scanner = False, [], JsonScanner()
        return tag == CALL

    def _scans(self, piece: str) -> bool:
        position = 0
        while position < len(piece):
            stop = self._scanner.scan(piece, position)
            if stop < len(piece) and not self._scanner.mark:
                return False
            position = stop
        return True

    def _is_right(self) -> bool:
        if self._scanner.place is not Place.DONE:
            return False
        found = recover("".join(self._body), self._offered)
        return len(found.calls) == 1 and not found.repaired
