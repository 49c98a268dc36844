"""The plan of a GGUF file: every tensor's source, type and offset, known before the first weight is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from exaone4_gguf.converter.names import file_order
from exaone4_gguf.format.file import ALIGNMENT, MAGIC, VERSION, split_name
from exaone4_gguf.format.keys import ALIGNMENT_KEY, SPLIT_KEYS
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.format.types import TensorType
from exaone4_gguf.format.values import Metadata, Value, ValueType, pack, pack_string
from exaone4_gguf.quant.kernels import Floats


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor of the file: where it comes from, what it becomes, and its offset within the file in bytes.

    ``importance`` is of each column, of shape (columns,); None where the importance matrix has nothing of it.
    """

    source: SourceTensor
    type: TensorType
    offset: int
    importance: Floats | None = None

    @property
    def name(self) -> str:
        """The name in GGUF."""
        return self.source.name

    @property
    def row_bytes(self) -> int:
        """Bytes of one row as it is written."""
        columns = self.source.shape[-1] if self.source.shape else 1
        return self.type.row_bytes(columns)

    @property
    def n_bytes(self) -> int:
        """Bytes of the whole tensor as it is written."""
        return len(self.source.rows) * self.row_bytes


@dataclass(frozen=True)
class PlannedFile:
    """One file: its name, its header up to the first tensor, its tensors."""

    path: Path
    header: bytes
    tensors: tuple[PlannedTensor, ...]
    size: int


@dataclass(frozen=True)
class Plan:
    """All files of a conversion; one, unless it is split."""

    files: tuple[PlannedFile, ...]

    @property
    def tensors(self) -> Iterator[PlannedTensor]:
        """Every tensor, in file order."""
        return (tensor for file in self.files for tensor in file.tensors)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def n_weights(self) -> int:
        """How many weights the files hold."""
        return sum(tensor.source.n_weights for tensor in self.tensors)


def in_file_order(tensors: Sequence[SourceTensor]) -> list[SourceTensor]:
    """The order in which llama.cpp writes tensors."""
    return sorted(tensors, key=lambda t: file_order(t.name))


def make_plan(
    target: Path,
    metadata: Metadata,
    tensors: Sequence[SourceTensor],
    types: Sequence[TensorType],
    split_max_size: int = 0,
    importances: Mapping[str, Floats] | None = None,
) -> Plan:
    """Lay out the file, or the parts of it.

    Args:
        tensors: in file order, with ``types`` beside them.
        split_max_size: the most bytes of tensors in a part; 0 for one file.
        importances: by tensor name, one for each column.
    """
    alignment = metadata[ALIGNMENT_KEY].data if ALIGNMENT_KEY in metadata else ALIGNMENT
    known = importances or {}
    planned = [PlannedTensor(t, type, 0, known.get(t.name)) for t, type in zip(tensors, types, strict=True)]
    parts = _parts(planned, split_max_size)
    if len(parts) == 1:
        return Plan((_plan_file(target, metadata, parts[0], alignment),))
    files = []
    for i, part in enumerate(parts):
        numbers = dict(zip(SPLIT_KEYS, _split_values(i, len(parts), len(tensors)), strict=True))
        own = metadata | numbers if i == 0 else numbers
        files.append(_plan_file(split_name(target, i + 1, len(parts)), own, part, alignment))
    return Plan(tuple(files))


def _parts(tensors: list[PlannedTensor], most: int) -> list[list[PlannedTensor]]:
    """Fill one part after the other; a tensor larger than a part has one of its own."""
    parts: list[list[PlannedTensor]] = [[]]
    size = 0
    for tensor in tensors:
        if most and parts[-1] and size + tensor.n_bytes > most:
            parts.append([])
            size = 0
        parts[-1].append(tensor)
        size += tensor.n_bytes
    return parts


def _split_values(i: int, parts: int, tensors: int) -> tuple[Value, Value, Value]:
    """The types are those of llama.cpp's gguf-split."""
    return (
        Value(ValueType.UINT16, i),
        Value(ValueType.UINT16, parts),
        Value(ValueType.INT32, tensors),
    )


def _plan_file(path: Path, metadata: Metadata, planned: list[PlannedTensor], alignment: int) -> PlannedFile:
    relative, at = [], 0
    for tensor in planned:
        relative.append(replace(tensor, offset=at))
        at = _aligned(at + tensor.n_bytes, alignment)
    counts = len(planned).to_bytes(8, "little") + len(metadata).to_bytes(8, "little")
    values = b"".join(pack_string(key) + pack(value) for key, value in metadata.items())
    header = MAGIC + VERSION.to_bytes(4, "little") + counts + values + b"".join(map(_tensor_info, relative))
    start = _aligned(len(header), alignment)
    tensors = tuple(replace(t, offset=start + t.offset) for t in relative)
    return PlannedFile(path, header.ljust(start, b"\0"), tensors, start + at)


def _tensor_info(t: PlannedTensor) -> bytes:
    shape = t.source.shape or (1,)
    dims = b"".join(n.to_bytes(8, "little") for n in reversed(shape))
    return (
        pack_string(t.name)
        + len(shape).to_bytes(4, "little")
        + dims
        + t.type.id.to_bytes(4, "little")
        + t.offset.to_bytes(8, "little")
    )


def _aligned(n: int, alignment: int) -> int:
    return -(-n // alignment) * alignment
