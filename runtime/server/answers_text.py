"""Events as OpenAI's (plain) completions."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from exaone4_gguf.runtime.events import Content, Event, Finish, Token, Usage
from exaone4_gguf.runtime.server.answers_chat import finish_reason, logprob_of, text_of
from exaone4_gguf.runtime.server.engine import Ended, Item
from exaone4_gguf.runtime.server.usage import timings, usage_of_prompts

Json = dict[str, Any]


class TextAnswers:
    """The form of the answers to one request.

    Args:
        model: the name that the server gives it.
        echo: what each choice begins with.
        n: choices of each prompt.
        logprobs: whether the tokens are told.
        include_usage: whether a stream ends with a chunk that tells the usage.
    """

    def __init__(self, model: str, echo: Sequence[str], *, n: int, logprobs: bool, include_usage: bool) -> None:
        self._echo, self._n, self._logprobs, self._include_usage = list(echo), n, logprobs, include_usage
        self._head: Json = {
            "id": f"cmpl-{secrets.token_hex(12)}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": "exaone4-gguf",
        }
        self._usages: list[Usage] = []
        self._reasons: dict[int, str] = {}
        self._offsets: dict[int, int] = {}

    def chunks(self, item: Item[Event]) -> Iterator[Json]:
        """What a stream tells of an item."""
        if isinstance(item, Ended):
            self._usages.append(item.usage)
            rest = self._take_echo(item.choice)
            yield self._chunk(item.choice, rest, (), self._reasons.get(item.choice)) | {
                "timings": timings([item.usage])
            }
        elif isinstance(item.event, Finish):
            self._reasons[item.choice] = finish_reason(item.event.reason)
        elif isinstance(item.event, Content) and item.event.text:
            yield self._chunk(item.choice, self._take_echo(item.choice) + item.event.text, item.event.tokens)

    def closing(self) -> Iterator[Json]:
        """What a stream tells after all of its choices."""
        if self._include_usage:
            yield {**self._head, "choices": [], **self._took()}

    def whole(self, items: Iterable[Item[Event]]) -> Json:
        """All of it as one answer."""
        texts: dict[int, list[str]] = {}
        tokens: dict[int, list[Token]] = {}
        for item in items:
            for chunk in self.chunks(item):
                texts.setdefault(item.choice, []).append(chunk["choices"][0]["text"])
            if not isinstance(item, Ended) and isinstance(item.event, Content):
                tokens.setdefault(item.choice, []).extend(item.event.tokens)
        self._offsets.clear()
        choices = [self._choice(i, "".join(t), tokens.get(i, ()), self._reasons.get(i)) for i, t in texts.items()]
        return {**self._head, "choices": choices, **self._took()}

    def _took(self) -> Json:
        return {"usage": usage_of_prompts(self._usages, self._n), "timings": timings(self._usages)}

    def _take_echo(self, choice: int) -> str:
        text, self._echo[choice] = self._echo[choice], ""
        return text

    def _chunk(self, index: int, text: str, tokens: Sequence[Token], reason: str | None = None) -> Json:
        no_usage = {"usage": None} if self._include_usage else {}
        return {**self._head, "choices": [self._choice(index, text, tokens, reason)], **no_usage}

    def _choice(self, index: int, text: str, tokens: Sequence[Token], reason: str | None) -> Json:
        told = self._told(index, tokens) if self._logprobs and (tokens or reason) else None
        return {"index": index, "text": text, "logprobs": told, "finish_reason": reason}

    def _told(self, index: int, tokens: Sequence[Token]) -> Json:
        """OpenAI's older form of logprobs: a list for each thing that is told."""
        offsets = []
        for token in tokens:
            offsets.append(self._offsets.get(index, 0))
            self._offsets[index] = offsets[-1] + len(token.text.decode(errors="replace"))
        return {
            "tokens": [text_of(token) for token in tokens],
            "token_logprobs": [logprob_of(token) for token in tokens],
            "top_logprobs": [{text_of(other): logprob_of(other) for other in token.top} for token in tokens],
            "text_offset": offsets,
        }
