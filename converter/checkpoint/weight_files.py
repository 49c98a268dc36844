"""Which files of a folder are its weights, where neither the usual names nor an index say so."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.format.disguise import download_hint, unfinished

SUFFIXES = (".safetensors", ".bin")
"""In the order in which transformers looks for them."""

_NUMBERED = re.compile(r"(.*?)(\d+)([-_]of[-_])(\d+)(.*)")
"""model-00001-of-00003.safetensors, model.fp16-00001-of-00003.safetensors, model-00001-of-00003.fp16.safetensors"""

_USUAL = ("model", "pytorch_model")

_NO_MODEL = ("adapter", "optimizer", "scheduler", "scaler", "training_args", "rng_state", "random_states", "v_head")
"""How the names of files begin that trainers write beside the weights."""

_OTHER_SUFFIXES = (".pth", ".pt", ".ckpt", ".h5", ".msgpack", ".onnx", ".npz", ".gguf", ".zip", ".tar", ".gz")
"""Files that may hold weights, in a form that is not read here."""

_MOST_NAMED = 5


@dataclass(frozen=True)
class _Set:
    """Files that are numbered together; one without a number is a set of its own."""

    stem: str
    count: int
    files: dict[int, Path]

    def missing(self) -> tuple[int, str]:
        """How many are not there, and the name of the first; numbers begin at 1, or at 0."""
        first = 0 if 0 in self.files else 1
        numbers = range(first, first + self.count)
        n_missing = self.count - sum(number in numbers for number in self.files)
        return n_missing, self._named(next((i for i in numbers if i not in self.files), first))

    def _named(self, number: int) -> str:
        match = _NUMBERED.fullmatch(next(iter(self.files.values())).name)
        if match is None:
            return self.stem
        before, digits, of, count, after = match.groups()
        return f"{before}{number:0{len(digits)}d}{of}{count}{after}"


def unindexed_files(folder: Path) -> tuple[Path, ...]:
    """The files that belong together, of a folder that has no index of them.

    Raises:
        CheckpointError: there are none, or not all of a numbered set.
    """
    for suffix in SUFFIXES:
        files = [path for path in _files(folder) if path.suffix == suffix and _may_be_weights(path)]
        if files:
            return _together(folder, files)
    raise CheckpointError(
        f"{folder}: no weights: neither model.safetensors or pytorch_model.bin, nor an index of shards{_others(folder)}"
    )


def named(paths: list[Path] | tuple[Path, ...]) -> str:
    """The names of some files, cut."""
    names = [path.name for path in paths[:_MOST_NAMED]]
    more = len(paths) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def _files(folder: Path) -> list[Path]:
    """Without hidden ones, as macOS leaves on foreign disks beside each file."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _may_be_weights(path: Path) -> bool:
    return not path.name.startswith(_NO_MODEL)


def _together(folder: Path, files: list[Path]) -> tuple[Path, ...]:
    sets = _sets(files)
    for found in sets:
        n_missing, name = found.missing()
        if n_missing:
            raise CheckpointError(
                f"{folder / name}: the shard is missing ({n_missing} of {found.count}), and there is no index; "
                f"there are {named(files)}{download_hint(folder / name)}"
            )
    usual = [found for found in sets if found.stem in _USUAL]
    chosen = usual if len(usual) == 1 else sets
    return tuple(path for found in chosen for _, path in sorted(found.files.items()))


def _sets(files: list[Path]) -> list[_Set]:
    found: dict[tuple[str, int], dict[int, Path]] = defaultdict(dict)
    for path in files:
        match = _NUMBERED.fullmatch(path.stem)
        if match is None:
            found[path.stem, 1] = {1: path}
        else:
            before, number, _, count, after = match.groups()
            found[before.rstrip("-_.") + after, int(count)][int(number)] = path
    return [_Set(stem, count, numbered) for (stem, count), numbered in found.items()]


def _others(folder: Path) -> str:
    """What there is instead of weights."""
    suffixes = (*SUFFIXES, *_OTHER_SUFFIXES)
    files = [path for path in _files(folder) if path.suffix in suffixes]
    if files:
        return f"; there are {named(files)}"
    left = unfinished(folder / "model.safetensors")
    if left:
        return f"; a download was not finished ({left.name})"
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and _has_weights(path)]
    if inner:
        return f"; folders with weights in it are {named(inner)}"
    return ""


def _has_weights(folder: Path) -> bool:
    return any(path.suffix == SUFFIXES[0] and _may_be_weights(path) for path in _files(folder))
