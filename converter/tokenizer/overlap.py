"""Added tokens that llama.cpp and tokenizers find differently in a text.

tokenizers goes through the text from the left and takes the longest token that begins there; tokens that are
``normalized`` come second, in what the first left (added_vocabulary.rs). llama.cpp takes the longest token wherever it
is, then the next (``tokenizer_st_partition``, llama-vocab.cpp). They part only where two tokens meet, because they
overlap or one lies in the other, so that it is enough to split every such meeting, as a text of its own, in both ways.

For let them part on some text, and let B be the first token that llama.cpp takes in the place of tokenizers' own. None
of those that B meets is longer, or llama.cpp would have taken it before. Let A be the leftmost of them, among those of
the first pass if B meets any. In the text that A and B cover no other token comes before A, or it would in the whole
text: tokenizers takes A there too. llama.cpp's first choice there is at least as long as B, and with that it meets A.

Of two tokens of the same length llama.cpp may take either first: std::sort keeps no order.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from exaone4_gguf.converter.tokenizer.added_tokens import AddedToken
from exaone4_gguf.errors import TokenizerError

Piece = tuple[str, bool]
"""A part of a text, and whether it is a token."""


class Meeting(NamedTuple):
    """Two tokens, and the text that they cover where they meet."""

    first: AddedToken
    second: AddedToken
    text: str


def check_found_alike(tokens: Sequence[AddedToken]) -> None:
    """Refuse tokens of which llama.cpp finds others in some text.

    Raises:
        TokenizerError: names two that meet, and the text.
    """
    meeting = parting(tokens)
    if meeting is not None:
        raise TokenizerError(
            f"added tokens {meeting.first.content!r} and {meeting.second.content!r} meet in {meeting.text!r}, where "
            "llama.cpp takes the longest first, and tokenizers the leftmost, those that are normalized last: other "
            "ids; --allow-wrong-in-llama-cpp writes the file all the same"
        )


def parting(tokens: Sequence[AddedToken]) -> Meeting | None:
    """A meeting in which the two take other tokens; without one they take the same in every text."""
    by_tokenizers = Splitter(tokens)
    for meeting in _meetings(tokens):
        pieces = by_tokenizers.split(meeting.text)
        if pieces != split_by_llama_cpp(meeting.text, tokens, last=pieces):
            return meeting
    return None


class Splitter:
    """Splits texts as tokenizers does."""

    def __init__(self, tokens: Iterable[AddedToken]) -> None:
        contents: dict[bool, list[str]] = {False: [], True: []}
        for token in tokens:
            contents[token.normalized].append(token.content)
        self.raw, self.normalized = (_leftmost_longest(contents[normalized]) for normalized in (False, True))

    def split(self, text: str) -> list[Piece]:
        """The text in pieces."""
        first = _pieces(self.raw.split(text))
        return [part for piece in first for part in ([piece] if piece[1] else _pieces(self.normalized.split(piece[0])))]


def split_by_llama_cpp(text: str, tokens: Iterable[AddedToken], last: Iterable[Piece] = ()) -> list[Piece]:
    """The text as llama.cpp splits it, if of tokens as long as each other it takes those ``last``."""
    later = {part for part, _ in last}
    inside = [token.content for token in tokens if token.content in text]
    pieces = [(text, False)]
    for content in sorted(inside, key=lambda c: (-len(c.encode()), c in later)):
        pieces = [part for piece in pieces for part in _without(content, piece)]
    return pieces


def _without(content: str, piece: Piece) -> list[Piece]:
    text, is_token = piece
    if is_token or content not in text:
        return [piece]
    first, *rest = text.split(content)
    return _pieces([first, *(part for after in rest for part in (content, after))])


def _pieces(parts: Iterable[str]) -> list[Piece]:
    """Text and tokens by turns; no text that is empty."""
    return [(part, i % 2 == 1) for i, part in enumerate(parts) if part]


def _leftmost_longest(contents: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(contents, key=len, reverse=True)
    return re.compile(f"({'|'.join(map(re.escape, longest_first)) or '(?!)'})")


def _meetings(tokens: Sequence[AddedToken]) -> Iterator[Meeting]:
    """Those where llama.cpp may choose the other."""
    by_content = {token.content: token for token in tokens}
    raw = Splitter(tokens).raw
    for token in tokens:
        if token.normalized and (inner := raw.search(token.content)):
            yield Meeting(by_content[inner.group()], token, token.content)
    contents, seen = sorted(by_content), set[str]()
    for first in tokens:
        for at in range(1, len(first.content)):
            for content in _beginning_with(first.content[at:], contents):
                second, text = by_content[content], first.content[:at] + content
                if text not in seen and _the_other_may_come_first(first, second):
                    seen.add(text)
                    yield Meeting(first, second, text)


def _beginning_with(text: str, contents: Sequence[str]) -> Iterator[str]:
    """Those that begin with a text and go on."""
    at = bisect_right(contents, text)
    while at < len(contents) and contents[at].startswith(text):
        yield contents[at]
        at += 1


def _the_other_may_come_first(left: AddedToken, right: AddedToken) -> bool:
    """Whether that which tokenizers takes of two that overlap is not the longer one."""
    taken, other = (right, left) if left.normalized and not right.normalized else (left, right)
    return taken is not other and len(taken.content.encode()) <= len(other.content.encode())
