"""JSON as models write it when they write it wrong: read with a stated set of liberties.

``LOOSE`` is what there is of them. Without any, the reader takes what JSON is, and nothing else; it knows no tools.
"""

from __future__ import annotations

import json
import math
import re
from enum import Flag, auto
from typing import Any, NoReturn

from exaone4_gguf.format.nesting import REPAIRED_LEVELS

# Fewer than a float can hold, and than Python refuses to read.
_MAX_DIGITS = 300


class Loose(Flag):
    """A liberty that a text may take with JSON."""

    NONE = 0
    PYTHON = auto()
    """Single quotes, True, False and None, as ``print`` shows a dict."""
    BARE_KEYS = auto()
    """Keys without quotes."""
    TRAILING_COMMAS = auto()
    """A comma after the last item."""
    CONTROLS = auto()
    """Newlines and tabs in strings."""
    ESCAPES = auto()
    """Backslashes before characters that need none."""
    MISSING_BRACKETS = auto()
    """Brackets and braces that are not closed at the end."""
    EXTRA_BRACKETS = auto()
    """More closing brackets than there are open ones."""


EVERYTHING = Loose(sum(flag.value for flag in Loose))

_BLANKS = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?+([eE][+-]?[0-9]++)?+(?![\w.+-])")
_WORD = re.compile(r"[^\W\d][\w-]*")
_STRINGS = {
    '"': re.compile(r'"([^"\\]*+(?:\\.[^"\\]*+)*+)"', re.DOTALL),
    "'": re.compile(r"'([^'\\]*+(?:\\.[^'\\]*+)*+)'", re.DOTALL),
}
_IN_STRING = re.compile(r'\\(u[0-9a-fA-F]{4}|.)|["\x00-\x1f]', re.DOTALL)
_CONSTANTS = {"true": True, "false": False, "null": None}
_PYTHON_CONSTANTS = {"True": True, "False": False, "None": None}
_JUNK = re.compile(r"[\s\]}]*")


class UnreadableError(ValueError):
    """The text is not JSON, not even with the liberties that were allowed."""


def read(text: str, allowed: Loose = Loose.NONE) -> Any:
    """The value of a whole text.

    Raises:
        UnreadableError: it takes another liberty than those allowed, or is nested too deeply.
    """
    reader = LooseReader(text, allowed)
    value = reader.value(0)
    reader.end()
    return value


class LooseReader:
    """Reads values one after the other; ``position`` is where the next one starts."""

    def __init__(self, text: str, allowed: Loose, position: int = 0) -> None:
        self.text = text
        self.allowed = allowed
        self.position = position

    def fail(self, why: str) -> NoReturn:
        """Give up."""
        raise UnreadableError(f"{why} at character {self.position + 1}")

    def peek(self) -> str:
        """The next character that is no blank; "" at the end."""
        self._skip(_BLANKS)
        return self.text[self.position : self.position + 1]

    def _skip(self, pattern: re.Pattern[str]) -> None:
        found = pattern.match(self.text, self.position)
        if found:
            self.position = found.end()

    def take(self, char: str) -> None:
        """Go past this character, which must come next."""
        if self.peek() != char:
            self.fail(f"no {char!r}")
        self.position += 1

    def end(self) -> None:
        """Make sure that nothing follows (but brackets, where they are allowed)."""
        self.peek()
        if Loose.EXTRA_BRACKETS in self.allowed:
            self._skip(_JUNK)
        if self.position < len(self.text):
            self.fail("text after the end")

    def value(self, depth: int) -> Any:
        """The value that starts here."""
        if depth > REPAIRED_LEVELS:
            self.fail("nested too deeply")
        char = self.peek()
        if char == "{":
            return self._object(depth + 1)
        if char == "[":
            return self._array(depth + 1)
        if char in _STRINGS:
            return self.string(char)
        if char.isalpha():
            return self._constant()
        return self._number()

    def _object(self, depth: int) -> dict[str, Any]:
        self.take("{")
        members: dict[str, Any] = {}
        while not self._closed("}", bool(members)):
            if members:
                self.take(",")
                if self._closed("}", False, Loose.TRAILING_COMMAS):
                    break
            key = self._key()
            self.take(":")
            if key in members:
                self.fail(f"the key {key!r} comes twice")
            members[key] = self.value(depth)
        return members

    def _array(self, depth: int) -> list[Any]:
        self.take("[")
        items: list[Any] = []
        while not self._closed("]", bool(items)):
            if items:
                self.take(",")
                if self._closed("]", False, Loose.TRAILING_COMMAS):
                    break
            items.append(self.value(depth))
        return items

    def _closed(self, bracket: str, may_be_missing: bool, needs: Loose = Loose.NONE) -> bool:
        """Whether the list or object ends here; past its bracket if so. The text may end before it."""
        char = self.peek()
        if not char and may_be_missing and Loose.MISSING_BRACKETS in self.allowed:
            return True
        if char != bracket or needs not in self.allowed:
            return False
        self.position += 1
        return True

    def _key(self) -> str:
        char = self.peek()
        if char in _STRINGS and char:
            return self.string(char)
        word = _WORD.match(self.text, self.position)
        if word is None or Loose.BARE_KEYS not in self.allowed:
            self.fail("no key")
        self.position = word.end()
        return word[0]

    def string(self, quote: str) -> str:
        """The string that starts here with this quote."""
        found = _STRINGS[quote].match(self.text, self.position)
        if found is None or (quote == "'" and Loose.PYTHON not in self.allowed):
            self.fail("no string")
        strict = _IN_STRING.sub(self._strict_character, found[1])
        self.position = found.end()
        try:
            text: str = json.loads(f'"{strict}"')
        except ValueError:
            self.fail("no string")
        return text

    def _strict_character(self, found: re.Match[str]) -> str:
        """An escape, or a character that should have been escaped, as JSON writes it."""
        char = found[0]
        if len(char) == 1:
            if char == '"':
                return '\\"'
            return self._control(char)
        if found[1][0] in '"\\/bfnrt' or len(found[1]) == 5:
            return char
        if Loose.ESCAPES not in self.allowed and not (char == "\\'" and Loose.PYTHON in self.allowed):
            self.fail("an escape that JSON does not have")
        if char == "\\'":
            return "'"
        return "\\\\" + self._unescaped(found[1])

    def _unescaped(self, char: str) -> str:
        if char < " ":
            return self._control(char)
        return char

    def _control(self, char: str) -> str:
        if Loose.CONTROLS not in self.allowed:
            self.fail("a control character in a string")
        return f"\\u{ord(char):04x}"

    def _constant(self) -> Any:
        word = _WORD.match(self.text, self.position)
        known = _CONSTANTS | (_PYTHON_CONSTANTS if Loose.PYTHON in self.allowed else {})
        if word is None or word[0] not in known:
            self.fail("no value")
        self.position = word.end()
        return known[word[0]]

    def _number(self) -> int | float:
        found = _NUMBER.match(self.text, self.position)
        if found is None or len(found[0]) > _MAX_DIGITS:
            self.fail("no value")
        number = float(found[0]) if found[1] or found[2] else int(found[0])
        if not math.isfinite(number):
            self.fail("a number too large")
        self.position = found.end()
        return number
