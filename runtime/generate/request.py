"""What a request asks for: its options, checked, and what the generation needs because of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from exaone4_gguf.errors import RequestError
from exaone4_gguf.format.tags import CALL
from exaone4_gguf.runtime.generate.generation import Constraint
from exaone4_gguf.runtime.generate.sampling import PARAMETERS, preset
from exaone4_gguf.runtime.generate.steering import (
    SWITCH_SPAN,
    SWITCH_WORDS,
    Endless,
    ReasoningBudget,
    ReasoningMinimum,
    Steering,
    ThoughtSwitchingPenalty,
    ThoughtTracker,
)
from exaone4_gguf.runtime.llama.api import checked
from exaone4_gguf.runtime.llama.model import Model
from exaone4_gguf.runtime.schema.grammar import calls_grammar, json_grammar
from exaone4_gguf.runtime.tools.tool import Tool

ToolChoice = str | Mapping[str, Any]


class ChatOptions(TypedDict, total=False):
    """What a request may ask for, besides messages and tools. The names are OpenAI's and llama.cpp's.

    ``reasoning``: think before the answer. ``reasoning_budget``: the most tokens of thought (0: none, -1: any
    number), closed with ``reasoning_message``; ``reasoning_minimum``: the least. ``thought_switching_penalty``:
    TIP's strength, on ``thought_switching_words`` for ``thought_switching_span`` tokens of each thought.
    ``tool_choice``: "auto", "none", "required", a name, or OpenAI's object. ``lazy_grammar``: with "auto", hold a
    call to the schemas from its opening tag on. ``response_format``: OpenAI's json_object or json_schema.
    ``preset`` names sampling values (see ``sampling.PRESETS``), each of which may be given by itself.
    ``ignore_eos``: go on until ``max_tokens``. ``stop`` ends the answer, not the thoughts. ``logprobs``: how many
    alternatives each token tells.
    """

    reasoning: bool
    reasoning_budget: int | None
    reasoning_message: str
    reasoning_minimum: int | None
    thought_switching_penalty: float | None
    thought_switching_words: Sequence[str]
    thought_switching_span: int
    tool_choice: ToolChoice | None
    parallel_tool_calls: bool
    lazy_grammar: bool
    response_format: Mapping[str, Any] | None
    max_tokens: int | None
    ignore_eos: bool
    stop: str | Sequence[str] | None
    logprobs: int | None
    template_kwargs: Mapping[str, Any] | None
    preset: str | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repeat_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    seed: int | None


class Request:
    """A request's options, checked and turned into what the generation needs."""

    def __init__(self, options: ChatOptions, tools: tuple[Tool, ...]) -> None:
        unknown = options.keys() - ChatOptions.__annotations__.keys()
        if unknown:
            raise RequestError(f"there is no option '{min(unknown)}'")
        _check_types(options)
        self.options, self._tools = options, tools
        self._budget = options.get("reasoning_budget")
        self.reasoning = bool(options.get("reasoning")) and self._budget != 0
        chosen = {name: options.get(name) for name in PARAMETERS}
        self.sampling = preset(options.get("preset"), reasoning=self.reasoning).changed(**chosen)
        self._choice = _choice(options.get("tool_choice") or "auto", tools)
        self.told = () if self._choice == "none" else tools
        self.constraint = self._constraint()
        self._check_together()
        stop = options.get("stop") or ()
        self.stop = (stop,) if isinstance(stop, str) else tuple(stop)

    def steerings(self, tracker: ThoughtTracker, model: Model) -> list[Steering]:
        """The reasoning controls that were asked for."""
        found: list[Steering] = [Endless(tracker, model.end_tokens)] if self.options.get("ignore_eos") else []
        least = self.options.get("reasoning_minimum")
        if least is not None:
            found.append(ReasoningMinimum(tracker, least, model.tokenize, model.end_tokens))
        most = self._budget
        if most is not None and most > 0:
            message = self.options.get("reasoning_message") or ""
            found.append(ReasoningBudget(tracker, most, model.tokenize, model.text, message))
        strength = self.options.get("thought_switching_penalty")
        if strength:
            span = self.options.get("thought_switching_span") or SWITCH_SPAN
            words = tuple(self.options.get("thought_switching_words") or SWITCH_WORDS)
            found.append(ThoughtSwitchingPenalty(tracker, model.tokenize, strength, span, words))
        return found

    def _check_together(self) -> None:
        """Raises RequestError for options that exclude one another."""
        if self.constraint and self.options.get("ignore_eos"):
            raise RequestError("ignore_eos does not go together with a grammar, which says where the answer ends")
        least, most = self.options.get("reasoning_minimum") or 0, self._budget
        if most is not None and 0 < most < least:
            raise RequestError(f"reasoning_minimum {least} is above reasoning_budget {most}")
        message = self.options.get("reasoning_message") or ""
        found = [marker for marker in ("<", "[|") if marker in message]
        if found:
            raise RequestError(f"reasoning_message has {found[0]!r} in it, which may begin a marker")

    def _constraint(self) -> Constraint | None:
        if self._choice not in ("auto", "none"):
            return self._calls("answer", self._offered())
        form = self.options.get("response_format")
        if form and form.get("type") != "text":
            return Constraint(json_grammar(_response_schema(form)))
        if self._choice == "auto" and self._tools and self.options.get("lazy_grammar"):
            return self._calls("call", self._tools)
        return None

    def _calls(self, begins_at: Any, tools: Sequence[Tool]) -> Constraint:
        parallel = self.options.get("parallel_tool_calls") is not False
        grammar = calls_grammar([(tool.name, tool.schema) for tool in tools], parallel=parallel)
        return Constraint(grammar, CALL if begins_at == "answer" else "", begins_at)

    def _offered(self) -> Sequence[Tool]:
        if self._choice == "required":
            return self._tools
        return [tool for tool in self._tools if tool.name == self._choice]


_BOOL, _TEXT = (bool,), (str,)
_TYPES: dict[str, tuple[type, ...]] = {
    "reasoning": _BOOL,
    "parallel_tool_calls": _BOOL,
    "lazy_grammar": _BOOL,
    "ignore_eos": _BOOL,
    "reasoning_message": _TEXT,
    "preset": _TEXT,
    "tool_choice": (str, Mapping),
    "response_format": (Mapping,),
    "template_kwargs": (Mapping,),
    "stop": (str, list, tuple),
    "thought_switching_words": (list, tuple),
}
_RANGES = {
    "reasoning_budget": (-1, 2**31),
    "reasoning_minimum": (0, 2**31),
    "max_tokens": (1, 2**31),
    "logprobs": (0, 100),
    "thought_switching_span": (1, 2**31),
}


def _check_types(options: ChatOptions) -> None:
    """Every option has a type, and the numbers have bounds; None leaves one out."""
    for name, value in options.items():
        if value is None:
            continue
        if name in _TYPES and not isinstance(value, _TYPES[name]):
            kinds = " or ".join(t.__name__ for t in _TYPES[name])
            raise RequestError(f"{name} is {value!r}", field=name, hint=f"it must be {kinds}")
        if name in _RANGES:
            checked(name, value, *_RANGES[name])
        if isinstance(value, (list, tuple)) and not all(isinstance(item, str) and item for item in value):
            raise RequestError(f"{name} is {value!r}", field=name, hint="it must be a list of texts")
    strength = options.get("thought_switching_penalty") or 0.0
    if not isinstance(strength, (int, float)) or not 0 <= strength <= 1000:
        raise RequestError(
            f"thought_switching_penalty is {strength!r}",
            field="thought_switching_penalty",
            hint="it must be a number from 0 to 1000",
        )


_CONVERSATIONAL = (
    "reasoning",
    "thought_switching",
    "tool_choice",
    "parallel_tool_calls",
    "lazy_grammar",
    "template_kwargs",
)
"""How the options begin that say something about a conversation only."""


def check_completion(options: ChatOptions) -> None:
    """A text that is no conversation can have the other options only.

    Raises:
        RequestError: there is one that says something about a conversation.
    """
    found = [name for name in options if name.startswith(_CONVERSATIONAL)]
    if found:
        raise RequestError(
            f"{found[0]} is for conversations",
            field=found[0],
            hint="a text that is gone on with has none",
        )


def _choice(choice: ToolChoice, tools: Sequence[Tool]) -> str:
    """What is chosen: auto, none, required, or the name of the one tool to call."""
    name: object = choice
    if not isinstance(choice, str):
        function = choice.get("function")
        name = function.get("name") if isinstance(function, Mapping) else None
    if name in ("auto", "none"):
        return str(name)
    if not tools:
        raise RequestError(f"tool_choice is {choice!r}, but no tools are offered", field="tool_choice")
    if name != "required" and name not in [tool.name for tool in tools]:
        offered = ", ".join(tool.name for tool in tools)
        raise RequestError(f"tool_choice is {choice!r}", field="tool_choice", hint=f"offered are {offered}")
    return str(name)


def _response_schema(form: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The schema of OpenAI's response_format; None for any object. llama.cpp's json_object may have one as well."""
    is_object = form.get("type") == "json_object"
    if is_object and form.get("schema") in (None, {}):
        return None
    outer = form if is_object else form.get("json_schema")
    schema = outer.get("schema") if isinstance(outer, Mapping) else None
    if form.get("type") not in ("json_object", "json_schema") or not isinstance(schema, Mapping):
        raise RequestError(
            "response_format must be json_object, or json_schema with json_schema.schema",
            field="response_format",
        )
    return schema
