"""The bodies of requests: which fields there are, and their types. What they mean is in ``asking.py``.

A field with another type is an error, and so is one of other servers that would change the answer (``unsupported``).
All others are ignored, as OpenAI's clients send many. The runtime looks into messages, tools and schemas.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, NoReturn, TypeVar

from annotated_types import Ge, Le, Len
from pydantic import BaseModel, ConfigDict, Field, create_model

from exaone4_gguf.format.nesting import BODY_LEVELS
from exaone4_gguf.runtime.generate.sampling import PARAMETERS
from exaone4_gguf.runtime.server.errors import Problem
from exaone4_gguf.runtime.server.unsupported import check_supported
from exaone4_gguf.runtime.text import without_lone_surrogates

Count = Annotated[int, Ge(1), Le(128)]
Object = dict[str, Any]
FormT = TypeVar("FormT", bound="Body")


class Body(BaseModel):
    """What the bodies have in common: types are not converted. ``text_field`` holds what the model reads."""

    text_field: ClassVar[str] = ""
    model_config = ConfigDict(strict=True, extra="ignore")


class StreamOptions(Body):
    """What a stream tells besides the answer."""

    include_usage: bool | None = Field(None, description="A last chunk tells the usage.")


def _with_sampling(form: type[FormT]) -> type[FormT]:
    """The form with a field for each parameter of sampling."""
    rows: dict[str, Any] = {name: (row.kind | None, None) for name, row in PARAMETERS.items()}
    return create_model(form.__name__, __base__=form, __doc__=form.__doc__, **rows)


@_with_sampling
class _Sampling(Body):
    """Fields that conversations and texts share; the names of the runtime's own are the runtime's."""

    model: str | None = Field(None, description="Ignored: there is one model.")
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Count | None = Field(None, description="How many answers; they come one after the other.")
    stop: str | list[str] | None = None
    repetition_penalty: float | None = Field(None, description="vLLM's name for repeat_penalty.")
    preset: str | None = None
    ignore_eos: bool | None = None
    max_tokens: int | None = None
    n_predict: int | None = Field(None, description="llama-server's name for max_tokens.")


class Reasoning(Body):
    """OpenRouter's form of what to think. ``exclude`` is not supported, nor are members that are not named here."""

    model_config = ConfigDict(strict=True, extra="allow")

    enabled: bool | None = None
    effort: str | None = None
    max_tokens: int | None = None
    exclude: bool | None = None


class Thinking(Body):
    """Anthropic's form of the same."""

    type: Literal["enabled", "disabled"]
    budget_tokens: int | None = None


class ConversationBody(Body):
    """What a prompt is made of."""

    text_field = "messages"
    messages: list[Object] = Field(examples=[[{"role": "user", "content": "Hello!"}]])
    tools: list[Object] | None = None
    tool_choice: str | Object | None = None
    chat_template_kwargs: Object | None = None
    enable_thinking: bool | None = Field(None, description="Qwen's place for chat_template_kwargs.enable_thinking.")
    thinking: bool | Thinking | None = Field(None, description="Anthropic's and DeepSeek's form.")
    think: bool | str | None = Field(None, description="Ollama's form: whether to think, or the effort.")
    reasoning: bool | Reasoning | None = None
    reasoning_effort: str | None = None
    reasoning_budget: int | None = None
    reasoning_budget_tokens: int | None = Field(None, description="llama-server's name for reasoning_budget.")
    thinking_budget_tokens: int | None = Field(None, description="Its other name.")
    thinking_budget: int | None = Field(None, description="Qwen's name for it.")
    thinking_token_budget: int | None = Field(None, description="vLLM's name for it.")


class ChatBody(ConversationBody, _Sampling):
    """POST /v1/chat/completions."""

    max_completion_tokens: int | None = None
    parallel_tool_calls: bool | None = None
    lazy_grammar: bool | None = None
    response_format: Object | None = None
    json_schema: Object | None = Field(None, description="llama-server's short form of response_format.")
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Ge(0), Le(20)] | None = None
    include_reasoning: bool | None = Field(
        None, description="true: thoughts are told as `reasoning` too, as OpenRouter has it; false: not at all."
    )
    reasoning_message: str | None = None
    reasoning_minimum: int | None = None
    thought_switching_penalty: float | None = None
    thought_switching_words: list[str] | None = None
    thought_switching_span: int | None = None


class CompletionBody(_Sampling):
    """POST /v1/completions."""

    text_field = "prompt"
    prompt: (
        str
        | Annotated[list[str], Len(1, 128)]
        | Annotated[list[int], Len(1)]
        | Annotated[list[Annotated[list[int], Len(1)]], Len(1, 128)]
    ) = Field(examples=["Hello!"], description="Texts, or ids of tokens.")
    logprobs: Annotated[int, Ge(0), Le(20)] | None = None
    echo: bool | None = None
    suffix: str | None = Field(None, description="Not supported: refused unless it is empty.")
    best_of: int | None = Field(None, description="Not supported: refused unless it is n.")
    parse_special: bool | None = Field(None, description="Markers in the prompt are control tokens.")


class TokenizeBody(Body):
    """POST /tokenize."""

    text_field = "content"
    content: str = Field(examples=["Hello!"])
    add_special: bool | None = Field(None, description="Changes nothing: EXAONE 4 adds no tokens.")
    parse_special: bool | None = Field(None, description="Markers are the tokens that they name; true by default.")
    with_pieces: bool | None = None


class _Judging(Body):
    """How texts are read that are judged, not talked with."""

    text_field = "input"
    model: str | None = Field(None, description="Ignored: there is one model.")
    stride: int | None = Field(None, description="Cut long texts into windows that share this many tokens.")
    max_length: int | None = Field(None, description="The most tokens of a window.")
    control: bool | None = Field(None, description="Read control tokens in the texts as such.")


class EmbeddingBody(_Judging):
    """POST /v1/embeddings."""

    input: (
        str
        | Annotated[list[str], Len(1, 2048)]
        | Annotated[list[int], Len(1)]
        | Annotated[list[Annotated[list[int], Len(1)]], Len(1, 2048)]
    ) = Field(examples=["Hello!"], description="Texts; token ids are refused.")
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, description="Not supported: refused unless it is the model's.")
    pooling: str | None = Field(None, description="mean, cls or last; by default the file's.")
    normalize: bool | None = Field(None, description="To a length of 1; true by default.")


class ClassifyBody(_Judging):
    """POST /v1/classify."""

    input: str | Annotated[list[str | Annotated[list[str], Len(2, 2)]], Len(1, 2048)] = Field(
        examples=["I like it."], description="Texts, or pairs of texts."
    )


BODIES: tuple[type[Body], ...] = (
    ChatBody,
    CompletionBody,
    ConversationBody,
    TokenizeBody,
    EmbeddingBody,
    ClassifyBody,
)


def parsed(raw: bytes, form: type[FormT]) -> FormT:
    """The body in its form.

    Raises:
        Problem: it is not JSON, nested too deeply, or has a field that is not supported.
        pydantic.ValidationError: a field has another type.
    """
    try:
        text = without_lone_surrogates(raw.decode("utf-8-sig"))
        value = json.loads(text, parse_constant=_not_json)
    except RecursionError:
        value = None
        _refuse_depth()
    except ValueError as e:
        raise Problem(400, f"the body is not JSON: {e}", code="invalid_json") from None
    if _is_deeper(value, BODY_LEVELS):
        _refuse_depth()
    body = form.model_validate(value)
    check_supported(value, form.model_fields)
    return body


def _refuse_depth() -> NoReturn:
    raise Problem(400, f"the body is nested deeper than {BODY_LEVELS}", code="too_deeply_nested")


def _not_json(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _is_deeper(value: Any, most: int) -> bool:
    """Whether lists and objects are nested deeper than that, level by level so that nothing overflows."""
    level = [value]
    for _ in range(most):
        level = [item for each in level for item in _items(each)]
        if not level:
            return False
    return True


def _items(value: Any) -> list[Any]:
    items: Iterable[Any] = ()
    if isinstance(value, list):
        items = value
    elif isinstance(value, dict):
        items = value.values()
    return [item for item in items if isinstance(item, list | dict)]
