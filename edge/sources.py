"""llama.cpp's sources, as they come in llama-cpp-python's source distribution: found, checked, unpacked, kept."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from exaone4_gguf.edge.cache import cache_folder
from exaone4_gguf.errors import BundleError
from exaone4_gguf.format.atomic import place_folder

VERSION = "0.3.36"
SHA256 = {"0.3.36": "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"}
"""The source distributions on PyPI that bundles are built from, by their version."""

_INSIDE = PurePosixPath("vendor", "llama.cpp")


def llama_cpp_sources(version: str = VERSION) -> Path:
    """The folder of llama.cpp's sources in the cache, put there first if need be.

    Raises:
        BundleError: they cannot be fetched, or are not those that were pinned.
    """
    folder = _folder(version)
    if not folder.is_dir():
        _unpack(_source_distribution(version), version, folder)
    return folder


def cached_sources(version: str = VERSION) -> Path | None:
    """The same folder, if it is there already."""
    folder = _folder(version)
    if folder.is_dir():
        return folder
    return None


def _folder(version: str) -> Path:
    return cache_folder() / "sources" / f"llama.cpp-{version}"


def _source_distribution(version: str) -> Path:
    """The archive, checked: in the cache, else from where pip gets its packages."""
    if version not in SHA256:
        raise BundleError(f"no checksum is known for llama-cpp-python {version}; known: {', '.join(SHA256)}")
    folder = cache_folder() / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / f"llama_cpp_python-{version}.tar.gz"
    if not archive.is_file():
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            os.replace(_downloaded(version, Path(temporary)), archive)
    found = _sha256(archive)
    if found != SHA256[version]:
        archive.unlink()
        raise BundleError(
            f"{archive.name}: its SHA-256 is {found}, not {SHA256[version]}; it was removed: try again, "
            "or give --llama-cpp DIR"
        )
    return archive


def _downloaded(version: str, folder: Path) -> Path:
    # pip asks a source distribution for its metadata, with the build tools that it names: pip brings these.
    wanted = ["--no-deps", "--no-binary", "llama-cpp-python", f"llama-cpp-python=={version}"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(folder), *wanted]
    got = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
    found = sorted(folder.glob("llama_cpp_python-*.tar.gz"))
    if not found:
        reason = (got.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BundleError(f"pip cannot download the sources of llama-cpp-python {version}: {reason}")
    return found[0]


def _sha256(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def _unpack(archive: Path, version: str, folder: Path) -> None:
    """The part of the archive that is llama.cpp, under its name only when it is whole."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        with tarfile.open(archive) as tar:
            tar.extractall(temporary, members=_members(tar, version), filter="data")
        source = Path(temporary, f"llama_cpp_python-{version}", *_INSIDE.parts)
        if not (source / "CMakeLists.txt").is_file():
            raise BundleError(f"{archive}: llama.cpp is not in it")
        place_folder(source, folder)


def _members(tar: tarfile.TarFile, version: str) -> Iterator[tarfile.TarInfo]:
    start = f"llama_cpp_python-{version}/{_INSIDE}/"
    return (member for member in tar if member.name.startswith(start))
