"""Where a model is: a folder, or a repository of the Hugging Face Hub, from its cache, or else fetched."""

from __future__ import annotations

import difflib
import logging
import os
import re
from pathlib import Path

from exaone4_gguf.converter.checkpoint.folder import weight_files
from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.format.disguise import disguise

_log = logging.getLogger(__name__)

_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_LONGEST_ID = 96
_FILE_NAMES = re.compile(r".*\.(gguf|safetensors|bin|json|pt|pth|ckpt|zip|tar|gz)", re.IGNORECASE)
_URL = re.compile(r"(?:https?://|hf://)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+).*|hf://([\w.-]+/[\w.-]+)")
_FILES = ("*.json", "*.jinja", "merges.txt", "README.md", "LICENSE*")

_TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
_TRUE = ("1", "ON", "YES", "TRUE")


def model_folder(model: str | Path) -> Path:
    """The folder that ``model`` names.

    The id of a repository means its snapshot in the Hub's cache, if that is whole, without asking the network; else it
    is downloaded, with huggingface_hub's progress bar. A path whose parent is there is no repository.

    Raises:
        CheckpointError: no such folder, and not to be fetched either.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise CheckpointError(_a_file(folder))
    if isinstance(model, Path) or not _may_be_repository(model):
        raise CheckpointError(f"{model}: no such folder{_meant(str(model))}")
    snapshot, lacking = _cached(model)
    if snapshot is not None and not lacking:
        _log.warning("%s: from the Hub's cache, revision %s, as it was fetched", model, snapshot.name[:12])
        return snapshot
    if folder.parent.is_dir():
        raise CheckpointError(
            f"{model}: no such folder; {folder.parent} is one here, so that the Hub is not asked{_meant(model)}"
        )
    if _is_offline():
        raise CheckpointError(f"{model}: no such folder, and the Hugging Face Hub gives none: offline, and {lacking}")
    return _fetch(model)


def _a_file(path: Path) -> str:
    if disguise(path) == "a GGUF file" or path.suffix == ".gguf":
        return f"{path}: it is a GGUF file, and a checkpoint's folder is wanted here; quantize takes GGUF files"
    if (path.parent / "config.json").is_file():
        return f"{path}: it is a file; give the folder of the checkpoint, {path.parent}"
    return f"{path}: it is a file; give the folder of the checkpoint"


def _may_be_repository(model: str) -> bool:
    """Whether it has the form of a repository's id (huggingface_hub.utils.validate_repo_id), and not that of a file."""
    is_id = _REPO_ID.fullmatch(model) and len(model) <= _LONGEST_ID and "--" not in model and ".." not in model
    return bool(is_id) and not model.endswith((".", "-", ".git")) and not _FILE_NAMES.fullmatch(model)


def _meant(model: str) -> str:
    """What was meant, perhaps."""
    match = _URL.fullmatch(model)
    if match:
        return f"; a repository of the Hub is named by its id, {match[1] or match[2]}"
    path = Path(model)
    if not path.parent.is_dir():
        missing = next((p for p in reversed(path.parents) if not p.exists()), None)
        if missing is None or model == path.name:
            return ""
        return f": {missing} is not there"
    folders = [p.name for p in path.parent.iterdir() if p.is_dir()]
    close = difflib.get_close_matches(path.name, folders, n=1)
    if close:
        return f"; there is {path.with_name(close[0])}"
    return ""


def _cached(repo: str) -> tuple[Path | None, str]:
    """The snapshot in the cache that huggingface_hub would take, and what is lacking.

    The layout is refs/main, which holds a commit, and snapshots/COMMIT, whose files are links to blobs that are whole.
    """
    place = hub_cache() / f"models--{repo.replace('/', '--')}"
    try:
        commit = (place / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None, f"the cache {hub_cache()} has none of it"
    snapshot = place / "snapshots" / commit
    if not re.fullmatch(r"\w+", commit) or not snapshot.is_dir():
        return None, f"the cache {place} has no snapshot of its main revision"
    lacking = _lacking(snapshot)
    return snapshot, f"its snapshot in the cache is not whole: {lacking}" if lacking else ""


def _lacking(snapshot: Path) -> str:
    """What a snapshot needs, and has not; links to blobs that are gone count as missing."""
    if not (snapshot / "config.json").is_file():
        return "config.json is missing"
    if not any(all((snapshot / name).is_file() for name in names) for names in _TOKENIZERS):
        return "tokenizer.json is missing"
    try:
        weight_files(snapshot)
    except CheckpointError as e:
        return str(e)
    return ""


def hub_cache() -> Path:
    """The Hub's cache, by the variables that huggingface_hub reads (its constants.py), in their order."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        value = os.environ.get(name)
        if value:
            return _expanded(value)
    home = os.environ.get("HF_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return _expanded(home) / "hub"


def _expanded(value: str) -> Path:
    return Path(os.path.expandvars(os.path.expanduser(value)))


def _is_offline() -> bool:
    value = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE") or ""
    return value.upper() in _TRUE


def _fetch(repo: str) -> Path:
    try:
        from huggingface_hub import list_repo_files, repo_info, snapshot_download
    except ImportError:
        raise CheckpointError(
            f"{repo}: no such folder; to fetch it from the Hugging Face Hub: pip install 'exaone4-gguf[hub]'"
        ) from None
    try:
        repo_info(repo)  # one try, that a network which is not there is told at once; the others retry for a while
        return Path(snapshot_download(repo, allow_patterns=[*_FILES, _weights(list_repo_files(repo))]))
    except Exception as e:  # huggingface_hub raises its own, requests', and the file system's
        reason = str(e).strip().splitlines()[0] if str(e).strip() else type(e).__name__
        raise CheckpointError(f"{repo}: no such folder, and the Hugging Face Hub gives none: {reason}") from e


def _weights(names: list[str]) -> str:
    """The files with the weights: many repositories have them in both formats."""
    if any(name.endswith(".safetensors") for name in names):
        return "*.safetensors"
    return "*.bin"
