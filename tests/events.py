"""Events, with what is only a matter of how the text was cut taken away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import TypeAlias, cast

from exaone4_gguf.runtime.events import Content, Event, Reasoning, ToolCallArguments

Text: TypeAlias = Reasoning | Content | ToolCallArguments


def merged(events: Iterable[Event]) -> list[Event]:
    """The events with adjacent pieces of one kind joined: the same list, however the text was cut."""
    result: list[Event] = []
    for kind, group in groupby(events, key=_kind):
        same = list(group)
        result += same if kind is None else [_joined(cast("list[Text]", same))]
    return result


def _kind(event: Event) -> tuple[type[Event], int] | None:
    """What must be equal for two pieces to be joined; None for an event that stands alone."""
    if isinstance(event, ToolCallArguments):
        return ToolCallArguments, event.index
    if isinstance(event, Reasoning) or (isinstance(event, Content) and event.reason is None):
        return type(event), 0
    return None


def _joined(pieces: Sequence[Text]) -> Text:
    joined = replace(pieces[0], text="".join(p.text for p in pieces), raw="".join(p.raw for p in pieces))
    if isinstance(joined, Content):
        return replace(joined, tokens=tuple(t for p in pieces if isinstance(p, Content) for t in p.tokens))
    return joined
