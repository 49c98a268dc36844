"""The user's cache folder: sources and cross-built programs, made once."""

from __future__ import annotations

import os
from pathlib import Path

_NAME = "exaone4-gguf"


def cache_folder() -> Path:
    """Where to keep what can be made again: under XDG_CACHE_HOME, else ~/.cache (XDG Base Directory specification)."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if os.path.isabs(given) else Path.home() / ".cache"  # a relative path is to be ignored
    return base / _NAME
