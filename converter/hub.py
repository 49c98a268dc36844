"""Where a model is: a folder, or a repository of the Hugging Face Hub that is fetched first."""

from __future__ import annotations

import re
from pathlib import Path

from exaone4_gguf.errors import CheckpointError

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILES = ("*.json", "*.jinja", "merges.txt", "README.md", "LICENSE*")


def model_folder(model: str | Path) -> Path:
    """The folder that ``model`` names; a repository id is downloaded, with huggingface_hub's progress bar.

    Raises:
        CheckpointError: no such folder, and not to be fetched either.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(f"{folder}: it is a file; give the folder of the checkpoint")
    if isinstance(model, Path) or not _REPO_ID.fullmatch(model):
        raise CheckpointError(f"{folder}: no such folder")
    return _fetch(model)


def _fetch(repo: str) -> Path:
    try:
        from huggingface_hub import list_repo_files, snapshot_download
    except ImportError:
        raise CheckpointError(
            f"{repo}: no such folder; to fetch it from the Hugging Face Hub: pip install 'exaone4-gguf[hub]'"
        ) from None
    try:
        return Path(snapshot_download(repo, allow_patterns=[*_FILES, _weights(list_repo_files(repo))]))
    except Exception as e:  # huggingface_hub raises its own, requests', and the file system's
        reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise CheckpointError(f"{repo}: no such folder, and the Hugging Face Hub gives none: {reason}") from e


def _weights(names: list[str]) -> str:
    """The files with the weights: many repositories have them in both formats."""
    return "*.safetensors" if any(name.endswith(".safetensors") for name in names) else "*.bin"
