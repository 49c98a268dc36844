"""Reading a GGUF file: its metadata and its tensors, mapped. Split files are read as one."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone4_gguf.errors import CheckpointError, GGUFError
from exaone4_gguf.format.disguise import disguise, download_hint
from exaone4_gguf.format.keys import ALIGNMENT_KEY, ARCHITECTURE, HEAD_ARCHITECTURE
from exaone4_gguf.format.tensor import Bytes, SourceTensor, as_rows, map_file
from exaone4_gguf.format.types import TYPES_BY_ID
from exaone4_gguf.format.values import Cursor, Metadata

MAGIC = b"GGUF"
VERSION = 3
ALIGNMENT = 32

MAX_BLOCKS = 512  # LLAMA_MAX_LAYERS, llama-hparams.h

_SPLIT_NAME = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf")
_MAX_DIMS = 4  # GGML_MAX_DIMS


@dataclass(frozen=True)
class GGUFFile:
    """A GGUF file, or all parts of a split one (the metadata is the first part's)."""

    path: Path
    metadata: Metadata
    tensors: dict[str, SourceTensor]
    parts: tuple[Path, ...]

    def get(self, key: str, default: Any = None) -> Any:
        """The data of a metadata key; ``%s`` in it stands for the architecture."""
        value = self.metadata.get(key.replace("%s", ARCHITECTURE))
        if value is None:
            return default
        return value.data

    @property
    def n_blocks(self) -> int:
        """Blocks of the file, those for next-token prediction included.

        Raises:
            GGUFError: it does not say, or says what no file can have.
        """
        count = self.get("%s.block_count")
        if not isinstance(count, int):
            raise GGUFError(f"{self.path}: it has no exaone4.block_count")
        if not 0 < count <= MAX_BLOCKS:
            raise GGUFError(f"{self.path}: exaone4.block_count is {count}; it must be from 1 to {MAX_BLOCKS}")
        return count

    @property
    def depth(self) -> int:
        """Layers that are computed. The last blocks may be for next-token prediction, which llama.cpp keeps aside.

        Raises:
            GGUFError: no layer is left, or the file does not say.
        """
        blocks, predicting = self.n_blocks, self.get("%s.nextn_predict_layers", 0)
        if not isinstance(predicting, int) or not 0 <= predicting < blocks:
            raise GGUFError(f"{self.path}: exaone4.nextn_predict_layers is {predicting!r}, of {blocks} blocks")
        return blocks - predicting


def split_name(target: Path, part: int, parts: int) -> Path:
    """The name of a part, counted from 1, as llama.cpp looks for it."""
    return target.with_name(f"{target.stem}-{part:05d}-of-{parts:05d}.gguf")


def whole_name(path: Path) -> Path:
    """The name of a file, or that which the parts of a split one were named after."""
    match = _SPLIT_NAME.fullmatch(path.name)
    if match:
        return path.with_name(f"{match[1]}.gguf")
    return path


def head_path(base: Path) -> Path:
    """Where the head of a base lies: beside it, as NAME.head.gguf; for any part of a split one as well."""
    whole = whole_name(base)
    return whole.with_name(f"{whole.stem}.head.gguf")


def read_gguf(path: Path, wanted: str | None = ARCHITECTURE) -> GGUFFile:
    """Read the header of an EXAONE 4 GGUF file (or of one of another architecture, None for any) and map its tensors.

    ``path`` may be any part of a split file; the others are looked for beside it.

    Raises:
        GGUFError: not a GGUF file, damaged, truncated, another architecture, a part missing.
    """
    first = _read_part(path)
    if first.get("split.count", 1) != 1:
        match = _SPLIT_NAME.fullmatch(path.name)
        if match is None or int(match[3]) != first.get("split.count"):
            raise GGUFError(
                "it is a part of a split file, but not named as one (NAME-00001-of-00002.gguf)", where=str(path)
            )
        first = _joined(path, [_read_part(part) for part in _part_paths(path, match[1], int(match[3]))])
    architecture = first.get("general.architecture")
    if wanted is None:
        return first
    if architecture != wanted and architecture == HEAD_ARCHITECTURE:
        raise GGUFError("it is a classifier's head; give the base that it belongs to", where=str(path))
    if architecture != wanted:
        raise GGUFError(f"architecture is '{architecture}', not {wanted}", where=str(path))
    return first


def read_keys(path: Path, wanted: Collection[str]) -> Metadata:
    """Those of the wanted keys that a file (or this part of a split one) has. The others are passed over.

    Raises:
        GGUFError: not a GGUF file, or its header is damaged.
    """
    cursor = Cursor(_mapped(path).data)
    found: Metadata = {}
    try:
        _, n_values = _read_counts(cursor, path)
        for _ in range(n_values):
            key = cursor.string()
            if key in wanted:
                found[str(key)] = cursor.value()
            else:
                cursor.skip_value()
    except GGUFError as e:
        raise GGUFError(e.what, where=str(path)) from None
    return found


def _part_paths(path: Path, stem: str, count: int) -> list[Path]:
    paths = [path.with_name(f"{stem}-{i:05d}-of-{count:05d}.gguf") for i in range(1, count + 1)]
    missing = [p.name for p in paths if not p.is_file()]
    if missing:
        raise GGUFError(f"{len(missing)} of its {count} parts are missing: {', '.join(missing[:3])}", where=str(path))
    return paths


def _joined(path: Path, parts: list[GGUFFile]) -> GGUFFile:
    tensors: dict[str, SourceTensor] = {}
    for i, part in enumerate(parts):
        if (part.get("split.no"), part.get("split.count")) != (i, len(parts)):
            raise GGUFError(f"{part.path}: its split.no and split.count are not those of part {i + 1}")
        twice = tensors.keys() & part.tensors.keys()
        if twice:
            raise GGUFError(f"{part.path}: tensor {min(twice)} is in an earlier part already")
        tensors |= part.tensors
    expected = parts[0].get("split.tensors.count", len(tensors))
    if expected != len(tensors):
        raise GGUFError(f"its parts hold {len(tensors)} tensors, split.tensors.count says {expected}", where=str(path))
    return GGUFFile(path, parts[0].metadata, tensors, tuple(part.path for part in parts))


def _read_part(path: Path) -> GGUFFile:
    raw = _mapped(path)
    try:
        return _parse(path, raw)
    except GGUFError as e:
        raise GGUFError(e.what, where=str(path)) from None


def _mapped(path: Path) -> Bytes:
    if not path.is_file():
        raise GGUFError(_what_is_there(path), where=str(path))
    try:
        return map_file(path)
    except CheckpointError as e:
        raise GGUFError(str(e)) from e


def _what_is_there(path: Path) -> str:
    if (path / "config.json").is_file():
        return "not a file, but a checkpoint; convert makes a GGUF file of it"
    if path.is_dir():
        return "not a file, but a folder"
    if path.exists():
        return "not a file"
    return f"no such file{download_hint(path)}"


def _parse(path: Path, raw: Bytes) -> GGUFFile:
    cursor = Cursor(raw.data)
    n_tensors, n_values = _read_counts(cursor, path)
    metadata: Metadata = {}
    for _ in range(n_values):
        key = _text(cursor.string())
        if key in metadata:
            raise GGUFError(f"the header is damaged: key {key} is there twice")
        metadata[key] = cursor.value()
    infos = [_tensor_info(cursor) for _ in range(n_tensors)]
    alignment = metadata[ALIGNMENT_KEY].data if ALIGNMENT_KEY in metadata else ALIGNMENT
    if not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise GGUFError(f"the header is damaged: {ALIGNMENT_KEY} is {alignment}")
    start = -(-cursor.at // alignment) * alignment
    tensors: dict[str, SourceTensor] = {}
    for name, shape, type_id, offset in infos:
        if name in tensors:
            raise GGUFError(f"the header is damaged: tensor {name} is there twice")
        tensors[name] = _tensor(raw[start:], name, shape, type_id, offset)
    return GGUFFile(path, metadata, tensors, (path,))


def _read_counts(cursor: Cursor, path: Path) -> tuple[int, int]:
    """How many tensors and values the header has, after the magic and the version."""
    if len(cursor.raw) < 4 or bytes(cursor.take(4)) != MAGIC:
        told = disguise(path)
        raise GGUFError(f"not a GGUF file, but {told}" if told else "not a GGUF file")
    version = cursor.u32()
    if version not in (2, VERSION):
        raise GGUFError(f"GGUF version {version}; this reads 2 and 3, little-endian")
    return cursor.u64(), cursor.u64()


def _text(s: str | bytes) -> str:
    if isinstance(s, bytes):
        raise GGUFError(f"the header is damaged: the name {s[:40]!r} is not UTF-8")
    return s


def _tensor_info(cursor: Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name, n_dims = _text(cursor.string()), cursor.u32()
    if n_dims > _MAX_DIMS:
        raise GGUFError(f"the header is damaged: tensor {name} has {n_dims} dimensions")
    shape = tuple(cursor.u64() for _ in range(n_dims))[::-1]
    return name, shape, cursor.u32(), cursor.u64()


def _tensor(data: Bytes, name: str, shape: tuple[int, ...], type_id: int, offset: int) -> SourceTensor:
    type = TYPES_BY_ID.get(type_id)
    if type is None:
        raise GGUFError(f"tensor {name} has type number {type_id}, which is not known here")
    columns = shape[-1] if shape else 1
    if columns % type.block_size:
        raise GGUFError(f"tensor {name}: rows of {columns} cannot be {type}")
    size = math.prod(shape[:-1]) * type.row_bytes(columns)
    if offset + size > len(data):
        raise GGUFError(f"the file is truncated: tensor {name} ends {offset + size - len(data):,} bytes past it")
    return SourceTensor(name, shape, type, as_rows(data[offset : offset + size], shape, type))
