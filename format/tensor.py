"""A tensor as it lies in a file: the one form in which both kinds of source hand their weights on."""

from __future__ import annotations

import math
import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.format.types import TensorType

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class SourceTensor:
    """A named tensor: ``shape`` as in numpy (the last is the row length), its type, and its raw bytes.

    ``rows`` has the shape (number of rows, bytes of a row). It is a view on a mapped file: reading a slice
    reads that part of the file and no more.
    """

    name: str
    shape: tuple[int, ...]
    type: TensorType
    rows: Bytes
    origin: str = ""
    """The name in the checkpoint, where it is another."""

    @property
    def n_weights(self) -> int:
        """How many weights the tensor has."""
        return math.prod(self.shape)


def as_rows(raw: Bytes, shape: tuple[int, ...], type: TensorType) -> Bytes:
    """View the raw bytes of a tensor as rows; a 1-D tensor is one row, a scalar a row of one."""
    if raw.size == 0:
        return raw.reshape(0, 0)
    columns = shape[-1] if shape else 1
    return raw.reshape(math.prod(shape[:-1]), type.row_bytes(columns))


def map_file(path: Path) -> Bytes:
    """Map a file for reading, as bytes.

    Raises:
        CheckpointError: it cannot be opened, or is empty.
    """
    try:
        with open(path, "rb") as f:
            if os.fstat(f.fileno()).st_size == 0:
                raise CheckpointError(f"{path}: the file is empty")
            return np.frombuffer(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ), dtype=np.uint8)
    except OSError as e:
        raise CheckpointError(f"{path}: {e.strerror or e}") from e
