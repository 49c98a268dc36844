"""What local and remote models share: vocabulary and template, which are here, and what is made of a stream."""

from __future__ import annotations

import threading
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from exaone4_gguf.errors import GGUFError, RequestError
from exaone4_gguf.runtime.answer.reply import Reply
from exaone4_gguf.runtime.answer.voting import Vote, final_answer
from exaone4_gguf.runtime.chat.answer_stream import AnswerStream, Making
from exaone4_gguf.runtime.encode.encoder import Classified, EncodeOptions, Encoder
from exaone4_gguf.runtime.encode.spans import Answer, Tagged
from exaone4_gguf.runtime.encode.texts import Text
from exaone4_gguf.runtime.events import Event, Token, Usage, collect
from exaone4_gguf.runtime.generate.request import ChatOptions, Request
from exaone4_gguf.runtime.llama.api import checked
from exaone4_gguf.runtime.llama.interrupts import in_steps
from exaone4_gguf.runtime.llama.model import DEFAULT, TOOL_USE, Loaded, Model, why_silent
from exaone4_gguf.runtime.tools.tool import Tool, as_tools, with_coerced_arguments

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from exaone4_gguf.runtime.prompt.builder import Prompt, PromptBuilder

    Floats = npt.NDArray[np.float32]


class Conversing(Loaded, ABC):
    """A model of which the vocabulary and the template are here.

    Args:
        model: the file, or its vocabulary alone.
        chat_template: instead of the file's own.

    Raises:
        GGUFError: there is no chat template, and the model could chat.
    """

    def __init__(self, model: Model, chat_template: str | None) -> None:
        self.model = model
        self.silent = why_silent(model)
        """Why the model cannot chat, in one line; None of one that can."""
        self._builder = _prompt_builder(model, chat_template, self.silent)
        self._turn = threading.Lock()
        self._current: Making | None = None
        """The answer whose turn it is."""
        self._last: Making | None = None

    @property
    def name(self) -> str:
        """What the model calls itself; else its file's name."""
        return self.model.metadata.get("general.name") or self.model.path.name

    @property
    def uses_gpu(self) -> bool:
        """Whether layers lie on a GPU."""
        return self.model.uses_gpu

    @property
    @abstractmethod
    def n_ctx(self) -> int:
        """The most tokens of a conversation, or, where the model cannot chat, of a text."""

    @property
    @abstractmethod
    def encoder(self) -> Encoder:
        """What makes vectors and labels of texts."""

    @abstractmethod
    def stream(
        self, messages: Iterable[Any], tools: Iterable[Any] | None = None, **options: Unpack[ChatOptions]
    ) -> AnswerStream[Event]:
        """Answer, as events."""

    @abstractmethod
    def complete(
        self, prompt: str | Sequence[int], *, markers: bool = False, **options: Unpack[ChatOptions]
    ) -> AnswerStream[Event]:
        """Go on with a text, or with token ids, outside of any conversation."""

    @abstractmethod
    def close(self) -> None:
        """Stop what is being answered, and free the model. It cannot be used afterwards."""

    @abstractmethod
    def _check_open(self) -> None:
        """Raises RuntimeFailure where it was closed."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except RequestError:
            if error is None:  # else it has left a stream of its own open
                raise

    def cancel(self) -> None:
        """Stop the answer that is being made, from any thread."""
        answer = self._current
        if answer is not None:
            answer.cancelled.set()

    def prompt(
        self, messages: Iterable[Any], tools: Iterable[Any] | None = None, **options: Unpack[ChatOptions]
    ) -> Prompt:
        """The prompt that a request would be evaluated as."""
        request = Request(options, offered_tools(tools))
        return self._prompt(messages, request)

    def text_prompt(self, prompt: str | Sequence[int], *, markers: bool = False) -> Prompt:
        """The prompt that ``complete`` goes on with.

        Raises:
            Exaone4Error: it is empty, or an id in it is none.
        """
        self._check_open()
        if isinstance(prompt, str):
            made = self._builder.of_text(prompt, markers)
        else:
            made = self._prompt_of_ids(prompt)
        if not made.ids:
            raise RequestError("the prompt is empty")
        return made

    def _prompt_of_ids(self, ids: Sequence[int]) -> Prompt:
        from exaone4_gguf.runtime.prompt.builder import Prompt  # here, as Jinja takes a while to import

        for token in ids:
            checked("a token of the prompt", token, 0, self.model.n_vocab - 1)
        text = b"".join(map(self.model.piece, ids)).decode(errors="replace")
        return Prompt(tuple(ids), text, reasoning_open=False)

    def chat(
        self, messages: Iterable[Any], tools: Iterable[Any] | None = None, **options: Unpack[ChatOptions]
    ) -> Reply:
        """Answer, whole.

        Raises:
            Exaone4Error: as ``stream``.
        """
        offered = offered_tools(tools)
        with self.stream(messages, offered, **options) as answer:
            message = collect(answer)
        return Reply(with_coerced_arguments(message, offered), answer.usage, answer.logprobs)

    def vote(
        self,
        messages: Iterable[Any],
        n: int = 5,
        *,
        normalize: Callable[[str], str] | None = None,
        **options: Unpack[ChatOptions],
    ) -> Vote:
        """Self-consistency: the reply whose final answer most of ``n`` samples share, and all votes.

        Wang et al. 2022, https://arxiv.org/abs/2203.11171. ``normalize`` makes answers comparable; by default the
        last number in them, else their last line.
        """
        if n < 1:
            raise RequestError(f"n is {n!r}", field="n", hint="it must be at least 1")
        listed = list(messages)
        seed = options.pop("seed", None)
        replies = []
        for i in range(n):
            options["seed"] = None if seed is None else seed + i
            replies.append(self.chat(listed, **options))
        answers = [(normalize or final_answer)(reply.content or "") for reply in replies]
        votes = Counter(answers)
        return Vote(replies[answers.index(votes.most_common(1)[0][0])], votes)

    @property
    def usage(self) -> Usage | None:
        """The usage of the last answer that began. It is the answer's own now: ``stream(...).usage``."""
        _warn("usage")
        if self._last is None:
            return None
        return self._last.usage

    @property
    def logprobs(self) -> tuple[Token, ...] | None:
        """The tokens of the last answer that began. They are the answer's own now: ``stream(...).logprobs``."""
        _warn("logprobs")
        if self._last is None:
            return None
        return self._last.logprobs

    def embed(
        self,
        texts: Iterable[str],
        *,
        pooling: str | None = None,
        normalize: bool = True,
        **options: Unpack[EncodeOptions],
    ) -> Floats:
        """A vector for each text, see ``Encoder``; so are the next three."""
        return self.encoder.embed(texts, pooling=pooling, normalize=normalize, **options)

    def classify(self, texts: Iterable[Text], **options: Unpack[EncodeOptions]) -> list[Classified]:
        """The label of each text, or pair of texts."""
        return self.encoder.classify(texts, **options)

    def tag(self, text: str, **options: Unpack[EncodeOptions]) -> Tagged:
        """A label for each token of a text, and the entities that they make."""
        return self.encoder.tag(text, **options)

    def answer(
        self, question: str, context: str, *, max_answer_tokens: int = 15, **options: Unpack[EncodeOptions]
    ) -> Answer:
        """The part of the context that answers the question."""
        return self.encoder.answer(question, context, max_answer_tokens=max_answer_tokens, **options)

    def _in_turn(self, answer: Making, events: Generator[Event]) -> Generator[Event]:
        """An answer, when it is its turn."""
        self._check_thread()
        with self._turn:
            self._check_open()
            self._current = self._last = answer
            try:
                for event in in_steps(events):
                    answer.reader = threading.get_ident()
                    yield event
            finally:
                self._current = answer.reader = None

    def _check_thread(self) -> None:
        """Raises RequestError where this thread would wait for itself."""
        answer = self._current
        if answer is not None and answer.reader == threading.get_ident():
            raise RequestError("a stream of this thread is still open: close it, or read it to its end")

    def _prompt(self, messages: Iterable[Any], request: Request) -> Prompt:
        self._check_open()
        if self.silent:
            raise RequestError(self.silent)
        described = [tool.to_openai() for tool in request.told] or None
        return self._builder.build(
            messages, described, reasoning=request.reasoning, template_kwargs=request.options.get("template_kwargs")
        )


def _warn(name: str) -> None:
    text = f"the model's {name} goes with the next release; the answer that stream() returns has its own"
    warnings.warn(text, DeprecationWarning, stacklevel=3)


def _prompt_builder(model: Model, chat_template: str | None, silent: str | None) -> PromptBuilder:
    from exaone4_gguf.runtime.prompt.builder import PromptBuilder  # here, as Jinja takes a while to import
    from exaone4_gguf.runtime.prompt.template import ChatTemplate

    own = model.chat_templates
    source = "" if silent else chat_template or own.get(DEFAULT)
    if not source and not silent:
        there = ""
        if own:
            there = f"; it has {', '.join(sorted(own))}, and none of them is the default"
        raise GGUFError(f"{model.path}: it has no chat template{there}; give one (chat_template, --chat-template-file)")
    for_tools = None if silent or chat_template else own.get(TOOL_USE)
    return PromptBuilder(
        ChatTemplate(source or ""),
        model.tokenize,
        model.control_texts,
        None if for_tools is None else ChatTemplate(for_tools),
        pre_tokenizer=model.metadata["tokenizer.ggml.pre"],
    )


def offered_tools(tools: Iterable[Any] | None) -> tuple[Tool, ...]:
    """The tools of a request, validated.

    Raises:
        RequestError, ToolError: it is no list, or one is no tool.
    """
    if tools is not None and (isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Iterable)):
        raise RequestError(f"tools is {tools!r}", field="tools", hint="it must be a list of tools")
    return as_tools(tools or ())
