"""What a guess is, and who makes one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Tokens = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Draft:
    """A way in which the text may go on: ``take(n)`` gives its next tokens, at most ``n``.

    Drafts of one ``kind`` share one estimate of how often they are right.
    """

    kind: str
    take: Callable[[int], list[int]]


class Drafter(Protocol):
    """Guesses how a text goes on."""

    is_free: bool
    """Whether guessing takes no time to speak of."""

    def draft(self, history: Tokens) -> Draft | None:
        """What may follow ``history``, of shape (tokens,); None where it has no idea."""
