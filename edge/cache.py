"""The user's cache folder: sources and cross-built programs, made once."""

from __future__ import annotations

from pathlib import Path

from platformdirs import user_cache_path


def cache_folder() -> Path:
    """Where to keep what can be made again: the system's place for it, and under XDG_CACHE_HOME where that is set."""
    return user_cache_path("exaone4-gguf", appauthor=False)
