"""OpenAI's JavaScript client against the server: another language's HTTP and another reading of the stream."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from exaone4_gguf.runtime.server.serve import Server

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("tool_loop.mjs")
MODULES = ROOT / ".venv" / "node_modules"


def test_a_full_tool_loop(server: Server, tmp_path: Path) -> None:
    """Its own runner calls the function, whole and streamed, and its errors are the right ones."""
    node = shutil.which("node")
    if not node or not (MODULES / "openai").is_dir():
        pytest.skip("node, or its package openai, is missing: npm install --prefix .venv openai")
    (tmp_path / "node_modules").symlink_to(MODULES)
    script = shutil.copy(SCRIPT, tmp_path)
    found = subprocess.run(
        [node, script, f"{server.url}/v1", "3", "5"], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    assert told["whole"] == told["streamed"] == "You rolled 3 and 5, 8 in total."
    assert told["pieces"] > 3
    assert told["rolled"] == [6, 6]
    assert told["refused"] == ["BadRequestError", 400, "temperature"]
