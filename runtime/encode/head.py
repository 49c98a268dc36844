"""A classifier's head: the file beside the base, checked against it, and what it makes of hidden states."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from exaone4_gguf.errors import GGUFError, RequestError
from exaone4_gguf.format.file import GGUFFile, head_path, read_gguf
from exaone4_gguf.format.keys import (
    CLASS_KEY,
    HEADLESS,
    NONE,
    QUESTION,
    SEQUENCE,
    SIGMOID,
    SOFTMAX,
    TOKEN,
    WEIGHTS_ID_KEY,
)
from exaone4_gguf.format.keys import HEAD_ARCHITECTURE as ARCHITECTURE
from exaone4_gguf.runtime.llama.model import Model

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

TASKS = {
    SEQUENCE: "classify",
    TOKEN: "tag",
    QUESTION: "answer",
}
"""What a head is for, and the method that uses it."""

ACTIVATIONS = (SOFTMAX, SIGMOID, NONE)

_DTYPES = {"F32": "<f4", "F16": "<f2"}


@dataclass(frozen=True)
class Head:
    """One matrix on top of the hidden states, with a row for each label.

    ``weight`` has the shape (labels, width), ``bias`` (labels,). A sequence is judged by its last token that is not
    ``pad_token``.
    """

    task: str
    labels: tuple[str, ...]
    activation: str
    pad_token: int | None
    weight: Floats
    bias: Floats | None

    def logits(self, states: Floats) -> Floats:
        """Of hidden states of shape (tokens, width): (tokens, labels)."""
        found: Floats = states @ self.weight.T
        if self.bias is not None:
            found += self.bias
        return found

    def scores(self, logits: Floats) -> Floats:
        """Probabilities, or for a regression the logits themselves; along the last axis."""
        import numpy as np

        if self.activation == "none":
            return logits
        if self.activation == "sigmoid":
            sigmoid: Floats = np.exp(-np.logaddexp(0, -logits))
            return sigmoid
        return softmax(logits)

    def pooled(self, ids: tuple[int, ...]) -> int:
        """The position that a sequence is judged by (transformers' GenericForSequenceClassification)."""
        return next((i for i in reversed(range(len(ids))) if ids[i] != self.pad_token), 0)


def softmax(logits: Floats) -> Floats:
    """Along the last axis."""
    import numpy as np

    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    found: Floats = powers / powers.sum(axis=-1, keepdims=True)
    return found


def find_head(model: Model, path: str | Path | None = None) -> Head | None:
    """The head at ``path``, or that which lies beside the base; None where neither is.

    Raises:
        GGUFError: the file is missing where it was named, is damaged, or does not fit the base.
    """
    wanted = model.metadata.get(CLASS_KEY, HEADLESS) != HEADLESS
    if path is None and not (wanted and head_path(model.path).is_file()):
        return None
    place = head_path(model.path) if path is None else Path(path)
    if not place.exists():
        raise GGUFError(f"{place}: no such file")
    if not place.is_file():
        raise GGUFError(f"{place}: not a file")
    return read_head(place, model)


def check_head(head: Head | None, model: Model, task: str) -> Head:
    """The head for a task.

    Raises:
        GGUFError: its file is missing, or the model has none.
        RequestError: it is for another task.
    """
    if head is None:
        if model.metadata.get(CLASS_KEY, HEADLESS) == HEADLESS:
            raise GGUFError(f"{model.path}: it has no head; {TASKS[task]} needs one for {task}")
        raise GGUFError(f"{model.path}: its head is missing: {head_path(model.path).name} is not beside it")
    if head.task != task:
        raise RequestError(f"{model.path}: its head is for {head.task}: use {TASKS[head.task]}, not {TASKS[task]}")
    return head


def read_head(path: Path, model: Model) -> Head:
    """A head's file, checked against the base that it is to be used with.

    Raises:
        GGUFError: it is damaged, no head, or that of another base.
    """
    gguf = read_gguf(path, None)
    architecture = _text(gguf, "general.architecture")
    if architecture != ARCHITECTURE:
        raise GGUFError(f"{path}: architecture is '{architecture}', not {ARCHITECTURE}: it is no head")
    labels = gguf.get(f"{ARCHITECTURE}.classifier.output_labels")
    if not isinstance(labels, list):
        labels = []
    bias = None
    if "cls.output.bias" in gguf.tensors:
        bias = _tensor(gguf, "cls.output.bias")
    head = Head(
        task=_one_of(gguf, "task", tuple(TASKS)),
        labels=tuple(map(str, labels)),
        activation=_one_of(gguf, "activation", ACTIVATIONS),
        pad_token=_number(gguf, "padding_token_id"),
        weight=_tensor(gguf, "cls.output.weight"),
        bias=bias,
    )
    width, weights_id = _number(gguf, "embedding_length") or 0, _text(gguf, WEIGHTS_ID_KEY)
    if width != model.n_embd:
        raise GGUFError(f"{path}: it is for hidden states of {width} values; those of {model.path} have {model.n_embd}")
    if weights_id is None or weights_id != model.metadata.get(WEIGHTS_ID_KEY):
        raise GGUFError(f"{path}: it is the head of another base, not of {model.path}")
    if not head.labels or head.weight.size != len(head.labels) * width:
        raise GGUFError(f"{path}: it names {len(head.labels)} labels, its matrix has {head.weight.size / width:g} rows")
    if head.bias is not None and head.bias.size != len(head.labels):
        raise GGUFError(f"{path}: it names {len(head.labels)} labels, its bias has {head.bias.size} values")
    if head.task == QUESTION and len(head.labels) != 2:
        raise GGUFError(f"{path}: an answer has a start and an end, this has {len(head.labels)} rows")
    return replace(head, weight=head.weight.reshape(len(head.labels), width))


def _text(gguf: GGUFFile, key: str) -> str | None:
    value = gguf.get(key)
    if isinstance(value, str):
        return value
    return None


def _number(gguf: GGUFFile, key: str) -> int | None:
    value = gguf.get(f"{ARCHITECTURE}.{key}")
    if isinstance(value, int):
        return value
    return None


def _one_of(gguf: GGUFFile, key: str, known: tuple[str, ...]) -> str:
    value = _text(gguf, f"{ARCHITECTURE}.{key}")
    if value not in known:
        raise GGUFError(f"{gguf.path}: its {key} is {value!r}; known are {', '.join(known)}")
    return value


def _tensor(gguf: GGUFFile, name: str) -> Floats:
    """A tensor's values, flat."""
    import numpy as np

    tensor = gguf.tensors.get(name)
    if tensor is None:
        raise GGUFError(f"{gguf.path}: tensor {name} is missing")
    if tensor.type.name not in _DTYPES:
        raise GGUFError(f"{gguf.path}: tensor {name} is neither F32 nor F16")
    found = tensor.rows.reshape(-1).view(_DTYPES[tensor.type.name]).astype(np.float32)
    if not np.isfinite(found).all():
        raise GGUFError(f"{gguf.path}: tensor {name} holds values that are not finite: the file is damaged")
    return found
