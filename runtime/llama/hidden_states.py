"""llama.cpp as an encoder: the hidden states after the last norm, of many sequences at once, without padding.

llama.cpp computes logits of the vocabulary for each token whose hidden state is asked for, which costs a fifth of the
1.2B's time and is not looked at; the evaluation is stopped at the norm. Where a llama.cpp names it otherwise, it goes
on to the end, and the hidden states are the same.

Flash attention rounds to 16 bits, whatever the cache's type (build_attn_mha, llama-graph.cpp). That is finer than the
weights of all files but those in F32, which are evaluated without it, and with a cache in F32.
"""

from __future__ import annotations

import ctypes
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from exaone4_gguf.errors import RuntimeFailure
from exaone4_gguf.runtime.llama.api import checked, last_error, load_api
from exaone4_gguf.runtime.llama.context import MOST_CONTEXT, MOST_THREADS
from exaone4_gguf.runtime.llama.interrupts import awaited, checkpoint, untorn
from exaone4_gguf.runtime.llama.model import Model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

_LAST = (b"result_norm", b"result_embd_pooled")
"""What llama.cpp calls the hidden states after the last norm: in the graph, and where they are to be given out."""

_STEP = 60
"""Tokens evaluated at once; from 64 on (GGML_FA_TILE_Q, ggml-cpu) attention is computed tile by tile."""

_MOST_EXACT = 4096
"""Tokens of a sequence up to which an F32 file goes without flash attention: its room grows with them."""

_MOST_SEQUENCES = 48  # in one evaluation; llama.cpp keeps room for an output of each


@dataclass(frozen=True)
class Rows:
    """Hidden states of sequence ``index``, of shape (tokens, width), from its token ``first`` on."""

    index: int
    first: int
    states: Floats


class HiddenStates:
    """Evaluates sequences from their beginnings, for one caller at a time.

    The cache grows to the longest sequence that has come, up to ``n_ctx``.

    Sequences that fit ``n_batch`` are evaluated in steps of fewer than 64 tokens: ggml's attention then goes through
    each token's own sequence and nothing else, so that the results are those of the sequence alone, to the bit;
    of a file in F32, but for the order in which numbers are added.

    Args:
        n_ctx: the most tokens in a sequence.
        n_batch: the most tokens in the cache together, and of a longer sequence, evaluated at once.

    Raises:
        RequestError: a number is out of its bounds.
    """

    def __init__(
        self, model: Model, *, n_ctx: int, n_threads: int, n_batch: int = 512, flash_attn: bool = True
    ) -> None:
        self.n_ctx = checked("n_ctx", n_ctx, 1, MOST_CONTEXT)
        self._n_batch = checked("n_batch", n_batch, 1, MOST_CONTEXT)
        self._n_threads = checked("n_threads", n_threads, 1, MOST_THREADS)
        self._flash_attn = flash_attn
        self._exact = model.metadata.get("general.file_type") == _ALL_F32
        self._model = model
        self._short: _Context | None = None
        self._long: _Context | None = None

    @untorn()
    def close(self) -> None:
        """Free the caches."""
        for context in (self._short, self._long):
            if context:
                context.close()
        self._short = self._long = None

    def run(self, sequences: Sequence[Sequence[int]]) -> Generator[Rows, None, None]:
        """The hidden states of every token, in the order of the sequences, each sequence in one or more pieces.

        Raises:
            RuntimeFailure: llama.cpp failed.
        """
        for group in _groups([len(s) for s in sequences], self._n_batch):
            tokens = [
                _Token(i, slot, position, token)
                for slot, i in enumerate(group)
                for position, token in enumerate(sequences[i])
            ]
            context = self._for(len(tokens))
            context.clear()
            for step in _steps(tokens, context.n_batch, pad=context is self._short):
                yield from context.evaluate(step)

    @untorn()
    def _for(self, cells: int) -> _Context:
        if cells > self._n_batch:
            return self._for_long(cells)
        if self._short is None:
            step = self._n_batch if self._model.uses_gpu else min(self._n_batch, _STEP)
            self._short = self._new(self._n_batch + _FOUR, step)
        return self._short

    def _for_long(self, cells: int) -> _Context:
        if self._long is None or self._long.n_ctx < cells:
            if self._long:
                self._long.close()
                self._long = None
            self._long = self._new(1 << (cells - 1).bit_length(), self._n_batch)
        return self._long

    def _new(self, n_ctx: int, step: int) -> _Context:
        exact = self._exact and n_ctx <= _MOST_EXACT
        return _Context(self._model, n_ctx, step, self._n_threads, self._flash_attn and not exact, exact)


def _groups(lengths: Sequence[int], most: int) -> Iterator[list[int]]:
    """Which sequences are evaluated together: neighbours, as many as fit; a longer one alone."""
    group: list[int] = []
    size = 0
    for i, length in enumerate(lengths):
        if group and (size + length > most or len(group) == _MOST_SEQUENCES):
            yield group
            group, size = [], 0
        group.append(i)
        size += length
    if group:
        yield group


def _steps(tokens: list[_Token], most: int, pad: bool) -> Iterator[list[_Token]]:
    """The tokens in steps of at most that many, the last filled up to a multiple of four.

    ggml multiplies four tokens at once, and what is left over in other ways, with other roundings.
    """
    for first in range(0, len(tokens), most):
        step = tokens[first : first + most]
        missing = min(-len(step) % _FOUR, most - len(step)) if pad else 0
        yield step + [_Token(_NOBODY, _MOST_SEQUENCES, j, step[0].id) for j in range(missing)]


_ALL_F32 = "0"  # LLAMA_FTYPE_ALL_F32
_FOUR = 4
_NOBODY = -1
"""The index of a sequence that is only there for others' company."""


@dataclass(frozen=True, slots=True)
class _Token:
    """A token to evaluate: of which sequence, under which number in llama.cpp, where in it, and its id."""

    index: int
    slot: int
    position: int
    id: int


class _Context:
    """llama.cpp's, with its cache for ``n_ctx`` tokens of all sequences together."""

    def __init__(self, model: Model, n_ctx: int, n_batch: int, n_threads: int, flash_attn: bool, exact: bool) -> None:
        self._api = api = load_api()
        self.n_ctx, self.n_batch = n_ctx, n_batch
        self._width = model.n_embd
        self._stop = api.ggml_backend_sched_eval_callback(_stopper())
        self._abort = api.ggml_abort_callback(lambda data: awaited() > 0)
        params = api.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = n_ctx, n_batch, n_batch
        params.n_seq_max, params.kv_unified = min(_MOST_SEQUENCES + 1, n_batch), True
        params.n_threads = params.n_threads_batch = n_threads
        params.embeddings, params.pooling_type = True, api.LLAMA_POOLING_TYPE_NONE
        params.attention_type = api.LLAMA_ATTENTION_TYPE_CAUSAL
        if flash_attn:
            params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_AUTO
        else:
            params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        if exact:
            params.type_k = params.type_v = api.GGML_TYPE_F32
        params.swa_full = True
        params.cb_eval, params.abort_callback = self._stop, self._abort
        self._pointer = api.llama_init_from_model(model.pointer, params)
        if not self._pointer:
            raise RuntimeFailure(f"llama.cpp cannot make a context of {n_ctx} tokens: {last_error()}")
        self._batch = api.llama_batch_init(n_batch, 0, 1)
        self._memory = api.llama_get_memory(self._pointer)

    def close(self) -> None:
        """Free it."""
        self._api.llama_batch_free(self._batch)
        self._api.llama_free(self._pointer)

    def clear(self) -> None:
        """Forget all sequences."""
        self._api.llama_memory_clear(self._memory, False)

    def evaluate(self, tokens: Sequence[_Token]) -> Iterator[Rows]:
        """Their hidden states, a piece for each sequence."""
        states = self._evaluated(tokens)
        at = 0
        for index, own in groupby(tokens, key=lambda token: token.index):
            first, *more = own
            if index != _NOBODY:
                yield Rows(index, first.position, states[at : at + 1 + len(more)])
            at += 1 + len(more)

    @untorn()
    def _evaluated(self, tokens: Sequence[_Token]) -> Floats:
        self._fill(tokens)
        result = self._api.llama_decode(self._pointer, self._batch)
        if result != 0:
            checkpoint()
            raise RuntimeFailure(f"llama.cpp cannot evaluate (code {result}): {last_error()}")
        return self._states(len(tokens))

    def _fill(self, tokens: Sequence[_Token]) -> None:
        batch = self._batch
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.logits[i] = token.id, token.position, 1
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, token.slot

    def _states(self, count: int) -> Floats:
        import numpy as np

        pointer = self._api.llama_get_embeddings(self._pointer)
        if not pointer:
            raise RuntimeFailure(f"llama.cpp gives no hidden states: {last_error()}")
        return np.ctypeslib.as_array(pointer, shape=(count, self._width)).copy()


def _stopper() -> Any:
    """The callback that ends the evaluation after the last norm.

    ggml asks it of each tensor whether it is of interest, and of that one, when it is computed, whether to go on.
    """
    name_of = load_api().llama_cpp._lib.ggml_get_name
    name_of.argtypes, name_of.restype = (ctypes.c_void_p,), ctypes.c_char_p

    def stop(tensor: int, ask: bool, data: Any) -> bool:
        return ask and name_of(tensor) in _LAST

    return stop
