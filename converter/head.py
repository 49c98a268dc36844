"""A classifier's head as a small GGUF file beside its base, the two linked by the base's weights.

llama.cpp runs the base, up to the hidden states after the last norm; the head is one matrix on top of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.classes import HeadConfig
from exaone4_gguf.converter.plan import Plan, PlannedFile, make_plan
from exaone4_gguf.errors import GGUFError, QuantizeError
from exaone4_gguf.format.file import head_path, read_gguf
from exaone4_gguf.format.keys import HEAD_ARCHITECTURE as ARCHITECTURE
from exaone4_gguf.format.keys import LICENSE_TEXT_KEY, SEQUENCE, WEIGHTS_ID_KEY
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.format.types import TYPES, TensorType
from exaone4_gguf.format.values import Metadata, Value, string, strings, u32

TYPES_OF_HEADS = ("F32", "F16")
_CARRIED = ("general.name", "general.license", "general.license.name", "general.license.link", LICENSE_TEXT_KEY)
_WEIGHT = "cls.output.weight"


@dataclass(frozen=True)
class Head:
    """A head to be written: its keys, its tensors, and the types that they have where nothing else is asked for."""

    metadata: Metadata
    tensors: Sequence[SourceTensor]
    types: Sequence[TensorType]

    @property
    def weights_id(self) -> Any:
        """Which base it belongs to."""
        return _data(self.metadata, WEIGHTS_ID_KEY)

    @property
    def task(self) -> str:
        """What it is for."""
        return str(_data(self.metadata, f"{ARCHITECTURE}.task"))

    @property
    def labels(self) -> list[str]:
        """A name for each row."""
        return list(_data(self.metadata, f"{ARCHITECTURE}.classifier.output_labels") or ())


def make_head(config: HeadConfig, base: Metadata, tensors: Sequence[SourceTensor]) -> Head:
    """The head of a checkpoint; ``base`` is the metadata of its base, from which it takes name and licence."""
    metadata = dict(_keys(config, base, tensors[0].shape[-1]))
    return Head(metadata, tensors, [TYPES["F32"]] * len(tensors))


def _keys(config: HeadConfig, base: Metadata, width: int) -> Iterator[tuple[str, Value]]:
    yield "general.architecture", string(ARCHITECTURE)
    yield "general.type", string("head")
    yield from ((key, base[key]) for key in (*_CARRIED, WEIGHTS_ID_KEY) if key in base)
    yield f"{ARCHITECTURE}.task", string(config.form.task)
    yield f"{ARCHITECTURE}.embedding_length", u32(width)
    yield f"{ARCHITECTURE}.activation", string(config.activation)
    if config.form.task == SEQUENCE:
        yield f"{ARCHITECTURE}.pooling", string("last")
        if config.pad_token_id is not None:
            yield f"{ARCHITECTURE}.padding_token_id", u32(config.pad_token_id)
    yield f"{ARCHITECTURE}.classifier.output_labels", strings(config.labels)


def read_head(path: Path) -> Head:
    """A head's file.

    Raises:
        GGUFError: it is damaged, or no head.
    """
    gguf = read_gguf(path, ARCHITECTURE)
    head = Head(gguf.metadata, list(gguf.tensors.values()), [t.type for t in gguf.tensors.values()])
    if _WEIGHT not in gguf.tensors or head.task == "None":
        raise GGUFError(f"{path}: it is no head: it lacks {_WEIGHT}, or {ARCHITECTURE}.task")
    return head


def check_belongs(head: Head, path: Path, base: Metadata, base_path: Path) -> None:
    """Raises GGUFError where the head was trained on another base."""
    if head.weights_id != _data(base, WEIGHTS_ID_KEY):
        raise GGUFError(f"{path}: it is the head of another base, not of {base_path}")


def plan_head(head: Head, target: Path, head_type: str | None) -> Plan:
    """The head's file, for a base that is written to ``target``.

    Raises:
        QuantizeError: a head cannot have that type.
    """
    types = list(head.types)
    if head_type is not None:
        matrix = _type(head_type)
        types = [TYPES["F32"] if len(t.shape) < 2 else matrix for t in head.tensors]  # the bias takes no room
    return make_plan(head_path(target), head.metadata, head.tensors, types)


def is_head(file: PlannedFile) -> bool:
    """Whether a plan's file is the head's."""
    return any(tensor.name == _WEIGHT for tensor in file.tensors)


def _type(name: str) -> TensorType:
    if name.upper() not in TYPES_OF_HEADS:
        raise QuantizeError(f"a head cannot be {name}; one of: {', '.join(TYPES_OF_HEADS)}")
    return TYPES[name.upper()]


def _data(metadata: Metadata, key: str) -> Any:
    value = metadata.get(key)
    if value is None:
        return None
    return value.data
