"""Stop strings: where the answer ends before the model ends it, wherever the pieces are cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from exaone4_gguf.runtime.events import Content, Event


class StopStrings:
    """Passes events on until one of ``stops`` occurs in the content; ``hit`` says that it did.

    The end of a piece that may be the beginning of a stop string waits for the next one. Thoughts and calls are
    not looked at: a stop string is about the answer.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = Content("")
        self.hit = False

    def pass_on(self, event: Event) -> Iterator[Event]:
        """The event, or as much of it as is sure to be no stop string."""
        if not self._stops:
            yield event
        elif isinstance(event, Content) and event.reason is None:
            yield from self._content(event)
        else:
            if self._held.raw:
                yield self._held
                self._held = Content("")
            yield event

    def _content(self, event: Content) -> Iterator[Event]:
        text = self._held.text + event.text
        raw = self._held.raw + event.raw
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.hit = True
            cut = min(found)
            yield replace(event, text=text[:cut], raw=raw[: len(raw) - len(text) + cut])
            return
        keep = max((n for stop in self._stops for n in range(1, len(stop)) if text.endswith(stop[:n])), default=0)
        sure = len(text) - keep
        if sure or not keep:
            yield replace(event, text=text[:sure], raw=raw[: len(raw) - keep])
            raw = raw[len(raw) - keep :] if keep else ""
        self._held = Content(text[sure:], raw=raw) if keep else Content("")
