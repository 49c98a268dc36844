"""What a file really is, where its content is not what its name says: mostly, downloads that went wrong.

To tell another kind, add a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_POINTER = "a Git LFS pointer, not the file itself: git lfs pull fetches that"
_ANNEXED = "a git-annex pointer, not the file itself: git annex get fetches that"
_PAGE = "a web page, not the file; download it again (on the Hugging Face Hub, by a link with /resolve/ in it)"
_TORCH = "in torch's format; its name must end in .bin"


@dataclass(frozen=True)
class Kind:
    """Files that begin so, in lower case, after blanks and a byte order mark; those of ``suffix`` may do so."""

    start: bytes
    what: str
    suffix: str = ""


KINDS = (
    Kind(b"version https://git-lfs.github.com/spec/", _POINTER),
    Kind(b"version https://hawser.github.com/spec/", _POINTER),  # Git LFS before 1.0
    Kind(b"/annex/objects/", _ANNEXED),
    Kind(b"../.git/annex/objects/", _ANNEXED),
    Kind(b"<!doctype html", _PAGE),
    Kind(b"<html", _PAGE),
    Kind(b"<?xml", "an XML document, as servers send for errors; download the file again"),
    Kind(b"gguf", "a GGUF file", ".gguf"),
    Kind(b"\x80\x02\x8a\x0al\xfc\x9cf\xf9 j\xa8p\x19.", _TORCH, ".bin"),  # before torch 1.6
    Kind(b"\x89hdf\r\n\x1a\n", "an HDF5 file, as TensorFlow writes"),
    Kind(b"\x1f\x8b", "a gzip archive; unpack it"),
    Kind(b"bzh", "a bzip2 archive; unpack it"),
    Kind(b"\xfd7zxz\0", "an xz archive; unpack it"),
    Kind(b"\x28\xb5\x2f\xfd", "a zstandard archive; unpack it"),
    Kind(b"7z\xbc\xaf\x27\x1c", "a 7z archive; unpack it"),
    Kind(b"rar!", "a rar archive; unpack it"),
    Kind(b"pk\x03\x04", "a zip archive; unpack it"),
)
_TORCH_ZIP = Kind(b"pk\x03\x04", _TORCH, ".bin")
_SAFETENSORS = Kind(b"", "a safetensors file; its name must end in .safetensors", ".safetensors")
_ZEROS = "nothing but zeros at its beginning, as a download leaves it that was not finished"

_HEAD = 4096
_SHOWN = 60

_UNFINISHED = (".incomplete", ".part", ".partial", ".crdownload", ".download", ".aria2", ".tmp")
"""What programs add to the name of a file that they are still fetching."""


def disguise(path: Path, *, text: bool = False) -> str | None:
    """What the file is instead, or None where that cannot be told.

    Args:
        text: the file should be text; otherwise, that it is text tells something too.
    """
    try:
        with path.open("rb") as f:
            head = f.read(_HEAD)
    except OSError:
        return None
    if not head.strip(b"\0"):
        if head:
            return _ZEROS
        return "empty"
    kind = _kind(head)
    if kind:
        its_own = kind.suffix and kind.suffix == path.suffix
        if its_own:
            return None
        return kind.what
    if text:
        return None
    return _as_text(head)


def _kind(head: bytes) -> Kind | None:
    if head.startswith(b"PK\x03\x04") and b"data.pkl" in head:
        return _TORCH_ZIP
    if head[8:10] == b'{"':
        return _SAFETENSORS
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((kind for kind in KINDS if start.startswith(kind.start)), None)


def _as_text(head: bytes) -> str | None:
    """What a server said instead of sending the file, perhaps."""
    try:
        words = " ".join(head.decode("utf-8").split())
    except UnicodeDecodeError:
        return None
    if not words.isprintable():
        return None
    return f"a text, which begins with '{words[:_SHOWN]}'"


def unfinished(path: Path) -> Path | None:
    """What a download of this file has left, which was not finished: beside it, or in the Hub's folder for it."""
    beside = (path.with_name(path.name + ending) for ending in _UNFINISHED)
    found = next((p for p in beside if p.is_file()), None)
    if found is not None:
        return found
    folder = path.parent / ".cache" / "huggingface" / "download"  # huggingface_hub with local_dir
    return next((p for p in folder.glob("*.incomplete") if p.name.startswith(f"{path.name}.")), None)


def download_hint(path: Path) -> str:
    """What to add where a file is missing: a download of it that was not finished."""
    left = unfinished(path)
    if left is None:
        return ""
    return f"; its download was not finished ({left.name})"


def is_being_fetched(path: Path) -> bool:
    """Whether a file has its size already, but is not whole: aria2 makes room first, and has a file beside."""
    return path.with_name(f"{path.name}.aria2").exists()
