"""Fixtures that several test files share."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.llama.model import Model
from tests.checkpoints import DEMO, full_config, hybrid_config, write_checkpoint
from tests.markers import MODEL, SLOW, mark

SHARED = Path(__file__).parent.parent.parent / "shared"


def pytest_configure() -> None:
    """Ctrl-C is what it is at a terminal: a shell starts what runs in the background with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Markers are given here, by what a test uses."""
    for item in items:
        mark(item)


@pytest.fixture(autouse=True)
def _unmarked_loads_none(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quick test that loads a model fails: its way to it is missing in ``markers``."""

    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError(f"this test loads a model: tests/markers.py does not see it ({request.node.nodeid})")

    if not any(request.node.get_closest_marker(marker) for marker in (MODEL, SLOW)):
        monkeypatch.setattr(Model, "__init__", refuse)


@pytest.fixture(scope="session")
def demo() -> Path:
    """The bundled checkpoint."""
    return DEMO


@pytest.fixture(scope="session")
def published() -> Path:
    """Every file of the published 1.2B but its weights; LG's, so it is not in the repository."""
    folder = SHARED / "exaone-4.0-1.2b"
    if not folder.is_dir():
        pytest.skip("the published files are not at ../shared")
    return folder


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint like the 1.2B."""
    return write_checkpoint(tmp_path_factory.mktemp("full") / "EXAONE-4.0-Tiny", full_config())


@pytest.fixture(scope="session")
def hybrid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint like the 32B, in three shards."""
    return write_checkpoint(tmp_path_factory.mktemp("hybrid") / "hybrid", hybrid_config(), shards=3)


@pytest.fixture(scope="session")
def full_gguf(full: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lossless file of ``full``."""
    return convert(full, tmp_path_factory.mktemp("gguf") / "full.gguf").paths[0]


@pytest.fixture(scope="session")
def demo_gguf(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled checkpoint, converted."""
    return convert(demo, tmp_path_factory.mktemp("demo") / "demo.gguf", "Q8_0").paths[0]


@pytest.fixture(scope="session")
def talker(demo_gguf: Path) -> Iterator[Exaone4]:
    """The bundled model, ready to talk."""
    with Exaone4(demo_gguf, n_ctx=2048) as model:
        yield model


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Write a random checkpoint like the 1.2B, with changes to its configuration, into a new folder."""
    return lambda **changes: write_checkpoint(tmp_path / "model", full_config(**changes))
