"""Control of the tokens as they come: of the thoughts a budget, a minimum, and a penalty on switching.

Each is a ``Steering``: it sees every token, may change the logits before one is chosen, may replace the chosen
one, and may say what must come next.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from exaone4_gguf.format.tags import END_THINK
from exaone4_gguf.runtime.events import Event, Reasoning, Rethought
from exaone4_gguf.runtime.text import Utf8Decoder

if TYPE_CHECKING:
    from exaone4_gguf.runtime.llama.context import Logits

Tokenize = Callable[[str], list[int]]
Piece = Callable[[int], bytes]

_REMEMBERED = 32  # tokens
SENTENCE_ENDS = tuple(".!?。！？…\n")


class Parser(Protocol):
    """What reads the text of an answer as it comes."""

    @property
    def thinking(self) -> bool:
        """Whether thoughts are open."""

    def feed(self, text: str) -> Sequence[Event]:
        """The events that this text makes certain."""


class Steering(Protocol):
    """Something that influences which tokens come."""

    def adjust(self, logits: Logits) -> None:
        """Change the logits of the next token in place."""

    def replace(self, token: int) -> Sequence[int] | None:
        """Tokens that come instead of the chosen one; None lets it be."""

    def follow(self, token: int) -> Sequence[int]:
        """Tokens that must come after this one, which has come."""


class ThoughtTracker:
    """Whether the model is thinking, and for how many tokens. A parser of its own reads the text: what events call
    thoughts are thoughts here, however the tags are cut into tokens.

    ``seen``: all tokens. ``count``: those up to the end of the thoughts, the tags among them. It goes on where they
    turn out to have gone on.
    """

    def __init__(self, tokenize: Tokenize, piece: Piece, parser: Parser) -> None:
        self.closing = tokenize(END_THINK)
        self.count = 0
        self._piece, self._parser = piece, parser
        self.seen = 0
        self._decoder = Utf8Decoder()
        self._text_end = ""
        self._recent: deque[int] = deque(maxlen=_REMEMBERED)

    @property
    def thinking(self) -> bool:
        """Whether thoughts are open."""
        return self._parser.thinking

    def see(self, token: int) -> None:
        """Count a token, and notice the tags."""
        self._recent.append(token)
        self.seen += 1
        text = self._decoder.decode(self._piece(token))
        self._text_end = (self._text_end + text)[-len(END_THINK) :]
        events = self._parser.feed(text)
        if self.thinking or any(isinstance(event, Reasoning | Rethought) for event in events):
            self.count = self.seen

    def would_close(self, token: int) -> bool:
        """Whether the closing tag would be complete with this token."""
        return END_THINK in self._text_end + self._piece(token).decode(errors="ignore")

    def ends_with(self, tokens: Sequence[int]) -> bool:
        """Whether these tokens have just come (at most the last 32 are remembered)."""
        if tokens:
            return [*self._recent][-len(tokens) :] == list(tokens)
        return True


@dataclass
class Unsteered:
    """The base of steerings: it changes nothing. The generation keeps ``tracker`` up to date."""

    tracker: ThoughtTracker

    def adjust(self, logits: Logits) -> None:
        """Leave the logits."""

    def replace(self, token: int) -> Sequence[int] | None:
        """Let the token be."""

    def follow(self, token: int) -> Sequence[int]:
        """Nothing has to follow."""
        return ()


@dataclass
class Endless(Unsteered):
    """The turn does not end by itself: llama.cpp's --ignore-eos, for measuring."""

    end_tokens: frozenset[int]

    def adjust(self, logits: Logits) -> None:
        """Make an end impossible."""
        logits[list(self.end_tokens)] = -math.inf


@dataclass
class ReasoningBudget(Unsteered):
    """At most ``most`` tokens of thought; then the block is closed and the answer follows.

    It is closed where a sentence ends, or after ``grace`` tokens more where the last character is whole. From there on,
    and where the answer has gone beyond the budget, it stays closed: the closing tag, which would make all before it
    thoughts, does not come again. ``message`` is the last thing thought. The end is forced as in s1
    (Muennighoff et al. 2025, https://arxiv.org/abs/2501.19393).
    """

    most: int
    tokenize: Tokenize
    piece: Piece
    message: str = ""
    grace: int = 32
    _decoder: Utf8Decoder = field(default_factory=Utf8Decoder)
    _last: str = ""
    _closed: bool = False

    def adjust(self, logits: Logits) -> None:
        """Make a second closing tag impossible, by which what follows would be thoughts again."""
        *before, last = self.tracker.closing
        if self._stays_closed and self.tracker.ends_with(before):
            logits[last] = -math.inf

    @property
    def _stays_closed(self) -> bool:
        """Whether thoughts were closed, and cannot go on within the budget."""
        was_closed = self.tracker.count > 0 and not self.tracker.thinking
        return was_closed and (self._closed or self.tracker.seen >= self.most)

    def follow(self, token: int) -> Sequence[int]:
        """The closing tokens, once the budget is spent and the text may be cut."""
        text = self._decoder.decode(self.piece(token))
        self._last = (self._last + text)[-1:]
        if self._closed or not self.tracker.thinking or self.tracker.count < self.most:
            return ()
        over = self.tracker.count - self.most
        at_sentence = bool(text) and text.rstrip(" ").endswith(SENTENCE_ENDS)
        if at_sentence or (over >= self.grace and self._decoder.is_whole):
            return self._closing()
        return ()

    def _closing(self) -> Sequence[int]:
        self._closed = True
        newline = "\n"
        if self._last in ("", "\n"):
            newline = ""
        message = ""
        if self.message:
            message = f"{self.message}\n"
        return self.tokenize(f"{newline}{message}{END_THINK}\n\n")


@dataclass
class ReasoningMinimum(Unsteered):
    """At least ``least`` tokens of thought: until then the closing tag is withheld and "Wait" goes on.

    Budget forcing of s1 (Muennighoff et al. 2025, https://arxiv.org/abs/2501.19393, section 3.1).
    """

    least: int
    tokenize: Tokenize
    end_tokens: frozenset[int]
    word: str = "Wait"

    def replace(self, token: int) -> Sequence[int] | None:
        """The word instead of the closing tag, or of the end of the turn."""
        closes = self.tracker.would_close(token) or token in self.end_tokens
        if closes and self.tracker.thinking and self.tracker.count < self.least:
            return self.tokenize(self.word)
        return None


SWITCH_WORDS = (
    *("Alternatively", "Another approach", "However", "Wait", "But"),
    *("다른 방법", "하지만", "그런데", "잠깐"),
    *("Por otro lado", "Sin embargo", "Pero", "Espera"),
)
"""What begins another thought, in the model's languages."""
SWITCH_STRENGTH, SWITCH_SPAN = 3.0, 600
"""The paper's alpha and beta."""


@dataclass
class ThoughtSwitchingPenalty(Unsteered):
    """TIP: for ``span`` tokens after a thought begins, words that begin another are less likely.

    logit - ``strength`` for the token that completes one of ``words`` (Wang et al. 2025,
    https://arxiv.org/abs/2501.18585, equation 2).
    """

    tokenize: Tokenize
    strength: float = SWITCH_STRENGTH
    span: int = SWITCH_SPAN
    words: tuple[str, ...] = SWITCH_WORDS
    _began: int = 0

    def __post_init__(self) -> None:
        forms = {form for word in self.words for form in (word, f" {word}", word.lower(), f" {word.lower()}")}
        self._forms = [self.tokenize(form) for form in sorted(forms)]

    def adjust(self, logits: Logits) -> None:
        """Make a switch less likely while the thought is young."""
        if self.tracker.thinking and self.tracker.count - self._began < self.span:
            completing = {last for *before, last in self._forms if self.tracker.ends_with(before)}
            logits[sorted(completing)] -= self.strength

    def follow(self, token: int) -> Sequence[int]:
        """A switch that came all the same begins a new thought."""
        if any(self.tracker.ends_with(form) for form in self._forms):
            self._began = self.tracker.count
        return ()
