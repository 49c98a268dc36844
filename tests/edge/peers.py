"""llama.cpp's own programs, run for comparison: those of a folder named by EXAONE4_LLAMA_CPP, or on the PATH."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FOLDER = "EXAONE4_LLAMA_CPP"
STARTING_SECONDS = 120


def program(*names: str) -> Path:
    """A program of llama.cpp's, by any name; without it the test is skipped, or fails where a folder is named."""
    folder = os.environ.get(FOLDER) or None
    found = next((path for name in names if (path := shutil.which(name, path=folder))), None)
    if found is None:
        assert folder is None, f"no {names[0]} in {folder}, which {FOLDER} names"
        pytest.skip(f"no {names[0]}: {FOLDER} names no folder, and it is not on the PATH")
    return Path(found)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def get(url: str, body: Any = None) -> Any:
    """What a server answers to a request, as JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return json.load(answer)


@contextmanager
def serving(command: Sequence[str | Path], port: int, **environment: str) -> Iterator[str]:
    """A server that is told its port by ``command``: its address, once it is ready."""
    environment = os.environ | {"LLAMA_ARG_WARMUP": "0"} | environment
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )
    try:
        yield _ready(process, f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.communicate()


def _ready(process: subprocess.Popen[str], address: str) -> str:
    until = time.monotonic() + STARTING_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise AssertionError(f"the server ended: {process.communicate()[0][-2000:]}")
        try:
            get(f"{address}/health")
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
        else:
            return address
    raise AssertionError("the server does not get ready")
