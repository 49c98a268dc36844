"""A Hugging Face folder's files: its JSON, its texts, and its weights by name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.checkpoint.safetensors_file import read_safetensors
from exaone4_gguf.converter.checkpoint.torch_file import read_torch
from exaone4_gguf.converter.checkpoint.weight_files import SUFFIXES, named, unindexed_files
from exaone4_gguf.converter.checkpoint.wrappers import without_wrapper
from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.format.disguise import disguise, download_hint, is_being_fetched
from exaone4_gguf.format.tensor import SourceTensor


def load_json(path: Path, error: type[CheckpointError] = CheckpointError) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        error: the file is missing, unreadable, something else, or holds no JSON object.
    """
    content = _content(path, error)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as e:
        told = disguise(path, text=True)
        what = f"it is {told}" if told else f"not JSON ({e})"
        raise error(what, where=str(path)) from None
    if not isinstance(value, dict):
        raise error("not a JSON object", where=str(path))
    return value


def load_text(path: Path, error: type[CheckpointError] = CheckpointError) -> str:
    """Read a text, byte for byte.

    Raises:
        error: the file is missing, unreadable, something else, or not UTF-8.
    """
    content = _content(path, error)
    check_text(path, error)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise error("not UTF-8 text", where=str(path)) from None


def check_text(path: Path, error: type[CheckpointError] = CheckpointError) -> None:
    """Refuse a file that is something else than the text that it should be; empty and missing ones are left to others.

    Raises:
        error: it is a Git LFS pointer, a web page, ...
    """
    if path.is_file() and path.stat().st_size and (told := disguise(path, text=True)):
        raise error(f"it is {told}", where=str(path))


def _content(path: Path, error: type[CheckpointError]) -> bytes:
    if not path.is_file():
        what = "no such file"
        if path.exists():
            what = "not a file"
        raise error(f"{what}{download_hint(path)}", where=str(path))
    try:
        return path.read_bytes()
    except OSError as e:
        raise error(e.strerror or str(e), where=str(path)) from None


Reader = Callable[[Path], dict[str, SourceTensor]]

_READERS: dict[str, Reader] = dict(zip(SUFFIXES, (read_safetensors, read_torch), strict=True))
_NAMES = ("model.safetensors", "pytorch_model.bin")
"""In the order in which transformers looks for them."""


def read_tensors(model_dir: Path) -> dict[str, SourceTensor]:
    """All tensors of the checkpoint, mapped, by the names that transformers gives them.

    What training wraps around the names is taken away, see ``wrappers``. A tied matrix may stand under either of its
    names, ``model.embed_tokens.weight`` and ``lm_head.weight``: only the configuration tells that they are tied.

    Raises:
        CheckpointError: no weights, a shard that is missing or damaged, files that do not fit together, or an index
            that does not fit its shards or names a file outside the folder.
    """
    files, index = _weight_files(model_dir)
    shards = {path.name: _read(path) for path in files}
    tensors = _joined(model_dir, shards, index)
    for name, shard in index.items():
        if name not in shards[shard]:
            raise CheckpointError(f"{model_dir / shard}: tensor {name} is not in it, but the index says so")
    try:
        return without_wrapper(tensors)
    except CheckpointError as e:
        raise CheckpointError(f"{model_dir}: {e}") from None


def weight_files(model_dir: Path) -> tuple[Path, ...]:
    """The files that ``read_tensors`` reads.

    Raises:
        CheckpointError: as ``read_tensors``, where it needs no look into the files.
    """
    return _weight_files(model_dir)[0]


def _weight_files(folder: Path) -> tuple[tuple[Path, ...], dict[str, str]]:
    """The files, and which of them each tensor is in, where an index says so."""
    for name in _NAMES:
        if (folder / name).is_file():
            return (folder / name,), {}
        if (index := folder / f"{name}.index.json").is_file():
            return _indexed(index)
    return unindexed_files(folder), {}


def _indexed(index: Path) -> tuple[tuple[Path, ...], dict[str, str]]:
    weight_map = load_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: it has no weight_map")
    paths = sorted({_shard_path(index, name) for name in weight_map.values()})
    missing = [path for path in paths if not path.is_file()]
    if missing:
        there = [path for path in paths if path.is_file()]
        raise CheckpointError(
            f"{missing[0]}: the shard is missing ({len(missing)} of {len(paths)}); "
            f"there are {named(there) or 'none'}{download_hint(missing[0])}"
        )
    return tuple(paths), weight_map


def _shard_path(index: Path, name: Any) -> Path:
    """The shard's path; a name that leads out of the folder is refused."""
    if not isinstance(name, str) or name in ("", ".", "..") or any(c in name for c in "/\\:\0"):
        raise CheckpointError(f"{index}: '{name}' is not the name of a file in the folder")
    if Path(name).suffix not in _READERS:
        raise CheckpointError(f"{index}: '{name}' is not the name of a shard; those end in {' or '.join(_READERS)}")
    return index.with_name(name)


def _read(path: Path) -> dict[str, SourceTensor]:
    if is_being_fetched(path):
        raise CheckpointError(f"{path}: its download was not finished")
    return _READERS[path.suffix](path)


def _joined(
    folder: Path, shards: Mapping[str, dict[str, SourceTensor]], index: Mapping[str, str]
) -> dict[str, SourceTensor]:
    """The tensors of all shards; none may be in two of them."""
    tensors: dict[str, SourceTensor] = {}
    places: dict[str, str] = {}
    for shard, found in shards.items():
        for name, tensor in found.items():
            if name in places:
                hint = "" if index else f" ({places[name]}); there is no index: leave only files that belong together"
                raise CheckpointError(f"{folder / shard}: tensor {name} is in another shard too{hint}")
            tensors[name], places[name] = tensor, shard
    return tensors
