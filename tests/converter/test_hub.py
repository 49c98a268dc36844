"""A folder, or a repository that is fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.converter.hub import model_folder
from exaone4_gguf.errors import CheckpointError


def test_a_folder_is_itself(tmp_path: Path) -> None:
    assert model_folder(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", ["/no/such", "no such", "a/b/c", "../x"])
def test_what_is_no_repository_id_is_not_fetched(name: str) -> None:
    with pytest.raises(CheckpointError, match="no such folder$"):
        model_folder(name)


def test_a_repository_is_fetched_with_what_a_conversion_needs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def download(repo: str, allow_patterns: list[str]) -> str:
        asked.update(repo=repo, patterns=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.list_repo_files", lambda repo: ["model.safetensors", "pytorch_model.bin"])
    assert model_folder("LGAI-EXAONE/EXAONE-4.0-1.2B") == tmp_path
    assert asked["repo"] == "LGAI-EXAONE/EXAONE-4.0-1.2B"
    assert {"*.safetensors", "*.json", "*.jinja", "LICENSE*"} <= set(asked["patterns"])
    assert "*.bin" not in asked["patterns"]
