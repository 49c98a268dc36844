"""JSON text that was begun in the model's own writing, completed so that it says what is known to be meant."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)


def dump(value: Any) -> str:
    """A value as JSON text; lone surrogates are escaped, so that the text can be encoded."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def completion(begun: str, value: Any) -> str | None:
    """The text that must follow ``begun``, the beginning of a JSON text, to give ``value``; None if none does."""
    written, wanted = _TOKEN.findall(begun), _TOKEN.findall(dump(value))
    # The last one may go on, if nothing stands behind it.
    last = written.pop() if written and begun.endswith(written[-1]) else ""
    if len(written) >= len(wanted) or not all(map(_same, written, wanted)):
        return None
    rest = _rest(last, wanted[len(written)])
    if rest is None:
        return None
    return rest + _spaced(wanted[len(written) + 1 :])


def _same(written: str, wanted: str) -> bool:
    return written == wanted or (_is_value(written) and _is_value(wanted) and _loaded(written) == _loaded(wanted))


def _loaded(token: str) -> Any:
    """The value of a token. Python refuses to read long numbers as int."""
    return json.loads(token, parse_int=Decimal)


def _is_value(token: str) -> bool:
    return token[0] not in "{}[],:"


def _rest(written: str, wanted: str) -> str | None:
    """What is left of the last token, which may be incomplete."""
    if wanted.startswith(written):
        return wanted[len(written) :]
    if not written.startswith('"') or not wanted.startswith('"'):
        return None
    try:
        if json.loads(written) == json.loads(wanted):
            return ""
        return None
    except ValueError:
        begun, text = json.loads(written + '"'), json.loads(wanted)
    if text.startswith(begun):
        return dump(text[len(begun) :])[1:]
    return None


def _spaced(tokens: list[str]) -> str:
    return "".join(piece + " " if piece in ",:" else piece for piece in tokens)
