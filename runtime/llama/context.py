"""The tokens that llama.cpp has evaluated, and the logits after them: a cache that is never wrong."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from exaone4_gguf.errors import RequestError, RuntimeFailure
from exaone4_gguf.format.keys import ARCHITECTURE, CACHE_TYPES
from exaone4_gguf.runtime.llama.api import checked, last_error, load_api
from exaone4_gguf.runtime.llama.interrupts import Flag, awaited, checkpoint, untorn
from exaone4_gguf.runtime.llama.machine import available_memory, fitting_context
from exaone4_gguf.runtime.llama.model import Model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Logits = npt.NDArray[np.float32]

MOST_CONTEXT = 1 << 24
MOST_THREADS = 512  # GGML_MAX_N_THREADS
_ABORTED = 2  # llama_decode's result when the abort callback said so


def default_context(model: Model, *beside: Model) -> int:
    """The largest context, in tokens, whose caches fit memory beside the weights; at most the trained length.

    Args:
        beside: models that have a cache of the same length.
    """
    models = (model, *beside)
    weights = sum(m.path.stat().st_size for m in models)
    return fitting_context(model.context_length, sum(map(_cache_bytes, models)), weights, available_memory())


def _cache_bytes(model: Model) -> int:
    """Of the keys and values of a token, in F16."""
    names = ("attention.head_count_kv", "embedding_length", "attention.head_count")
    kv_heads, width, heads = (int(model.metadata[f"{ARCHITECTURE}.{name}"]) for name in names)
    key_length = int(model.metadata.get(f"{ARCHITECTURE}.attention.key_length", width // heads))
    return 2 * 2 * kv_heads * key_length * model.n_layers


class Cancelled(Exception):
    """The evaluation was stopped from another thread; what had been evaluated is kept."""


class Context:
    """One sequence of tokens with its KV cache.

    ``tokens`` are those in the cache. ``evaluate`` keeps the prefix that a new prompt shares with them.

    Args:
        n_ctx: how many tokens fit.
        n_threads: threads for single tokens; ``n_threads_batch`` for prompts.
        n_batch: tokens evaluated at once.
        flash_attn: use flash attention.
        swa_full: keep all cells of sliding-window layers. It takes memory, but lets a hybrid go back in a
            conversation without evaluating it anew.
        beside: the context that this one guesses for: what cancels that cancels this.

    Raises:
        RuntimeFailure: llama.cpp cannot make a context of that size.
    """

    @untorn()
    def __init__(
        self,
        model: Model,
        *,
        n_ctx: int,
        n_threads: int,
        n_threads_batch: int | None = None,
        n_batch: int = 512,
        flash_attn: bool = True,
        type_k: int | None = None,
        type_v: int | None = None,
        swa_full: bool = True,
        beside: Context | None = None,
    ) -> None:
        self._api = api = load_api()
        self._model = model
        checked("n_ctx", n_ctx, 1, MOST_CONTEXT)
        checked("n_batch", n_batch, 1, MOST_CONTEXT)
        for threads in (n_threads, n_threads_batch or n_threads):
            checked("n_threads", threads, 1, MOST_THREADS)
        for cache_type in (type_k, type_v):
            if cache_type is not None and cache_type not in CACHE_TYPES.values():
                raise RequestError(f"the cache cannot have type {cache_type!r}; ggml's numbers: {CACHE_TYPES}")
        self._cancelled: Flag | None = None
        self._beside = beside
        self.n_ctx, self.n_threads = n_ctx, n_threads
        self._n_batch = min(n_batch, n_ctx)
        params = api.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = params.n_ubatch = self._n_batch
        params.n_threads = n_threads
        params.n_threads_batch = n_threads_batch or n_threads
        if flash_attn:
            params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_AUTO
        else:
            params.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.type_k = params.type_k if type_k is None else type_k
        params.type_v = params.type_v if type_v is None else type_v
        params.swa_full = swa_full
        self.pointer = api.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise RuntimeFailure(f"llama.cpp cannot make a context of {n_ctx} tokens: {last_error()}")
        self._memory = api.llama_get_memory(self.pointer)
        self._window: int = api.llama_model_n_swa(model.pointer)
        self._abort = api.ggml_abort_callback(lambda data: self.is_cancelled or awaited() > 0)
        api.llama_set_abort_callback(self.pointer, self._abort, ctypes.c_void_p(0))
        self.tokens: list[int] = []

    @untorn()
    def close(self) -> None:
        """Free the cache."""
        if self.pointer:
            self._api.llama_free(self.pointer)
            self.pointer = None

    @contextmanager
    def cancelled_by(self, flag: Flag) -> Iterator[None]:
        """While this lasts, evaluations stop once the flag is set, by whichever thread, before or meanwhile."""
        self._cancelled = flag
        try:
            yield
        finally:
            self._cancelled = None

    @property
    def is_cancelled(self) -> bool:
        """Whether evaluations are to stop."""
        context = self._beside or self
        return context._cancelled is not None and context._cancelled.is_set()

    def evaluate(self, prompt: Sequence[int], progress: Callable[[int], None] | None = None) -> int:
        """Make the cache hold exactly ``prompt``, so that ``logits`` are those after it.

        Returns:
            How many of its tokens were in the cache already.

        Raises:
            Cancelled: as ``cancelled_by`` has it.
            RuntimeFailure: llama.cpp failed.
        """
        kept = self._keep(prompt)
        for first in range(kept, len(prompt), self._n_batch):
            self.append(prompt[first : first + self._n_batch])
            if progress:
                progress(len(self.tokens))
        return kept

    @untorn()
    def append(self, tokens: Sequence[int], *, all_logits: bool = False) -> None:
        """Evaluate tokens after those in the cache; at most ``n_batch`` of them.

        Args:
            all_logits: compute those after each of the tokens, for ``last_logits``.
        """
        array = (self._api.llama_token * len(tokens))(*tokens)
        batch = self._api.llama_batch_get_one(array, len(tokens))
        if all_logits:
            batch.logits = (ctypes.c_int8 * len(tokens))(*[1] * len(tokens))
        result = self._api.llama_decode(self.pointer, batch)
        if result == 0:
            self.tokens.extend(tokens)
            return
        self._remove_from(len(self.tokens))
        if result == _ABORTED:
            checkpoint()
            raise Cancelled
        raise RuntimeFailure(f"llama.cpp cannot evaluate (code {result}): {last_error()}")

    def rewind(self, n_tokens: int) -> None:
        """Forget all but the first ``n_tokens``; where a window's cells are gone, these are evaluated anew."""
        if n_tokens >= len(self.tokens):
            return
        kept = self.tokens[:n_tokens]
        if self._shorten(n_tokens) < n_tokens:
            self.evaluate(kept)

    @property
    def logits(self) -> Logits:
        """The logits after the last token, of shape (n_vocab,): llama.cpp's own memory, until the next token."""
        import numpy as np  # here, as importing it takes a tenth of a second

        pointer = self._api.llama_get_logits_ith(self.pointer, -1)
        return np.ctypeslib.as_array(pointer, shape=(self._model.n_vocab,))

    def last_logits(self, n: int) -> Logits:
        """The logits after each of the last ``n`` tokens, of shape (n, n_vocab): llama.cpp's own memory.

        They are there only if ``all_logits`` asked for them, and until the next token.
        """
        import numpy as np

        return np.ctypeslib.as_array(self._api.llama_get_logits(self.pointer), shape=(n, self._model.n_vocab))

    def _keep(self, prompt: Sequence[int]) -> int:
        """Shorten the cache to what it shares with the prompt; the last token is evaluated for its logits."""
        shared = _common_prefix(self.tokens, prompt)
        return self._shorten(min(shared, len(prompt) - 1))

    def _shorten(self, n_tokens: int) -> int:
        """Remove what comes after the first ``n_tokens``; how many are left, which may be none."""
        kept = self._reachable(n_tokens)
        if kept < len(self.tokens) and not self._remove_from(kept):
            self._clear()
            return 0
        return kept

    def _reachable(self, position: int) -> int:
        """Where to go on from: a window's cells before ``position`` may be gone, then it is the beginning.

        llama.cpp says True to a removal all the same, and the next logits would be wrong; llama-server asks
        for the smallest position as we do (tools/server/server-context.cpp, pos_min_thold).
        """
        if self._window and position < len(self.tokens):
            smallest = self._api.llama_memory_seq_pos_min(self._memory, 0)
            if smallest > max(0, position - self._window):
                return 0
        return position

    @untorn()
    def _remove_from(self, position: int) -> bool:
        if position == 0:
            self._clear()
            return True
        if not self._api.llama_memory_seq_rm(self._memory, 0, position, -1):
            return False
        del self.tokens[position:]
        return True

    @untorn()
    def _clear(self) -> None:
        self._api.llama_memory_clear(self._memory, True)
        self.tokens.clear()


def _common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))
