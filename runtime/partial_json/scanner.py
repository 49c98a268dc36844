"""One JSON object followed through its text, in pieces of any size, each character read once.

The scanner is strict (RFC 8259): it stops at the first character that no JSON object could have there, and at the
end of a key that its object has already, because readers differ in which of the two counts. It keeps no text but the
keys of the objects that are open; it knows the place it is at, and marks where the members of the outermost object
begin and end.
"""

from __future__ import annotations

import json
import re
from enum import Enum, auto

from exaone4_gguf.format.nesting import WRITTEN_LEVELS


class Place(Enum):
    """Where in a JSON text the next character stands."""

    START = auto()
    FIRST_KEY = auto()
    KEY = auto()
    COLON = auto()
    VALUE = auto()
    FIRST_ITEM = auto()
    ITEM = auto()
    STRING = auto()
    ESCAPE = auto()
    UNICODE = auto()
    NUMBER = auto()
    LITERAL = auto()
    AFTER_VALUE = auto()
    DONE = auto()


class Mark(Enum):
    """What the scanner has just come to in the outermost object."""

    KEY_END = auto()
    VALUE_BEGIN = auto()
    VALUE_END = auto()


_BLANKS = " \t\r\n"
_PLAIN = re.compile(r'[^"\\\x00-\x1f]+')
_HEX = frozenset("0123456789abcdefABCDEF")
_LITERALS = {"t": "rue", "f": "alse", "n": "ull"}
_CLOSERS = {"{": "}", "[": "]"}
_STRING_PLACES = frozenset({Place.STRING, Place.ESCAPE, Place.UNICODE})

# A number's grammar: part -> character class -> next part. "0" is a zero, "1" any other digit.
_NUMBER = {
    "": {"-": "minus", "0": "zero", "1": "digits"},
    "minus": {"0": "zero", "1": "digits"},
    "zero": {".": "point", "e": "e"},
    "digits": {"0": "digits", "1": "digits", ".": "point", "e": "e"},
    "point": {"0": "decimals", "1": "decimals"},
    "decimals": {"0": "decimals", "1": "decimals", "e": "e"},
    "e": {"+": "sign", "-": "sign", "0": "exponent", "1": "exponent"},
    "sign": {"0": "exponent", "1": "exponent"},
    "exponent": {"0": "exponent", "1": "exponent"},
}
_NUMBER_ENDS = frozenset({"zero", "digits", "decimals", "exponent"})
_NUMBER_CLASSES = dict.fromkeys("123456789", "1") | {c: c for c in "0-+.e"} | {"E": "e"}

_REFUSED = -1


class JsonScanner:
    """The place in a JSON object after the text that was scanned so far.

    ``mark`` is set where the last ``scan`` came to a border between members of the outermost object.
    """

    def __init__(self) -> None:
        self.place = Place.START
        self.mark: Mark | None = None
        self._closers: list[str] = []
        self._keys: list[set[str]] = []
        self._key_pieces: list[str] = []
        self._is_key = False
        self._left = 0
        self._literal = ""
        self._number = ""

    def copy(self) -> JsonScanner:
        """A scanner at the same place that goes its own way. It knows none of the keys, so that it costs little."""
        other = JsonScanner()
        other.__dict__.update(self.__dict__)
        other._closers = self._closers.copy()
        other._keys = [set() for _ in self._keys]
        other._key_pieces = []
        return other

    @property
    def in_string(self) -> bool:
        """Whether the next character belongs to a string (or to its end)."""
        return self.place in _STRING_PLACES

    @property
    def after_comma(self) -> bool:
        """Whether a comma was the last thing, which an object or list that ends here must not have."""
        return self.place in (Place.KEY, Place.ITEM)

    @property
    def in_escape(self) -> bool:
        """Whether an escape in a string has begun and not ended."""
        return self.place in (Place.ESCAPE, Place.UNICODE)

    def scan(self, text: str, start: int = 0) -> int:
        """Follow ``text`` from ``start``; the position behind the last character that belongs to the object.

        It stops early at each mark. Where it stops early without one, the character there is not JSON.
        """
        self.mark = None
        position = start
        while position < len(text) and self.mark is None:
            step = _STEPS[self.place](self, text, position)
            if step == _REFUSED:
                break
            position += step
        return position

    def _start(self, text: str, position: int) -> int:
        if text[position] in _BLANKS:
            return 1
        if text[position] == "{":
            return self._open("{")
        return _REFUSED

    def _key(self, text: str, position: int) -> int:
        char = text[position]
        if char in _BLANKS:
            return 1
        if char == "}" and self.place is Place.FIRST_KEY:
            return self._close(char)
        if char == '"':
            return self._begin_string(is_key=True)
        return _REFUSED

    def _colon(self, text: str, position: int) -> int:
        if text[position] == ":":
            self.place = Place.VALUE
            return 1
        if text[position] in _BLANKS:
            return 1
        return _REFUSED

    def _value(self, text: str, position: int) -> int:
        char = text[position]
        if char in _BLANKS:
            return 1
        if char == "]" and self.place is Place.FIRST_ITEM:
            return self._close(char)
        if len(self._closers) == 1:
            self.mark = Mark.VALUE_BEGIN
        step = self._begin_value(char)
        if step == _REFUSED:
            self.mark = None
        return step

    def _begin_value(self, char: str) -> int:
        if char in _CLOSERS:
            return self._open(char)
        if char == '"':
            return self._begin_string(is_key=False)
        if char in _LITERALS:
            self.place, self._literal, self._left = Place.LITERAL, _LITERALS[char], 0
            return 1
        self._number = ""
        return self._in_number(char)

    def _open(self, bracket: str) -> int:
        if len(self._closers) == WRITTEN_LEVELS:
            return _REFUSED
        self._closers.append(_CLOSERS[bracket])
        self._keys.append(set())
        self.place = Place.FIRST_KEY if bracket == "{" else Place.FIRST_ITEM
        return 1

    def _close(self, bracket: str) -> int:
        if self._closers[-1] != bracket:
            return _REFUSED
        self._closers.pop()
        self._keys.pop()
        self._end_value()
        return 1

    def _begin_string(self, *, is_key: bool) -> int:
        self.place, self._is_key = Place.STRING, is_key
        return 1

    def _end_value(self) -> None:
        self.place = Place.AFTER_VALUE if self._closers else Place.DONE
        if len(self._closers) == 1:
            self.mark = Mark.VALUE_END

    def _string(self, text: str, position: int) -> int:
        plain = _PLAIN.match(text, position)
        if plain:
            return self._within_string(plain[0])
        if text[position] == '"':
            return self._end_string()
        if text[position] == "\\":
            self.place = Place.ESCAPE
            return self._within_string("\\")
        return _REFUSED

    def _within_string(self, piece: str) -> int:
        if self._is_key:
            self._key_pieces.append(piece)
        return len(piece)

    def _end_string(self) -> int:
        if not self._is_key:
            self._end_value()
            return 1
        if not self._is_new_key():
            return _REFUSED
        self.place = Place.COLON
        if len(self._closers) == 1:
            self.mark = Mark.KEY_END
        return 1

    def _is_new_key(self) -> bool:
        """Whether the object has not had this key, however it is escaped."""
        key = json.loads(f'"{"".join(self._key_pieces)}"')
        is_new = key not in self._keys[-1]
        self._keys[-1].add(key)
        self._key_pieces = []
        return is_new

    def _escape(self, text: str, position: int) -> int:
        if text[position] == "u":
            self.place, self._left = Place.UNICODE, 4
            return self._within_string("u")
        if text[position] not in '"\\/bfnrt':
            return _REFUSED
        self.place = Place.STRING
        return self._within_string(text[position])

    def _unicode(self, text: str, position: int) -> int:
        if text[position] not in _HEX:
            return _REFUSED
        self._left -= 1
        if not self._left:
            self.place = Place.STRING
        return self._within_string(text[position])

    def _in_number(self, char: str) -> int:
        following = _NUMBER[self._number].get(_NUMBER_CLASSES.get(char, ""))
        if following is None:
            return _REFUSED
        self.place, self._number = Place.NUMBER, following
        return 1

    def _number_or_end(self, text: str, position: int) -> int:
        step = self._in_number(text[position])
        if step == _REFUSED and self._number in _NUMBER_ENDS:
            self._end_value()
            return 0
        return step

    def _in_literal(self, text: str, position: int) -> int:
        if text[position] != self._literal[self._left]:
            return _REFUSED
        self._left += 1
        if self._left == len(self._literal):
            self._end_value()
        return 1

    def _after_value(self, text: str, position: int) -> int:
        char = text[position]
        if char == ",":
            self.place = Place.KEY if self._closers[-1] == "}" else Place.ITEM
            return 1
        if char in _BLANKS:
            return 1
        return self._close(char)

    def _done(self, text: str, position: int) -> int:
        if text[position] in _BLANKS:
            return 1
        return _REFUSED


_STEPS = {
    Place.START: JsonScanner._start,
    Place.FIRST_KEY: JsonScanner._key,
    Place.KEY: JsonScanner._key,
    Place.COLON: JsonScanner._colon,
    Place.VALUE: JsonScanner._value,
    Place.FIRST_ITEM: JsonScanner._value,
    Place.ITEM: JsonScanner._value,
    Place.STRING: JsonScanner._string,
    Place.ESCAPE: JsonScanner._escape,
    Place.UNICODE: JsonScanner._unicode,
    Place.NUMBER: JsonScanner._number_or_end,
    Place.LITERAL: JsonScanner._in_literal,
    Place.AFTER_VALUE: JsonScanner._after_value,
    Place.DONE: JsonScanner._done,
}
