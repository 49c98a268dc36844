"""Importance matrices: how much each column of a linear layer's input matters, and the two files they come in.

The GGUF form and the older binary one are those of llama.cpp (tools/imatrix/imatrix.cpp, common/imatrix-loader.cpp).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from exaone4_gguf.errors import GGUFError, ImatrixError, OutputError
from exaone4_gguf.format.atomic import replacing
from exaone4_gguf.format.file import MAGIC, read_gguf
from exaone4_gguf.format.tensor import SourceTensor

if TYPE_CHECKING:
    from exaone4_gguf.quant.kernels import Floats

SUMS, COUNTS = ".in_sum2", ".counts"
DATASETS, CHUNK_COUNT, CHUNK_SIZE = "imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"

_LONGEST_NAME = 4096


@dataclass(frozen=True)
class Entry:
    """One layer: for each column, the sum of its squared inputs over ``count`` tokens; ``sums`` is (columns,)."""

    sums: Floats
    count: float

    @property
    def importance(self) -> Floats:
        """The mean of each column's squared inputs; where there were none, 1, as llama-quantize has it."""
        if self.count > 0:
            return self.sums / np.float32(self.count)
        return np.ones_like(self.sums)


@dataclass(frozen=True)
class ImportanceMatrix:
    """The entries by the names of their tensors in GGUF (``blk.0.attn_q.weight``), and what they were made from.

    ``chunk_size`` is in tokens, 0 where the file does not say; ``datasets`` are names of files.
    """

    entries: Mapping[str, Entry]
    datasets: tuple[str, ...] = ()
    chunk_count: int = 0
    chunk_size: int = 0
    path: str = field(default="", compare=False)
    """The name under which it was read."""


def read_imatrix(path: str | Path) -> ImportanceMatrix:
    """Read either form.

    Raises:
        ImatrixError: it is not there, none, truncated, or holds values that are not finite.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as e:
        raise ImatrixError(f"{path}: {e.strerror or e}") from e
    try:
        if raw.startswith(MAGIC):
            matrix = _read_gguf(Path(path))
        else:
            matrix = _read_binary(raw, str(path))
        _check(matrix)
    except ImatrixError as e:
        one_line = " ".join(e.what.split())  # a damaged name may hold anything
        raise ImatrixError(one_line, where=str(path)) from None
    return matrix


def _check(matrix: ImportanceMatrix) -> None:
    if not matrix.entries:
        raise ImatrixError("an importance matrix without entries")
    for name, entry in matrix.entries.items():
        if not np.isfinite(entry.sums).all() or not np.isfinite(entry.count):
            raise ImatrixError(f"{name} holds a value that is not finite")
        if (entry.sums < 0).any() or entry.count < 0:
            raise ImatrixError(f"{name} holds a negative value, and squares have none")


def _read_gguf(path: Path) -> ImportanceMatrix:
    try:
        gguf = read_gguf(path, wanted=None)
    except GGUFError as e:
        raise ImatrixError(e.what, where=e.where) from None
    missing = [key for key in (DATASETS, CHUNK_COUNT, CHUNK_SIZE) if key not in gguf.metadata]
    if missing:
        raise ImatrixError(
            f"a GGUF file, but not an importance matrix: it lacks {DATASETS}, {CHUNK_COUNT} or {CHUNK_SIZE}"
        )
    datasets, chunk_count = gguf.get(DATASETS), gguf.get(CHUNK_COUNT)
    chunk_size = gguf.get(CHUNK_SIZE)
    if not isinstance(datasets, list) or not isinstance(chunk_count, int):
        raise ImatrixError(f"{DATASETS} or {CHUNK_COUNT} has a wrong type")
    if not isinstance(chunk_size, int):
        raise ImatrixError(f"{CHUNK_SIZE} has a wrong type")
    names = tuple(map(str, datasets))
    entries = dict(_entries(gguf.tensors))
    return ImportanceMatrix(entries, names, chunk_count, chunk_size, str(path))


def _entries(tensors: Mapping[str, SourceTensor]) -> Iterator[tuple[str, Entry]]:
    """The sums and the counts of each layer, brought together."""
    names = {n.removesuffix(SUMS) for n in tensors if n.endswith(SUMS)}
    names |= {n.removesuffix(COUNTS) for n in tensors if n.endswith(COUNTS)}
    for name in sorted(names):
        sums, counts = tensors.get(name + SUMS), tensors.get(name + COUNTS)
        if sums is None or counts is None:
            raise ImatrixError(f"{name} has sums without counts, or counts without sums")
        if sums.type.name != "F32" or counts.type.name != "F32":
            raise ImatrixError(f"sums and counts of {name} must be F32")
        if counts.n_weights != 1:
            raise ImatrixError(f"{name} is for {counts.n_weights} experts, and EXAONE 4 has none")
        yield name, Entry(_floats(sums), float(np.rint(_floats(counts)[0])))


def _floats(tensor: SourceTensor) -> Floats:
    """A copy of the values, so that the file does not stay mapped."""
    return tensor.rows.reshape(-1).view(np.float32).copy()


def _read_binary(raw: bytes, name: str) -> ImportanceMatrix:
    """The form before GGUF: sums are divided by their tokens and multiplied by the number of chunks."""
    rest = _Rest(raw)
    n_entries = rest.integer()
    if n_entries < 1:
        raise ImatrixError("not an importance matrix")
    entries = {}
    for _ in range(n_entries):
        tensor = rest.take(rest.integer(_LONGEST_NAME)).decode("utf-8", errors="replace")
        calls, columns = rest.integer(), rest.integer()
        if columns < 1:
            raise ImatrixError(f"{tensor} has no values")
        sums = np.frombuffer(rest.take(4 * columns), dtype="<f4").astype(np.float32)
        entries[tensor] = Entry(sums, float(calls) if calls > 0 else 1.0)
    chunks = rest.integer() if rest else 0
    dataset = rest.take(rest.integer(_LONGEST_NAME)).decode("utf-8", errors="replace") if rest else ""
    return ImportanceMatrix(entries, (dataset,) if dataset else (), chunks, 0, name)


class _Rest:
    """What has not been read yet."""

    def __init__(self, raw: bytes) -> None:
        self._raw, self._at = raw, 0

    def __bool__(self) -> bool:
        return self._at < len(self._raw)

    def take(self, n: int) -> bytes:
        if n < 0 or self._at + n > len(self._raw):
            raise ImatrixError("truncated, or not an importance matrix")
        self._at += n
        return self._raw[self._at - n : self._at]

    def integer(self, most: int = 2**31 - 1) -> int:
        n: int = struct.unpack("<i", self.take(4))[0]
        if n > most:
            raise ImatrixError("not an importance matrix")
        return n


def write_imatrix(path: str | Path, matrix: ImportanceMatrix) -> None:
    """Write the GGUF form, which llama-quantize reads; the old file stays until the new one is whole.

    Raises:
        OutputError: it cannot be written.
    """
    path = Path(path)
    try:
        with replacing(path) as partial:
            _write_gguf(partial, matrix)
    except OSError as e:
        raise OutputError(f"{path}: it cannot be written: {e.strerror or e}") from e


def _write_gguf(path: Path, matrix: ImportanceMatrix) -> None:
    from gguf import GGUFWriter

    class Writer(GGUFWriter):
        def add_architecture(self) -> None:
            """An importance matrix has none."""

    writer = Writer(path, "")
    writer.add_type("imatrix")
    writer.add_array(DATASETS, list(matrix.datasets) or [""])
    writer.add_uint32(CHUNK_COUNT, matrix.chunk_count)
    writer.add_uint32(CHUNK_SIZE, matrix.chunk_size)
    for name in sorted(matrix.entries):
        entry = matrix.entries[name]
        writer.add_tensor(name + SUMS, np.ascontiguousarray(entry.sums, dtype=np.float32))
        writer.add_tensor(name + COUNTS, np.array([entry.count], dtype=np.float32))
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
