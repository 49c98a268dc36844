"""A folder, or a repository: from the Hub's cache, or fetched. Nothing here reaches the network."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from exaone4_gguf.converter.checkpoint.hub import hub_cache, model_folder
from exaone4_gguf.converter.convert import convert
from exaone4_gguf.converter.inspect import inspect
from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.proof.imatrix import imatrix
from exaone4_gguf.proof.verify import verify
from tests.checkpoints import full_config, write_checkpoint

REPO = "LGAI-EXAONE/EXAONE-4.0-Tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
Cache = Callable[..., Path]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, no cache of the machine's, and a working folder without anything in it."""

    def connect(*args: object) -> None:
        pytest.fail("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def cache(tmp_path: Path, full: Path) -> Cache:
    """A cache as huggingface_hub lays it out, with a snapshot of ``folder``; some names may be left out."""

    def make(hub: Path = tmp_path / "hf" / "hub", folder: Path = full, without: tuple[str, ...] = ()) -> Path:
        place = hub / f"models--{REPO.replace('/', '--')}"
        snapshot = place / "snapshots" / COMMIT
        for path in (place / "blobs", place / "refs", snapshot):
            path.mkdir(parents=True)
        (place / "refs" / "main").write_text(COMMIT)
        for file in (f for f in sorted(folder.iterdir()) if f.name not in without):
            blob = place / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
            shutil.copy(file, blob)
            (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
        return snapshot

    return make


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert model_folder(str(tmp_path)) == tmp_path


NO_IDS = (
    *("/no/such", "no such", "a/b/c", "../x", "모델/병합", "./a/b", "a/b/", "~/a", "a\\b", "-a/b"),
    *("a/b--c", "a/b..c", "a/.b", "a/b.git", "a" * 60 + "/" + "b" * 60),
    *("runs/model.gguf", "x/model.safetensors"),
)


@pytest.mark.parametrize("name", NO_IDS)
def test_what_is_no_repository_id_is_not_fetched(name: str) -> None:
    with pytest.raises(CheckpointError, match=r": no such folder(: .* is not there)?$"):
        model_folder(name)


@pytest.mark.parametrize("name", ["runs/merged", "LGAI-EXAONE/EXAONE-4.0-1.2B"])
def test_where_the_parent_is_there_the_hub_is_not_asked(name: str) -> None:
    Path(name).parent.mkdir()
    with pytest.raises(CheckpointError, match=f"^{name}: no such folder; {Path(name).parent} is one here"):
        model_folder(name)


def test_a_folder_of_almost_that_name_is_named() -> None:
    Path("runs/merged-1").mkdir(parents=True)
    for name in ("runs/merged", "runs/mergd-1", f"{Path.cwd()}/runs/merged"):
        with pytest.raises(CheckpointError, match="there is .*runs/merged-1$"):
            model_folder(name)


@pytest.mark.parametrize("url", ["https://huggingface.co/a/b", "https://huggingface.co/a/b/tree/main", "hf://a/b"])
def test_an_address_is_answered_with_the_id(url: str) -> None:
    with pytest.raises(CheckpointError, match="is named by its id, a/b$"):
        model_folder(url)


def test_a_file_is_told_from_a_folder(full: Path, full_gguf: Path) -> None:
    with pytest.raises(CheckpointError, match=f"it is a file; give the folder of the checkpoint, {full}$"):
        model_folder(full / "config.json")
    with pytest.raises(CheckpointError, match="it is a GGUF file, .*; quantize takes GGUF files"):
        model_folder(str(full_gguf))


PLACES = [
    ({"HF_HOME": "{}/x"}, "x/hub"),
    ({"HF_HUB_CACHE": "{}/y", "HF_HOME": "{}/x"}, "y"),
    ({"HUGGINGFACE_HUB_CACHE": "{}/z", "HF_HOME": "{}/x"}, "z"),
    ({"HF_HOME": "", "XDG_CACHE_HOME": "{}/c"}, "c/huggingface/hub"),
    ({"HF_HOME": "", "XDG_CACHE_HOME": "", "HOME": "{}/h"}, "h/.cache/huggingface/hub"),
    ({"HF_HOME": "$WHERE/x", "WHERE": "{}"}, "x/hub"),
    ({"HF_HOME": "~/x", "HOME": "{}"}, "x/hub"),
]


@pytest.mark.parametrize(("variables", "place"), PLACES)
def test_the_cache_is_where_the_variables_say(
    variables: dict[str, str], place: str, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert hub_cache() == tmp_path / place
    snapshot = cache(tmp_path / place)
    assert model_folder(REPO) == snapshot


def test_the_layout_and_the_snapshot_are_huggingface_hubs(cache: Cache, tmp_path: Path) -> None:
    snapshot = cache()
    found = huggingface_hub.snapshot_download(REPO, cache_dir=tmp_path / "hf" / "hub", local_files_only=True)
    assert Path(found) == snapshot == model_folder(REPO)
    assert [str(repo.repo_id) for repo in huggingface_hub.scan_cache_dir(tmp_path / "hf" / "hub").repos] == [REPO]


@pytest.mark.parametrize("offline", [None, "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_every_command_uses_the_cached_snapshot(
    offline: str | None, cache: Cache, full_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name and the organization are the repository's."""
    cache()
    if offline:
        monkeypatch.setenv(offline, "1")
    converted = convert(REPO, tmp_path, "BF16").paths[0]
    assert converted.name == "EXAONE-4.0-Tiny-BF16.gguf"
    assert inspect(REPO).weights == inspect(converted).weights
    assert inspect(REPO).metadata["general.organization"] == "LGAI-EXAONE"
    assert verify(REPO, full_gguf, parts=["metadata", "tensors"]).verdict == "passed"
    (tmp_path / "text").write_text("안녕하세요! " * 40)
    assert imatrix(REPO, tmp_path / "m.gguf", tmp_path / "text", ctx_size=16, chunks=1).entries


def test_the_main_revision_counts(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    other = cache().with_name("f" * 40)
    other.mkdir()
    (other.parent.parent / "refs" / "main").write_text("f" * 40)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=r"config\.json is missing"):
        model_folder(REPO)


def test_an_incomplete_snapshot_is_fetched_or_told(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_checkpoint(tmp_path / "model", full_config(), shards=3)
    snapshot = cache(folder=folder, without=("model-00002-of-00003.safetensors",))
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda repo: ["model-00001-of-00003.safetensors"])
    monkeypatch.setattr("huggingface_hub.repo_info", lambda repo: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda repo, allow_patterns: str(tmp_path))
    assert model_folder(REPO) == tmp_path
    monkeypatch.setenv("HF_HUB_OFFLINE", "yes")
    with pytest.raises(CheckpointError, match="offline, and its snapshot in the cache is not whole: .*00002-of-00003"):
        model_folder(REPO)
    (snapshot / "tokenizer.json").resolve().unlink()  # the blob is gone, its link is left
    with pytest.raises(CheckpointError, match="not whole: tokenizer.json is missing"):
        model_folder(REPO)


@pytest.mark.parametrize("ref", [b"", b"../../..", b"\xff", None])
def test_a_damaged_cache_is_none(ref: bytes | None, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    main = cache().parent.parent / "refs" / "main"
    main.unlink() if ref is None else main.write_bytes(ref)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="gives none: offline, and the cache .* has no"):
        model_folder(REPO)


def test_a_repository_is_fetched_with_what_a_conversion_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def download(repo: str, allow_patterns: list[str]) -> str:
        asked.update(repo=repo, patterns=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.repo_info", lambda repo: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda repo: ["model.safetensors", "pytorch_model.bin"])
    assert model_folder("LGAI-EXAONE/EXAONE-4.0-1.2B") == tmp_path
    assert asked["repo"] == "LGAI-EXAONE/EXAONE-4.0-1.2B"
    assert {"*.safetensors", "*.json", "*.jinja", "LICENSE*"} <= set(asked["patterns"])
    assert "*.bin" not in asked["patterns"]


def test_a_network_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    """huggingface_hub lists files with five more tries, two lines for each, and 24 seconds."""
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{closed.getsockname()[1]}"
        environ = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": ""}
        command = [sys.executable, "-m", "exaone4_gguf", "inspect", "runs/merged"]
        told = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert told.returncode == 2
    assert re.fullmatch(r"exaone4-gguf: runs/merged: no such folder, and .* gives none: .*refused.*\n", told.stderr)
