"""What the machine has, read from the system."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from exaone4_gguf.runtime.llama import machine


def test_physical_cores_are_at_most_the_processors() -> None:
    assert 1 <= machine.physical_cores() <= (os.cpu_count() or 1)


def test_two_threads_of_a_core_count_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for cpu in range(4):
        topology = tmp_path / f"cpu{cpu}" / "topology"
        topology.mkdir(parents=True)
        (topology / "thread_siblings_list").write_text(f"{cpu % 2},{cpu % 2 + 2}\n")
    monkeypatch.setattr(machine, "_CPUS", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    assert machine.physical_cores() == 2


def test_cores_where_a_process_has_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS and Windows."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    for found, cores in ((3, 3), (None, os.cpu_count() or 1)):
        monkeypatch.setattr(psutil, "cpu_count", lambda logical, found=found: found)
        assert machine.physical_cores() == cores


@pytest.mark.skipif(not psutil.LINUX, reason="reads /proc")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of psutil, on figures that the file does not have
def test_available_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 2000 kB\nMemFree: 10 kB\nMemAvailable:    1000 kB\n")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    assert machine.available_memory() == 1024_000
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "none"))
    assert machine.available_memory() is None


@pytest.mark.parametrize(("memory", "context"), [(None, 8192), (0, 2048), (4 * 10**9, 25856), (10**12, 65536)])
def test_the_context_fits_memory_up_to_the_trained_length(memory: int | None, context: int) -> None:
    assert machine.fitting_context(65536, 61440, 10**9 + 400 * 10**6, memory) == context
