"""``Exaone4``: a conversation with the model, as events or as a whole reply."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from exaone4_gguf.errors import RequestError, RuntimeFailure
from exaone4_gguf.runtime.answer.parser import StreamParser, TextParser
from exaone4_gguf.runtime.answer.stops import StopStrings
from exaone4_gguf.runtime.answer.token_places import TokenSpans
from exaone4_gguf.runtime.chat.answer_stream import AnswerStream, Making
from exaone4_gguf.runtime.chat.conversing import Conversing, offered_tools
from exaone4_gguf.runtime.encode.encoder import Encoder
from exaone4_gguf.runtime.events import Event, Finish, Token, Usage
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
from exaone4_gguf.runtime.llama.interrupts import checkpoint, untorn
from exaone4_gguf.runtime.llama.machine import physical_cores
from exaone4_gguf.runtime.llama.model import Model, check_file
from exaone4_gguf.runtime.text import Utf8Decoder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from exaone4_gguf.runtime.prompt.builder import Prompt

    Floats = npt.NDArray[np.float32]

Parser = Callable[[], StreamParser | TextParser]
"""Makes one: the text is read twice, for its events, and for the control of the thoughts."""

_SILENT_CONTEXT = 256
"""Tokens of a conversation that will not be held."""


class Exaone4(Conversing):
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
        model = Model(path, n_gpu_layers=n_gpu_layers, use_mmap=use_mmap)
        with ExitStack() as opened:  # closed in the order in which they may be, last to first
            opened.callback(model.close)
            super().__init__(model, chat_template)
            self._texts = self._encoder(n_ctx, n_threads, n_batch, flash_attn, head)
            opened.callback(self._texts.close)
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
        self.cancel()
        self._check_thread()
        with self._turn:
            self._free()

    def stream(
        self, messages: Iterable[Any], tools: Iterable[Any] | None = None, **options: Unpack[ChatOptions]
    ) -> AnswerStream[Event]:
        """Answer, as events. Closing it stops the generation; ``usage`` and ``logprobs`` are the answer's own.

        Raises:
            Exaone4Error: a message, a tool or an option is wrong, or the prompt does not fit. The model stays usable.
        """
        request = Request(options, offered_tools(tools))
        prompt = self._prompt(messages, request)
        return self._answer(prompt, request, lambda: _parser(prompt, request))

    def complete(
        self, prompt: str | Sequence[int], *, markers: bool = False, **options: Unpack[ChatOptions]
    ) -> AnswerStream[Event]:
        """Go on with a text, or with token ids, outside of any conversation: the events are content and the end.

        ``markers``: those in the text are the tokens that they name. Without it all of the text is text.

        Raises:
            Exaone4Error: an option is wrong or of conversations only, an id is none, the prompt is empty or too long.
        """
        if self.silent:
            raise RequestError(self.silent)
        check_completion(options)
        request = Request(options, ())
        return self._answer(self.text_prompt(prompt, markers=markers), request, TextParser)

    @property
    def n_ctx(self) -> int:
        """The most tokens of a conversation, or, where the model cannot chat, of a text."""
        if self.silent:
            return self.encoder.n_ctx
        return self.context.n_ctx

    @property
    def encoder(self) -> Encoder:
        """What makes vectors and labels of texts."""
        return self._texts

    def _answer(self, prompt: Prompt, request: Request, parser: Parser) -> AnswerStream[Event]:
        """Raises ContextOverflow where the prompt does not fit."""
        check_fits(prompt.ids, self.context)

        def steps(answer: Making) -> Generator[Event]:
            return self._in_turn(answer, self._made(answer, prompt, request, parser))

        return AnswerStream(steps, Usage(len(prompt.ids), 0, 0, 0, 0.0, 0.0))

    def _check_open(self) -> None:
        if not self._free.alive:
            raise RuntimeFailure("the model is closed")

    def _made(self, answer: Making, prompt: Prompt, request: Request, parser: Parser) -> Generator[Event]:
        with (
            closing(Sampler(self.model, request.sampling)) as sampler,
            self.context.cancelled_by(answer.cancelled),
        ):
            began = time.perf_counter()
            tracker = ThoughtTracker(self.model.tokenize, self.model.text, parser())
            try:
                cached = self.context.evaluate(prompt.ids)
            except Cancelled:
                yield Finish("cancelled", usage=answer.usage)
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

            def measure() -> None:
                seconds = time.perf_counter() - first
                answer.logprobs = None if kept is None else tuple(kept)
                answer.usage = Usage(
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

            try:
                for event in self._parsed(generation, parser(), request, kept):
                    if isinstance(event, Finish):
                        measure()
                        event = replace(event, usage=answer.usage)
                    yield event
            finally:
                measure()

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


def _parser(prompt: Prompt, request: Request) -> StreamParser:
    constraint = request.constraint
    is_held = constraint is not None and constraint.begins_at == "answer"
    return StreamParser(request.told, prompt.reasoning_open, closes_once=is_held)
