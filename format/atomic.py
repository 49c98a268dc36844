"""Writing a file under another name and giving it its own when it is whole: a reader never sees half of it."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a hidden path beside ``path`` to write to, which replaces it if nothing fails.

    The new file is on the disk before it gets the name, so that no crash leaves an empty one.
    On a failure it is removed, and the old file stays. Its name ends as ``path``'s does.
    """
    partial = path.with_name(f".{secrets.token_hex(4)}.{path.name}")
    try:
        yield partial
        with partial.open("rb+") as f:
            os.fsync(f.fileno())
        os.replace(partial, path)
    finally:
        with suppress(OSError):  # after a success there is none
            partial.unlink()


def place_folder(made: Path, folder: Path) -> None:
    """Rename a folder that is whole; where another run was quicker, that one's stays."""
    try:
        os.replace(made, folder)
    except OSError:
        if not folder.is_dir():
            raise
