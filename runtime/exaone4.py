"""``Exaone4``: a conversation with the model, as events or as a whole reply."""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from exaone4_gguf.errors import GGUFError, RequestError, RuntimeFailure
from exaone4_gguf.runtime.answer.parser import StreamParser, TextParser
from exaone4_gguf.runtime.answer.reply import Reply
from exaone4_gguf.runtime.answer.stops import StopStrings
from exaone4_gguf.runtime.answer.token_places import TokenSpans
from exaone4_gguf.runtime.answer.voting import Vote, final_answer
from exaone4_gguf.runtime.encode.encoder import Classified, EncodeOptions, Encoder
from exaone4_gguf.runtime.encode.spans import Answer, Tagged
from exaone4_gguf.runtime.encode.texts import Text
from exaone4_gguf.runtime.events import Event, Finish, Token, Usage, collect
from exaone4_gguf.runtime.generate.drafting.draft import Drafter
from exaone4_gguf.runtime.generate.drafting.draft_model import DraftModel, load_draft_model
from exaone4_gguf.runtime.generate.drafting.lookahead import Lookahead
from exaone4_gguf.runtime.generate.drafting.lookup import PromptLookup
from exaone4_gguf.runtime.generate.drafting.pace import SIZES, Pace
from exaone4_gguf.runtime.generate.generation import Generation, check_fits
from exaone4_gguf.runtime.generate.request import ChatOptions, Request, check_completion
from exaone4_gguf.runtime.generate.sampling import Sampler
from exaone4_gguf.runtime.generate.steering import ThoughtTracker
from exaone4_gguf.runtime.llama.api import checked
from exaone4_gguf.runtime.llama.context import Cancelled, Context, default_context
from exaone4_gguf.runtime.llama.interrupts import checkpoint, in_steps, untorn
from exaone4_gguf.runtime.llama.machine import physical_cores
from exaone4_gguf.runtime.llama.model import DEFAULT, TOOL_USE, Loaded, Model, check_file, why_silent
from exaone4_gguf.runtime.text import Utf8Decoder
from exaone4_gguf.runtime.tools.tool import Tool, as_tools, with_coerced_arguments

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from exaone4_gguf.runtime.prompt.builder import Prompt, PromptBuilder

    Floats = npt.NDArray[np.float32]

Parser = Callable[[], StreamParser | TextParser]
"""Makes one: the text is read twice, for its events, and for the control of the thoughts."""

_SILENT_CONTEXT = 256
"""Tokens of a conversation that will not be held."""


class Exaone4(Loaded):
    """An EXAONE 4 model in a GGUF file, ready to talk. One conversation runs at a time; others wait.

    One of transformers' other classes, which has no output for text, does not talk: it embeds and classifies.

    Args:
        path: the GGUF file.
        n_ctx: context in tokens; by default what fits memory, up to the trained length.
        n_threads: by default the physical cores.
        n_gpu_layers: layers on the GPU; by default all, where llama.cpp was built for one.
        chat_template: instead of the file's own.
        swa_full: see ``Context``.
        head: a classifier's, see ``Encoder``.
        draft: a smaller model with the same vocabulary, which guesses tokens ahead of this one.
        draft_gpu_layers: its layers on the GPU; by default all, where llama.cpp was built for one.
        lookup: guess from what was said before.
        draft_max: the most guesses at a time. How many there are is decided by what they bring.

    Raises:
        GGUFError: not a file that llama.cpp runs right, or one without a chat template; a draft model that does not
            belong to it.
        RuntimeFailure: llama.cpp cannot load it.
    """

    @untorn()
    def __init__(
        self,
        path: str | Path,
        *,
        n_ctx: int | None = None,
        n_threads: int | None = None,
        n_gpu_layers: int = -1,
        n_batch: int = 512,
        flash_attn: bool = True,
        type_k: int | None = None,
        type_v: int | None = None,
        use_mmap: bool = True,
        swa_full: bool = True,
        chat_template: str | None = None,
        head: str | Path | None = None,
        draft: str | Path | None = None,
        draft_gpu_layers: int | None = None,
        lookup: bool = False,
        draft_max: int | None = None,
    ) -> None:
        self._draft_max = SIZES[-1] if draft_max is None else checked("draft_max", draft_max, 1, SIZES[-1])
        if draft is not None:
            check_file(Path(draft))  # the model takes its time to load
        self.model = Model(path, n_gpu_layers=n_gpu_layers, use_mmap=use_mmap)
        with ExitStack() as opened:  # closed in the order in which they may be, last to first
            opened.callback(self.model.close)
            self._texts = self._encoder(n_ctx, n_threads, n_batch, flash_attn, head)
            opened.callback(self._texts.close)
            self.silent = why_silent(self.model)
            """Why the model cannot chat, in one line; None of one that can."""
            self._builder = self._prompt_builder(chat_template)
            small = []
            if draft is not None:
                layers = -1 if draft_gpu_layers is None else draft_gpu_layers
                small = [load_draft_model(draft, self.model, n_gpu_layers=layers)]
                opened.callback(small[0].close)
            self.context = Context(
                self.model,
                n_ctx=_SILENT_CONTEXT if self.silent else n_ctx or default_context(self.model, *small),
                n_threads=n_threads or physical_cores(),
                n_batch=n_batch,
                flash_attn=flash_attn,
                type_k=type_k,
                type_v=type_v,
                swa_full=swa_full,
            )
            opened.callback(self.context.close)
            self._drafters: list[Drafter] = [PromptLookup()] if lookup else []
            for each in small:
                drafter = DraftModel(each, self.context, flash_attn=flash_attn)
                opened.callback(drafter.close)
                self._drafters.append(drafter)
            checkpoint()
            self._free = weakref.finalize(self, untorn()(opened.pop_all().close))
            """Also when the last reference goes, so that a forgotten ``close`` leaks nothing."""
        self._turn = threading.Lock()
        self._reader: int | None = None
        """The thread that reads the stream which is being made, if any is."""
        self.usage: Usage | None = None
        self.logprobs: tuple[Token, ...] | None = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {str(self.model.path)!r}: {self._state()}>"

    def _state(self) -> str:
        """In words, for people."""
        try:
            self._check_open()
        except RuntimeFailure:
            return "closed"
        name = self.model.metadata.get("general.name") or "without a name"
        context = f"a context of {self.n_ctx:,} tokens"
        return f"{name}, {context}" + (", no output for text" if self.silent else "")

    def close(self) -> None:
        """Stop what is being answered, and free the model. It cannot be used afterwards."""
        self.context.cancel()
        if self._reader == threading.get_ident():
            raise RequestError("a stream of this thread is still open: close it, or read it to its end")
        with self._turn:
            self._free()

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
        self.context.cancel()

    def prompt(
        self, messages: Iterable[Any], tools: Iterable[Any] | None = None, **options: Unpack[ChatOptions]
    ) -> Prompt:
        """The prompt that a request would be evaluated as."""
        request = Request(options, _offered(tools))
        return self._prompt(messages, request)

    def stream(
        self, messages: Iterable[Any], tools: Iterable[Any] | None = None, **options: Unpack[ChatOptions]
    ) -> Generator[Event]:
        """Answer, as events. Closing the iterator stops the generation; ``usage`` and ``logprobs`` tell of the last.

        Raises:
            Exaone4Error: a message, a tool or an option is wrong, or the prompt does not fit. The model stays usable.
        """
        request = Request(options, _offered(tools))
        prompt = self._prompt(messages, request)
        check_fits(prompt.ids, self.context)
        return self._events(self._answer(prompt, request, lambda: _parser(prompt, request)))

    def complete(
        self, prompt: str | Sequence[int], *, markers: bool = False, **options: Unpack[ChatOptions]
    ) -> Generator[Event]:
        """Go on with a text, or with token ids, outside of any conversation: the events are content and the end.

        ``markers``: those in the text are the tokens that they name. Without it all of the text is text.

        Raises:
            Exaone4Error: an option is wrong or of conversations only, an id is none, the prompt is empty or too long.
        """
        if self.silent:
            raise RequestError(self.silent)
        check_completion(options)
        request = Request(options, ())
        made = self.text_prompt(prompt, markers=markers)
        check_fits(made.ids, self.context)
        return self._events(self._answer(made, request, TextParser))

    def text_prompt(self, prompt: str | Sequence[int], *, markers: bool = False) -> Prompt:
        """The prompt that ``complete`` goes on with.

        Raises:
            Exaone4Error: it is empty, or an id in it is none.
        """
        self._check_open()
        made = self._builder.of_text(prompt, markers) if isinstance(prompt, str) else self._prompt_of_ids(prompt)
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
        offered = _offered(tools)
        events = self.stream(messages, offered, **options)
        try:
            message = collect(events)
        finally:
            events.close()
        assert self.usage is not None
        return Reply(with_coerced_arguments(message, offered), self.usage, self.logprobs)

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
            raise RequestError(f"n is {n!r}; it must be at least 1")
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
    def n_ctx(self) -> int:
        """The most tokens of a conversation, or, where the model cannot chat, of a text."""
        return self.encoder.n_ctx if self.silent else self.context.n_ctx

    @property
    def encoder(self) -> Encoder:
        """What makes vectors and labels of texts."""
        return self._texts

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

    def _prompt(self, messages: Iterable[Any], request: Request) -> Prompt:
        self._check_open()
        if self.silent:
            raise RequestError(self.silent)
        described = [tool.to_openai() for tool in request.told] or None
        return self._builder.build(
            messages, described, reasoning=request.reasoning, template_kwargs=request.options.get("template_kwargs")
        )

    def _events(self, answer: Generator[Event]) -> Generator[Event]:
        """An answer, when it is its turn."""
        if self._reader == threading.get_ident():
            raise RequestError("a stream of this thread is still open: close it, or read it to its end")
        with self._turn:
            self._check_open()
            try:
                for event in in_steps(answer):
                    self._reader = threading.get_ident()
                    yield event
            finally:
                self._reader = None

    def _check_open(self) -> None:
        if not self._free.alive:
            raise RuntimeFailure("the model is closed")

    def _answer(self, prompt: Prompt, request: Request, parser: Parser) -> Generator[Event]:
        with closing(Sampler(self.model, request.sampling)) as sampler:
            self.usage, self.logprobs = Usage(len(prompt.ids), 0, 0, 0, 0.0, 0.0), None
            self.context.start()
            began = time.perf_counter()
            tracker = ThoughtTracker(self.model.tokenize, self.model.text, parser())
            try:
                cached = self.context.evaluate(prompt.ids)
            except Cancelled:
                yield Finish("cancelled")
                return
            first = time.perf_counter()
            ahead = Lookahead(self.context, self._drafters, Pace(self._draft_max))
            generation = Generation(
                self.model,
                ahead,
                sampler,
                tracker,
                steerings=request.steerings(tracker, self.model),
                constraint=request.constraint,
                max_tokens=request.options.get("max_tokens"),
                top_logprobs=request.options.get("logprobs"),
            )
            kept: list[Token] | None = None if request.options.get("logprobs") is None else []
            try:
                yield from self._parsed(generation, parser(), request, kept)
            finally:
                self.logprobs = None if kept is None else tuple(kept)
                seconds = time.perf_counter() - first
                self.usage = Usage(
                    prompt_tokens=len(prompt.ids),
                    cached_tokens=cached,
                    completion_tokens=generation.n_tokens,
                    reasoning_tokens=tracker.count,
                    prompt_seconds=first - began,
                    seconds=seconds,
                    drafted_tokens=ahead.gain.drafted,
                    accepted_tokens=ahead.gain.accepted,
                    speedup=ahead.gain.speedup(seconds),
                )

    def _parsed(
        self, generation: Generation, parser: StreamParser | TextParser, request: Request, kept: list[Token] | None
    ) -> Iterator[Event]:
        """Tokens -> text -> events, until a stop string, the end, or the limit."""
        decoder, stops, spans = Utf8Decoder(), StopStrings(request.stop), TokenSpans()
        for token in generation:
            text = decoder.decode(token.text)
            if kept is not None:
                kept.append(token)
                spans.came(token, text)
            for event in parser.feed(text):
                yield from map(spans.told, stops.pass_on(event))
                if stops.hit:
                    yield Finish("stop")
                    return
        reason = generation.finish_reason
        for event in (*parser.feed(decoder.finish()), *parser.finish(reason)):
            yield from map(spans.told, stops.pass_on(event))

    def _encoder(
        self, n_ctx: int | None, n_threads: int | None, n_batch: int, flash_attn: bool, head: str | Path | None
    ) -> Encoder:
        """For texts; it has a cache of its own, from its first text on."""
        most = n_ctx or default_context(self.model)
        return Encoder(self.model, n_ctx=most, n_threads=n_threads, n_batch=n_batch, flash_attn=flash_attn, head=head)

    def _prompt_builder(self, chat_template: str | None) -> PromptBuilder:
        from exaone4_gguf.runtime.prompt.builder import PromptBuilder  # here, as Jinja takes a while to import
        from exaone4_gguf.runtime.prompt.template import ChatTemplate

        own = self.model.chat_templates
        source = "" if self.silent else chat_template or own.get(DEFAULT)
        if not source and not self.silent:
            there = f"; it has {', '.join(sorted(own))}, and none of them is the default" if own else ""
            raise GGUFError(
                f"{self.model.path}: it has no chat template{there}; give one (chat_template, --chat-template-file)"
            )
        for_tools = None if self.silent or chat_template else own.get(TOOL_USE)
        return PromptBuilder(
            ChatTemplate(source or ""),
            self.model.tokenize,
            self.model.control_texts,
            None if for_tools is None else ChatTemplate(for_tools),
            pre_tokenizer=self.model.metadata["tokenizer.ggml.pre"],
        )


def _parser(prompt: Prompt, request: Request) -> StreamParser:
    constraint = request.constraint
    is_held = constraint is not None and constraint.begins_at == "answer"
    return StreamParser(request.told, prompt.reasoning_open, closes_once=is_held)


def _offered(tools: Iterable[Any] | None) -> tuple[Tool, ...]:
    if tools is not None and (isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Iterable)):
        raise RequestError(f"tools is {tools!r}; it must be a list of tools")
    return as_tools(tools or ())
