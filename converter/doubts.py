"""What can be done, and was perhaps not meant: it is done, and told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from exaone4_gguf.format.keys import CLASS_KEY
from exaone4_gguf.format.types import TensorType
from exaone4_gguf.format.values import Metadata
from exaone4_gguf.quant.recipes import Overrides, TensorShape, chosen_pattern, quantizable


def doubts(
    metadata: Metadata,
    tensors: Sequence[TensorShape],
    types: Sequence[TensorType],
    overrides: Overrides | None,
    *,
    has_imatrix: bool,
) -> Iterator[str]:
    """One line for each thing that the caller may not have meant.

    Args:
        tensors: those of the source, with ``types`` of the file beside them.
    """
    if "tokenizer.chat_template" not in metadata and CLASS_KEY not in metadata:
        yield "the model has no chat template: chat and serve will need one (--chat-template-file)"
    yield from _without_effect(tensors, overrides or Overrides())
    poor = [new for old, new in zip(tensors, types, strict=True) if new.wants_imatrix and new != old.type]
    if poor and not has_imatrix:
        yield f"{poor[0]} without an importance matrix costs much quality; the imatrix command makes one for --imatrix"


def _without_effect(tensors: Sequence[TensorShape], overrides: Overrides) -> Iterator[str]:
    used = {chosen_pattern(tensor, overrides) for tensor in tensors if quantizable(tensor)}
    for pair in overrides.tensor_types:
        pattern, type = pair
        if pair in used:
            continue
        matched = [tensor for tensor in tensors if pattern.search(tensor.name)]
        if not matched:
            example = next((t.name for t in tensors if quantizable(t)), "blk.0.attn_v.weight")
            why = f"it matches no tensor; they have names like {example}"
        elif not any(map(quantizable, matched)):
            why = f"what it matches keeps its type, as {matched[0].name} does"
        else:
            why = f"other options decide on what it matches, like {matched[0].name}"
        yield f"--tensor-type {pattern.pattern}={type} has no effect: {why}"
