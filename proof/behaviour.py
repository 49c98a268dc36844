"""The part ``behaviour``: llama.cpp's logits against the streamed reference on the same tokens, twice.

With the checkpoint's weights, the reference tells what the file's types cost; that is reported. With the file's own
weights, it tells what the conversion got wrong, whatever the types: that decides. In between lies what ggml's kernels
round (``rounding``), so the second comparison is made with inputs rounded as ggml does; what the rounding alone
changes is measured beside it, and is what a right file may differ by at most.

A lossless file costs nothing: in the reference its weights and the checkpoint's give the same logits, and that decides
as well (``weights``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from exaone4_gguf.errors import GGUFError, RuntimeFailure
from exaone4_gguf.format.file import GGUFFile
from exaone4_gguf.format.keys import CACHE_TYPES
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.proof.corpus import PROSE
from exaone4_gguf.proof.reading.checkpoint import Checkpoint
from exaone4_gguf.proof.reading.names import by_transformers_names
from exaone4_gguf.proof.report import Finding, Part, evaluated, not_evaluated
from exaone4_gguf.runtime.llama.context import Context
from exaone4_gguf.runtime.llama.machine import available_memory, physical_cores
from exaone4_gguf.runtime.llama.model import Model

if TYPE_CHECKING:
    from torch import Tensor

    from exaone4_gguf.proof.divergence import Divergence
    from exaone4_gguf.proof.reference import Hook, Progress, Reference

NAME = "behaviour"

BATCH = 64
"""Tokens whose logits are held at a time."""

_BUFFERS = 1 << 29
"""Bytes for what llama.cpp computes in, and for our own slabs."""

FLOOR = 1e-6
"""Mean KL that is near zero in any case: right F32 files come to 1e-12."""
NOISE = 3.0
"""How many times what the rounding alone changes a right file may differ by: two roundings that have nothing in common
differ by twice as much as one; measured, on random and trained models of every type, were 0.04 to 1.5 times."""


def choose_tokens(n: int, tokenize: Callable[[str], list[int]], data: str) -> list[int]:
    """``n`` token ids: of the user's text, else of the built-in prose, from its beginning again where it is short."""
    ids = tokenize(data or "\n\n".join(PROSE)) or [0]
    return (ids * (n // len(ids) + 1))[:n]


@dataclass
class Behaviour:
    """The comparison for several files of one checkpoint; the checkpoint's side is computed once.

    Args:
        tokens: what both read, as one sequence.
    """

    checkpoint: Checkpoint
    tokens: Sequence[int]
    _hidden: Tensor | None = field(default=None, init=False)
    """The reference's hidden states with the checkpoint's weights, once a file was compared."""

    def weights_used(self) -> int:
        """How many weights ``check`` will report to its progress."""
        c = self.checkpoint
        blocks = sum(t.n_weights for name, t in c.tensors.items() if ".layers." in name)
        if self._hidden is None:
            blocks *= 2
        batches = -(-len(self.tokens) // BATCH)
        return blocks + 2 * batches * c.config.vocab_size * c.config.hidden_size

    def memory_needed(self, gguf: GGUFFile) -> int:
        """Bytes that llama.cpp takes: the file, which it maps, a cache in 32 bits, and its buffers."""
        c = self.checkpoint.config
        weights = sum(t.rows.nbytes for t in gguf.tensors.values())
        cache = 4 * 2 * c.num_hidden_layers * c.kv_size * (len(self.tokens) + BATCH)
        return weights + cache + _BUFFERS + 4 * 3 * BATCH * c.vocab_size

    def check(self, gguf: GGUFFile, progress: Progress = lambda n: None) -> Part:
        """Compare one file. Its tensors must be there, in their shapes."""
        needed, free = self.memory_needed(gguf), available_memory()
        if free is not None and free < needed:
            reason = f"llama.cpp needs {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} are free"
            return not_evaluated(NAME, reason)
        try:
            figures = self._compare(gguf, progress)
        except GGUFError as e:
            return evaluated(NAME, "llama.cpp does not run it", [Finding("llama.cpp", str(e))])
        except RuntimeFailure as e:
            return not_evaluated(NAME, str(e))
        return self._part(figures)

    def _part(self, figures: Mapping[str, Divergence]) -> Part:
        cost, own, noise = figures["cost"], figures["conversion"], figures["rounding"]
        limit = max(FLOOR, NOISE * noise.mean_kl)
        wrong = []
        if not own.mean_kl <= limit:
            what = f"mean KL {own.mean_kl:.2g} to the reference with the file's own weights; a right file has at most"
            wrong.append(Finding("logits", f"{what} {limit:.2g}"))
        kept = figures.get("weights")
        if kept and not kept.mean_kl <= FLOOR:
            what = f"mean KL {kept.mean_kl:.2g} between its weights and the checkpoint's, both in the reference"
            wrong.append(Finding("weights", f"{what}; a lossless file has at most {FLOOR:.2g}"))
        notes = []
        window = self.checkpoint.config.sliding_window
        if window is not None and len(self.tokens) <= window:
            notes.append(f"the window of {window} was not reached; --tokens {window + 128} would")
        summary = (
            f"{own.tokens:,} tokens: mean KL {own.mean_kl:.2g} with the file's own weights (at most {limit:.2g}), "
            f"{cost.mean_kl:.2g} with the checkpoint's"
        )
        values = {name: asdict(divergence) for name, divergence in figures.items()}
        return evaluated(NAME, summary, wrong, notes, values | {"limit": limit})

    def _compare(self, gguf: GGUFFile, progress: Progress) -> dict[str, Divergence]:
        """How far llama.cpp's logits are from the reference's: with the checkpoint's weights, and with the file's.

        With the file's, the reference computes twice, exact and rounded as llama.cpp does; how far these two are apart
        is measured as well.
        """
        import torch

        from exaone4_gguf.proof.divergence import Comparison

        comparisons = {name: Comparison() for name in ("cost", "conversion", "rounding")}
        if self._is_lossless(gguf):
            comparisons["weights"] = Comparison()
        with closing(Model(gguf.parts[0], repack=False)) as loaded, closing(self._context(loaded)) as context:
            checkpoint = self._reference(self.checkpoint.tensors, lambda name, x: x, progress)
            if self._hidden is None:
                self._hidden = checkpoint.hidden_states(torch.tensor([self.tokens]))[0]
            file, (exact, rounded) = self._of_file(gguf, progress)
            for first in range(0, len(self.tokens), BATCH):
                batch = self.tokens[first : first + BATCH]
                last = first + len(batch)
                context.append(batch, all_logits=True)
                model = torch.from_numpy(context.last_logits(len(batch)))  # valid until the next batch
                following = torch.tensor(self.tokens[first + 1 : last + 1])
                own = file.logits(torch.stack((exact[first:last], rounded[first:last])))
                right = checkpoint.logits(self._hidden[first:last])
                comparisons["cost"].add(right, model, following)
                comparisons["conversion"].add(own[1], model, following)
                comparisons["rounding"].add(own[0], own[1], following)
                if "weights" in comparisons:
                    comparisons["weights"].add(right, own[0], following)
        return {name: comparison.figures() for name, comparison in comparisons.items()}

    def _is_lossless(self, gguf: GGUFFile) -> bool:
        """Whether each tensor has a type that keeps the checkpoint's values."""
        sources = self.checkpoint.gguf_tensors
        return all(gguf.tensors[source.name].type.name in ("F32", source.type.name) for source in sources)

    def _of_file(self, gguf: GGUFFile, progress: Progress) -> tuple[Reference, Tensor]:
        """The reference with the file's weights, and its hidden states twice: exact, and with inputs rounded."""
        import torch

        from exaone4_gguf.proof.rounding import rounded

        tensors = by_transformers_names(gguf.tensors.values(), self.checkpoint.config.num_hidden_layers)

        def inputs(name: str, x: Tensor) -> Tensor:
            return torch.stack((x[0], rounded(x[1], tensors[name].type)))

        reference = self._reference(tensors, inputs, progress)
        return reference, reference.hidden_states(torch.tensor([self.tokens, self.tokens]))

    def _reference(self, tensors: Mapping[str, SourceTensor], inputs: Hook, progress: Progress) -> Reference:
        from exaone4_gguf.proof.reference import Reference, Weights

        return Reference(self.checkpoint.config, Weights(tensors), inputs, progress)

    def _context(self, model: Model) -> Context:
        """A cache in 32 bits, without flash attention: what llama.cpp would round there is no matter of the file."""
        f32, size = CACHE_TYPES["f32"], len(self.tokens) + BATCH
        threads = physical_cores()
        return Context(model, n_ctx=size, n_threads=threads, n_batch=BATCH, flash_attn=False, type_k=f32, type_v=f32)
