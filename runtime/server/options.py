"""From a request's fields to the runtime's options, and to the streams of events that answer it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from exaone4_gguf.runtime.chat.answer_stream import AnswerStream
from exaone4_gguf.runtime.chat.conversing import Conversing
from exaone4_gguf.runtime.events import Event
from exaone4_gguf.runtime.generate.request import ChatOptions
from exaone4_gguf.runtime.generate.sampling import PARAMETERS
from exaone4_gguf.runtime.prompt.builder import Prompt
from exaone4_gguf.runtime.server.bodies import (
    ChatBody,
    CompletionBody,
    ConversationBody,
    Reasoning,
    Thinking,
    TokenizeBody,
)
from exaone4_gguf.runtime.server.errors import Problem
from exaone4_gguf.runtime.server.settings import Settings
from exaone4_gguf.runtime.server.unsupported import refuse
from exaone4_gguf.runtime.tools.tool import Tool, as_tools

Value = TypeVar("Value")
T = TypeVar("T")

EFFORTS: dict[str, tuple[bool, int | None]] = {
    "none": (False, None),
    "minimal": (True, 256),
    "low": (True, 1024),
    "medium": (True, 4096),
    "high": (True, None),
    "xhigh": (True, None),
}
"""Whether ``reasoning_effort`` means to think, and for how many tokens at most."""

DEFAULT_COMPLETION = 16
"""Tokens that /v1/completions writes where nothing is said: OpenAI's number."""

_SHARED = (*PARAMETERS, "stop", "preset", "ignore_eos")
_CONVERSATIONAL = (
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_message",
    "reasoning_minimum",
    "thought_switching_penalty",
    "thought_switching_words",
    "thought_switching_span",
)
"""Fields that are options of the runtime, with the same names."""


@dataclass(frozen=True)
class Asked(Generic[T]):
    """A request that the runtime has accepted: an answer for each choice, none of them begun.

    ``tools`` are those that were offered. ``echo`` is what each choice begins with, in a completion.
    """

    choices: Sequence[AnswerStream[T]]
    tools: tuple[Tool, ...] = ()
    echo: Sequence[str] = ()


def chat(model: Conversing, body: ChatBody, settings: Settings) -> Asked[Event]:
    """A stream for each choice.

    Raises:
        Exaone4Error: the runtime refuses it.
        Problem: a field is not supported, or has a wrong value.
    """
    _check_supported(body)
    tools = as_tools(body.tools or ())
    options = chat_options(body, settings)
    return Asked([model.stream(body.messages, tools, **o) for o in _seeded(options, body.n or 1)], tools)


def prompt(model: Conversing, body: ConversationBody, settings: Settings) -> Prompt:
    """The prompt that a conversation would be evaluated as; raises as ``chat``."""
    options = _reasoning(body, settings)
    if body.tool_choice is not None:
        options["tool_choice"] = body.tool_choice
    return model.prompt(body.messages, body.tools, **options)


def token_ids(model: Conversing, body: TokenizeBody) -> list[int]:
    """The ids of a text; as in llama-server, markers in it are the tokens that they name unless told otherwise."""
    if not body.content:
        return []
    return list(model.text_prompt(body.content, markers=body.parse_special is not False).ids)


def completions(model: Conversing, body: CompletionBody) -> Asked[Event]:
    """Streams for each prompt, and for each choice of it; raises as ``chat``."""
    _check_completion(body)
    options = _of(body, _SHARED)
    options["max_tokens"] = _limit(body) or DEFAULT_COMPLETION
    options["logprobs"] = body.logprobs
    markers = bool(body.parse_special)
    asked, echo = [], []
    for each in _prompts(body.prompt):
        for chosen in _seeded(options, body.n or 1):
            asked.append(model.complete(each, markers=markers, **chosen))
            echo.append(model.text_prompt(each, markers=markers).text if body.echo else "")
    return Asked(asked, echo=echo)


def chat_options(body: ChatBody, settings: Settings) -> ChatOptions:
    """The runtime's options.

    A call is held to its schema (lazy_grammar) where a tool is strict, or where one call at most is wanted.
    """
    options = {**_of(body, (*_SHARED, *_CONVERSATIONAL)), **_reasoning(body, settings)}
    strict = any(_is_strict(tool) for tool in body.tools or ())
    options["lazy_grammar"] = bool(body.lazy_grammar) or strict or body.parallel_tool_calls is False
    options["max_tokens"] = _limit(body)
    if body.json_schema is not None and body.response_format is None:
        options["response_format"] = {"type": "json_object", "schema": body.json_schema}
    if body.logprobs:
        options["logprobs"] = body.top_logprobs or 0
    return cast(ChatOptions, options)


def _of(body: ChatBody | CompletionBody, names: Sequence[str]) -> dict[str, Any]:
    given = {name: getattr(body, name) for name in names}
    if given["repeat_penalty"] is None:
        given["repeat_penalty"] = body.repetition_penalty
    if given["top_k"] == -1:  # clients of llama.cpp and vLLM turn it off so
        given["top_k"] = 0
    return {name: value for name, value in given.items() if value is not None}


_LIMITS = ("n_predict", "max_completion_tokens", "max_tokens")
"""The names of the longest answer; the first that is given counts."""


def _limit(body: ChatBody | CompletionBody) -> int | None:
    """The longest answer in tokens; llama.cpp's -1 is no limit."""
    tokens = next((value for name in _LIMITS if (value := getattr(body, name, None)) is not None), None)
    if tokens == -1:
        return None
    return tokens


def _is_strict(tool: dict[str, Any]) -> bool:
    function = tool.get("function", tool)
    return isinstance(function, dict) and function.get("strict") is True


def _seeded(options: Any, n: int) -> Iterator[Any]:
    """The options of each choice, which differ in their seeds."""
    seed = options.get("seed")
    return ({**options, "seed": None if seed is None else seed + i} for i in range(n))


def _reasoning(body: ConversationBody, settings: Settings) -> ChatOptions:
    """Whether to think, and how much: the most particular field that says something counts."""
    variables = dict(body.chat_template_kwargs or {})
    ways = [Reasoning(enabled=_checked_bool(variables.pop("enable_thinking", None))), *_ways(body)]
    effort, budget = body.reasoning_effort or _first(way.effort for way in ways), _budget(body, ways)
    wanted, most = _effort(effort) if effort else (None, None)
    of_budget = None if budget is None else budget != 0
    enabled = _first(way.enabled for way in ways)
    thinks = next((v for v in (enabled, wanted, of_budget) if v is not None), settings.reasoning)
    fallback = settings.reasoning_budget if most is None and not effort else most
    options: ChatOptions = {"reasoning": thinks, "template_kwargs": variables}
    if thinks:
        options["reasoning_budget"] = fallback if budget is None else budget
    return options


def _ways(body: ConversationBody) -> Iterator[Reasoning]:
    """What each field says of thinking, in OpenRouter's form."""
    yield Reasoning(enabled=body.enable_thinking)
    if isinstance(body.thinking, Thinking):
        yield Reasoning(enabled=body.thinking.type == "enabled", max_tokens=body.thinking.budget_tokens)
    else:
        yield Reasoning(enabled=body.thinking)
    yield Reasoning(effort=body.think) if isinstance(body.think, str) else Reasoning(enabled=body.think)
    if not isinstance(body.reasoning, Reasoning):
        yield Reasoning(enabled=body.reasoning)
        return
    if body.reasoning.exclude:
        refuse("reasoning.exclude", "thoughts come as reasoning_content")
    for name, value in (body.reasoning.model_extra or {}).items():
        if value is not None and name not in _SUMMARIES:
            refuse(f"reasoning.{name}", "use enabled, effort or max_tokens")
    yield body.reasoning


_SUMMARIES = ("summary", "generate_summary")
"""OpenAI's members that ask how thoughts are told, and not for any: they are told whole."""


_BUDGETS = (
    *("reasoning_budget", "reasoning_budget_tokens", "thinking_budget_tokens"),
    *("thinking_budget", "thinking_token_budget"),
)


def _budget(body: ConversationBody, ways: Sequence[Reasoning]) -> int | None:
    named = (getattr(body, name) for name in _BUDGETS)
    return _first((*named, *(way.max_tokens for way in ways)))


def _first(values: Iterable[Value | None]) -> Value | None:
    """The first that says something."""
    return next((value for value in values if value is not None), None)


def _effort(name: str) -> tuple[bool, int | None]:
    if name not in EFFORTS:
        message = f"reasoning_effort is {name!r}; one of: {', '.join(EFFORTS)}"
        raise Problem(400, message, code="invalid_value", param="reasoning_effort")
    return EFFORTS[name]


def _checked_bool(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        where = "chat_template_kwargs.enable_thinking"
        raise Problem(400, f"{where}: expected true or false", code="invalid_type", param=where)
    return value


def _prompts(given: str | list[str] | list[int] | list[list[int]]) -> Sequence[str | list[int]]:
    if isinstance(given, str) or isinstance(given[0], int):
        return [given]
    return given


def _check_supported(body: ChatBody) -> None:
    """Raises Problem for what would be taken in silence and change the answer."""
    if body.top_logprobs is not None and not body.logprobs:
        _refuse("top_logprobs", "needs logprobs to be true")


def _check_completion(body: CompletionBody) -> None:
    if body.suffix:
        _refuse("suffix", "is not supported: the model goes on at the end of a text only")
    if body.best_of is not None and body.best_of != (body.n or 1):
        _refuse("best_of", "is not supported; ask for n answers, and choose")
    if body.echo and body.logprobs is not None:
        _refuse("echo", "is not supported together with logprobs")


def _refuse(field: str, why: str) -> None:
    raise Problem(400, f"{field} {why}", code="unsupported_parameter", param=field)
