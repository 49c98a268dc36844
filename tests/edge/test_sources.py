"""llama.cpp's sources: only those that were pinned, whole or not at all."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from exaone4_gguf.edge import sources
from exaone4_gguf.edge.cache import cache_folder
from exaone4_gguf.errors import BundleError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, and no network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "links"))
    (tmp_path / "links").mkdir()
    return cache_folder() / "sources"


def archive(folder: Path, files: dict[str, str], version: str = "0.0.1") -> str:
    """A source distribution; its checksum."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"llama_cpp_python-{version}.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"llama_cpp_python-{version}/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


WHOLE = {"vendor/llama.cpp/CMakeLists.txt": "x", "vendor/llama.cpp/src/a.cpp": "y", "setup.py": "no"}


def test_they_are_unpacked_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SHA256", {"0.0.1": archive(cache, WHOLE)})
    folder = sources.llama_cpp_sources("0.0.1")
    assert {str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file()} == {"CMakeLists.txt", "src/a.cpp"}
    (cache / "llama_cpp_python-0.0.1.tar.gz").unlink()
    assert sources.llama_cpp_sources("0.0.1") == folder == sources.cached_sources("0.0.1")
    assert [f.name for f in cache.iterdir()] == ["llama.cpp-0.0.1"]


def test_others_are_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive(cache, WHOLE)
    monkeypatch.setattr(sources, "SHA256", {"0.0.1": "0" * 64})
    with pytest.raises(BundleError, match="its SHA-256 is .* it was removed: try again, or give --llama-cpp DIR"):
        sources.llama_cpp_sources("0.0.1")
    assert list(cache.iterdir()) == []
    with pytest.raises(BundleError, match="no checksum is known for llama-cpp-python 9.9.9"):
        sources.llama_cpp_sources("9.9.9")
    monkeypatch.setattr(sources, "SHA256", {"0.0.1": archive(cache, {"setup.py": "x"})})
    with pytest.raises(BundleError, match="llama.cpp is not in it"):
        sources.llama_cpp_sources("0.0.1")


def test_where_pip_has_none(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SHA256", {"0.0.1": "0" * 64})
    with pytest.raises(BundleError, match="pip cannot download the sources of llama-cpp-python 0.0.1") as caught:
        sources.llama_cpp_sources("0.0.1")
    assert "\n" not in str(caught.value)


def test_the_pinned_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it has been fetched before."""
    path = cache_folder() / "sources" / f"llama_cpp_python-{sources.VERSION}.tar.gz"
    if not path.is_file():
        pytest.skip("the sources of llama-cpp-python are not in the cache")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sources.SHA256[sources.VERSION]


def test_a_relative_cache_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    assert cache_folder() == Path.home() / ".cache" / "exaone4-gguf"
