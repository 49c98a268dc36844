"""Events as OpenAI's chat completions: chunks of a stream, or one answer."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from exaone4_gguf.runtime.answer.reply import Reply
from exaone4_gguf.runtime.events import (
    Content,
    Event,
    Finish,
    Reasoning,
    Rethought,
    ToolCallArguments,
    ToolCallBegin,
    ToolCallEnd,
    TopLogprob,
    Usage,
    collect,
)
from exaone4_gguf.runtime.server.engine import Ended, Item, Said
from exaone4_gguf.runtime.server.usage import timings, usage
from exaone4_gguf.runtime.tools.tool import Tool, with_coerced_arguments

Json = dict[str, Any]

THOUGHTS: dict[bool | None, tuple[str, ...]] = {
    None: ("reasoning_content",),
    True: ("reasoning_content", "reasoning"),
    False: (),
}
"""By what ``include_reasoning`` asks for, the names under which thoughts are told."""

_LEAST_LOGPROB = -9999.0
"""OpenAI's number for a token that cannot come; JSON has no infinity."""


class ChatAnswers:
    """The form of the answers to one request.

    Args:
        model: the name that the server gives it.
        tools: those that were offered.
        logprobs: whether the tokens of the content are told.
        include_usage: whether a stream ends with a chunk that tells the usage.
        include_reasoning: whether OpenRouter's name of the thoughts is told too; False for no thoughts at all.
    """

    def __init__(
        self,
        model: str,
        tools: Sequence[Tool],
        *,
        logprobs: bool,
        include_usage: bool,
        include_reasoning: bool | None = None,
    ) -> None:
        self._tools, self._logprobs, self._include_usage = tools, logprobs, include_usage
        self._thoughts = THOUGHTS[include_reasoning]
        self._head: Json = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model,
            "system_fingerprint": "exaone4-gguf",
        }
        self._begun: set[int] = set()
        self._raw: dict[int, list[str]] = {}
        self._usages: list[Usage] = []
        self._reasons: dict[int, str] = {}
        self._told: dict[int, list[Event]] = {}
        self._rethought: set[int] = set()

    def chunks(self, item: Item[Event]) -> Iterator[Json]:
        """What a stream tells of an item."""
        if isinstance(item, Ended):
            self._usages.append(item.usage)
            last = self._chunk(
                item.choice,
                {},
                finish_reason=self._reasons.get(item.choice, "stop"),
                instead=self._instead(item.choice),
            )
            yield last | {"timings": timings([item.usage])}
            return
        self._told.setdefault(item.choice, []).append(item.event)
        if item.choice not in self._begun:
            self._begun.add(item.choice)
            yield self._chunk(item.choice, {"role": "assistant", "content": ""})
        if isinstance(item.event, Finish):
            self._reasons[item.choice] = finish_reason(item.event.reason)
        elif isinstance(item.event, Rethought):
            self._rethought.add(item.choice)
            yield self._chunk(item.choice, {}, instead=self._instead(item.choice))
        elif delta := self._delta(item.event):
            tokens = item.event.tokens if isinstance(item.event, Content) else ()
            yield self._chunk(item.choice, delta, logprobs=_logprobs(tokens) if self._logprobs and tokens else None)

    def _instead(self, choice: int) -> Json | None:
        """The message so far, where it is not what the pieces give that were told; None where it is."""
        if choice in self._rethought:
            return self._message(self._told[choice])
        return None

    def closing(self) -> Iterator[Json]:
        """What a stream tells after all of its choices."""
        if self._include_usage:
            told = {"usage": usage(self._usages), "timings": timings(self._usages)}
            yield {**self._head, "object": "chat.completion.chunk", "choices": [], **told}

    def whole(self, items: Iterable[Item[Event]]) -> Json:
        """All of it as one answer."""
        events: dict[int, list[Event]] = {}
        for item in items:
            if isinstance(item, Said):
                events.setdefault(item.choice, []).append(item.event)
            else:
                self._usages.append(item.usage)
        choices = [self._choice(i, told) for i, told in events.items()]
        told = {"usage": usage(self._usages), "timings": timings(self._usages)}
        return {**self._head, "object": "chat.completion", "choices": choices, **told}

    def _choice(self, index: int, events: Sequence[Event]) -> Json:
        tokens = [t for event in _answer(events) if isinstance(event, Content) for t in event.tokens]
        return {
            "index": index,
            "message": self._message(events) | {"refusal": None},
            "logprobs": _logprobs(tokens) if self._logprobs else None,
            "finish_reason": finish_reason(collect(events).finish_reason),
        }

    def _message(self, events: Sequence[Event]) -> Json:
        """The runtime's form of it, with the names of the thoughts that were asked for."""
        message = with_coerced_arguments(collect(events), self._tools)
        told = Reply(message, _NOTHING).to_openai()
        thoughts = told.pop("reasoning_content", None)
        return told | (self._thought(thoughts) if thoughts else {})

    def _thought(self, text: str) -> Json:
        return dict.fromkeys(self._thoughts, text)

    def _chunk(
        self,
        index: int,
        delta: Json,
        *,
        logprobs: Json | None = None,
        finish_reason: str | None = None,
        instead: Json | None = None,
    ) -> Json:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        ours = {"exaone4": {"message": instead}} if instead else {}
        no_usage = {"usage": None} if self._include_usage else {}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice | ours], **no_usage}

    def _delta(self, event: Event) -> Json | None:
        match event:
            case Content(text=text) if text:
                return {"content": text}
            case Reasoning(text=text) if text:
                return self._thought(text) or None
            case ToolCallBegin():
                self._raw[event.index] = [event.raw]
                function = {"name": event.name, "arguments": ""}
                return _call(event.index, {"id": event.id, "type": "function", "function": function})
            case ToolCallArguments():
                self._raw[event.index].append(event.raw)
                if event.text:
                    return _call(event.index, {"function": {"arguments": event.text}})
                return None
            case ToolCallEnd(failed=str()):
                # The pieces are gone; the text follows as content, as it stands in a whole answer.
                return {"content": "".join((*self._raw[event.index], event.raw))}
        return None


def finish_reason(reason: str | None) -> str:
    """OpenAI's word; what took too long ends as at any other limit."""
    if reason == "cancelled":
        return "length"
    return reason or "stop"


def _call(index: int, call: Json) -> Json:
    return {"tool_calls": [{"index": index, **call}]}


def _answer(events: Sequence[Event]) -> Sequence[Event]:
    """What was said after the thoughts were closed for the last time."""
    closed = [i for i, event in enumerate(events) if isinstance(event, Rethought)]
    if closed:
        return events[closed[-1] :]
    return events


_NOTHING = Usage(0, 0, 0, 0, 0.0, 0.0)


def _logprobs(tokens: Iterable[Any]) -> Json:
    content = [_logprob(t) | {"top_logprobs": [_logprob(other) for other in t.top]} for t in tokens]
    return {"content": content, "refusal": None}


def _logprob(token: TopLogprob) -> Json:
    """OpenAI's form: what is no text has no bytes."""
    told = None if token.is_control else list(token.piece)
    return {"token": text_of(token), "logprob": logprob_of(token), "bytes": told}


def text_of(token: TopLogprob) -> str:
    """What a token is called, its text usually; what is no whole character shows as its sign."""
    return token.piece.decode(errors="replace")


def logprob_of(token: TopLogprob) -> float:
    """A token's logprob as JSON can hold it."""
    return max(token.logprob, _LEAST_LOGPROB)
