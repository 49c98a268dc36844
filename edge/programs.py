"""llama.cpp's programs as a user gives them: found in a folder, and looked at before they are sent to a board."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from exaone4_gguf.edge.cross import BUILDS, PROGRAMS, Build
from exaone4_gguf.errors import BundleError

_OTHER_NAMES = {"rpc-server": ("rpc-server", "ggml-rpc-server")}
_AARCH64 = 183  # EM_AARCH64
_INTERPRETER = 3  # PT_INTERP: the program is to be put together with libraries when it starts
_MOST_HEADERS = 128


def is_source(folder: Path) -> bool:
    """Whether it is llama.cpp's source folder."""
    return (folder / "CMakeLists.txt").is_file() and (folder / "ggml").is_dir()


def given_programs(folder: Path) -> Mapping[Build, Mapping[str, Path]]:
    """The programs in a folder: in one folder for each build, or side by side, which are then for every board.

    Raises:
        BundleError: one is missing, is not for arm64, or is not static.
    """
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such folder")
    builds = {build: folder / build.name for build in BUILDS if (folder / build.name).is_dir()} or {BUILDS[-1]: folder}
    return {build: {name: _program(place, name) for name in PROGRAMS} for build, place in builds.items()}


def _program(folder: Path, name: str) -> Path:
    candidates = [folder / other for other in _OTHER_NAMES.get(name, (name,))]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise BundleError(f"{folder}: no {name} in it")
    _check_program(found)
    return found


def _check_program(path: Path) -> None:
    """ELF's header and its table of segments (elf.h, Elf64_Ehdr and Elf64_Phdr)."""
    with path.open("rb") as f:
        header = f.read(64)
        if len(header) < 64 or header[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", header, 18)[0] != _AARCH64:
            raise BundleError(f"{path}: not a program for arm64 Linux")
        at, size, count = struct.unpack_from("<Q", header, 32)[0], *struct.unpack_from("<HH", header, 54)
        f.seek(at)
        table = f.read(size * min(count, _MOST_HEADERS))
    kinds = [struct.unpack_from("<I", table, i)[0] for i in range(0, len(table) - 3, max(4, size))]
    if _INTERPRETER in kinds:
        raise BundleError(
            f"{path}: it needs libraries; build llama.cpp with -DBUILD_SHARED_LIBS=OFF and link with -static"
        )
