"""The target on disk: under its name there is nothing, the old file, or the whole new one, never half of one.

The parts are written into a folder beside the target, which its process holds a lock on, synced, and renamed. Where the
target is a symbolic link, the file behind it is the target, and the link stays.
A folder that a killed run left has no lock; the next run that writes beside it removes it.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import threading
from collections import Counter
from collections.abc import Iterable
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Any

from exaone4_gguf.converter.plan import Plan, PlannedFile
from exaone4_gguf.errors import OutputError

# Windows has no fcntl; open files cannot be removed there, which protects a live run as well.
fcntl: Any = importlib.import_module("fcntl") if importlib.util.find_spec("fcntl") else None


class State(Enum):
    """Where an output is in its life."""

    NEW = auto()
    OPEN = auto()
    COMMITTED = auto()
    DISCARDED = auto()


def check_target(target: Path, plan: Plan, inputs: Iterable[Path], *, force: bool) -> None:
    """Refuse what cannot be written, before the first weight is read; remove what killed runs left.

    Raises:
        OutputError: the folder is missing or cannot be written to, the target exists, the disk is too small.
    """
    places = [followed(file.path) for file in plan.files]
    for file, place in zip(plan.files, places, strict=True):
        _check_folder(file.path, place)
        _check_name(file.path, force=force)
        for source in inputs:
            if place.exists() and source.exists() and place.samefile(source):
                raise OutputError(f"{file.path}: the target is the input itself; give another name")
    if len(set(places)) < len(places):
        raise OutputError(f"{target}: two of its files are links to one")
    needed: Counter[Path] = Counter()
    for file, place in zip(plan.files, places, strict=True):
        needed[place.parent] += file.size
    for folder, size in needed.items():
        _check_room(folder, size)


def followed(path: Path) -> Path:
    """The file that a name stands for: behind symbolic links, which stay as they are; it need not be there yet.

    Raises:
        OutputError: the links lead in a circle.
    """
    if not path.is_symlink():
        return path
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise OutputError(f"{path}: it is a symbolic link that leads back to itself")
    return place


def _check_folder(path: Path, place: Path) -> None:
    folder = place.parent
    if not folder.is_dir():
        raise OutputError(f"{folder}: no such folder" + ("" if place == path else f", where the link {path} leads"))
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{folder}: no permission to write there")


def _check_room(folder: Path, size: int) -> None:
    remove_abandoned(folder)
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OutputError(f"{folder}: the disk is too small: {size:,} bytes needed, {free:,} free")


def _check_name(path: Path, *, force: bool) -> None:
    if path.exists() and not path.is_file():
        raise OutputError(f"{path}: it is {'a folder' if path.is_dir() else 'no regular file'}")
    if path.exists() and not force:
        raise OutputError(f"{path}: it exists already; --force replaces it")


class Output:
    """The files of a plan, being written. Leaving the context without ``commit`` removes them.

    ``write`` may be called from several threads at once.

    Raises:
        OutputError: the disk is full, or a file cannot be written.
    """

    def __init__(self, target: Path, plan: Plan, *, force: bool) -> None:
        self._target = target
        self._plan = plan
        self._force = force
        self._state = State.NEW
        self._places: dict[Path, Path] = {}
        self._folders: dict[Path, tuple[Path, int | None]] = {}
        self._files: dict[Path, int] = {}

    def __enter__(self) -> Output:
        assert self._state is State.NEW
        try:
            self._state = State.OPEN
            for file in self._plan.files:
                self._open(file)
        except OSError as e:
            self._discard()
            raise _output_error(self._target, e) from e
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state is State.OPEN:
            self._discard()

    def write(self, file: PlannedFile, offset: int, data: memoryview) -> None:
        """Write bytes at an offset of one of the plan's files."""
        try:
            _write_at(self._files[file.path], data, offset)
        except OSError as e:
            raise _output_error(self._target, e) from e

    def commit(self) -> None:
        """Sync the files and give them their names; the first part last, as it makes the set complete."""
        assert self._state is State.OPEN
        try:
            for fd in self._files.values():
                os.fsync(fd)
            self._close()
            for path in self._places:
                _check_name(path, force=self._force)  # it may have come to be meanwhile
            places = list(self._places.values())
            if len(places) > 1:
                places[0].unlink(missing_ok=True)
            for place in reversed(places):
                os.replace(self._written(place), place)
            for folder in self._folders:
                _sync_folder(folder)
        except OSError as e:
            raise _output_error(self._target, e) from e
        self._state = State.COMMITTED
        self._remove_folders()

    def _open(self, file: PlannedFile) -> None:
        place = self._places[file.path] = followed(file.path)
        if place.parent not in self._folders:
            self._folders[place.parent] = locked_folder(place.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        fd = os.open(self._written(place), flags, 0o666)
        self._files[file.path] = fd
        os.truncate(fd, file.size)
        _write_at(fd, memoryview(file.header), 0)

    def _written(self, place: Path) -> Path:
        """Where a file lies until it is whole: on the disk that it will be on."""
        return self._folders[place.parent][0] / place.name

    def _close(self) -> None:
        while self._files:
            os.close(self._files.popitem()[1])

    def _discard(self) -> None:
        self._close()
        if self._state is State.OPEN:
            self._remove_folders()
        self._state = State.DISCARDED

    def _remove_folders(self) -> None:
        while self._folders:
            folder, lock = self._folders.popitem()[1]
            shutil.rmtree(folder, ignore_errors=True)
            if lock is not None:
                os.close(lock)


def _output_error(target: Path, e: OSError) -> OutputError:
    return OutputError(f"{target}: it cannot be written: {e.strerror or e}")


_SUFFIX = ".exaone4-gguf-partial"


def locked_folder(parent: Path) -> tuple[Path, int | None]:
    """A new hidden folder in ``parent``, and the descriptor that holds its lock."""
    folder = parent / f".{secrets.token_hex(6)}{_SUFFIX}"
    folder.mkdir()
    if fcntl is None:
        return folder, None
    lock = _try_lock(folder)
    if folder.exists():
        return folder, lock  # no lock on a file system that has none: nobody else gets one either
    if lock is not None:
        os.close(lock)
    return locked_folder(parent)  # another run took it for abandoned, between mkdir and lock


def _try_lock(folder: Path) -> int | None:
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK)
    except OSError:  # gone, somebody else's, or no folder
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of runs that were killed."""
    for folder in parent.glob(f".*{_SUFFIX}"):
        if fcntl is None:
            shutil.rmtree(folder, ignore_errors=True)
        elif (lock := _try_lock(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


_seek = threading.Lock()


def _write_at(fd: int, data: memoryview, offset: int) -> None:
    while data:
        written = _write_some(fd, data, offset)
        data, offset = data[written:], offset + written


def _write_some(fd: int, data: memoryview, offset: int) -> int:
    if hasattr(os, "pwrite"):
        return os.pwrite(fd, data, offset)
    with _seek:  # Windows
        os.lseek(fd, offset, os.SEEK_SET)
        return os.write(fd, data)


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
