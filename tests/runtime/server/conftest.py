"""One server for all tests that only ask it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exaone4_gguf.runtime.server.serve import Server
from tests.runtime.server.running import running


@pytest.fixture(scope="session")
def server(demo_gguf: Path) -> Iterator[Server]:
    """It has no key, and answers on this machine."""
    with running(demo_gguf) as server:
        yield server
