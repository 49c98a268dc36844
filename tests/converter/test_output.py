"""Under the target's name there is nothing, the old file, or the whole new one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.converter import output, pipeline
from exaone4_gguf.converter.convert import convert, quantize
from exaone4_gguf.errors import OutputError
from tests.checkpoints import full_config, write_checkpoint

KILLS = 20
OLD = b"what was there before"


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that a conversion lasts a while."""
    config = full_config(num_hidden_layers=12, layer_types=["full_attention"] * 12)
    return write_checkpoint(tmp_path_factory.mktemp("wide"), config)


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".*partial"))


def start(folder: Path, target: Path) -> subprocess.Popen[bytes]:
    code = "import sys; from exaone4_gguf import convert; convert(sys.argv[1], sys.argv[2], 'Q4_K_M', force=True)"
    return subprocess.Popen([sys.executable, "-c", code, folder, target])


def test_a_killed_run_leaves_the_old_file_or_the_whole_new_one(wide: Path, tmp_path: Path) -> None:
    whole = convert(wide, tmp_path / "whole.gguf", "Q4_K_M").paths[0].read_bytes()
    process = start(wide, tmp_path / "timed.gguf")
    began = time.monotonic()
    process.wait()
    lasts = time.monotonic() - began
    moments = random.Random(0)
    seen = set()
    for i in range(KILLS):
        target = tmp_path / f"out-{i}.gguf"
        if i % 2:
            target.write_bytes(OLD)
        process = start(wide, target)
        time.sleep(moments.uniform(0.1, 1.1) * lasts)
        process.send_signal(signal.SIGKILL)
        process.wait()
        found = target.read_bytes() if target.exists() else None
        assert found in ((OLD if i % 2 else None), whole)
        seen.add(found == whole)
    assert False in seen  # otherwise nothing was killed in time
    convert(wide, tmp_path / "next.gguf", "Q8_0")
    assert not leftovers(tmp_path)


def test_the_folder_of_a_run_that_lives_is_left_alone(tmp_path: Path) -> None:
    live, lock = output.locked_folder(tmp_path)
    dead = tmp_path / ".dead.exaone4-gguf-partial"
    dead.mkdir()
    output.remove_abandoned(tmp_path)
    assert leftovers(tmp_path) == [live]
    assert lock is not None
    os.close(lock)
    output.remove_abandoned(tmp_path)
    assert not leftovers(tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_run_that_fails_leaves_what_was_there(
    error: BaseException, full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C and a full disk, in the middle of writing."""
    target = tmp_path / "out.gguf"
    target.write_bytes(OLD)
    calls = iter(range(100_000))

    def fails_later(fd: int, data: memoryview, offset: int) -> None:
        if next(calls) == 5:
            raise error

    monkeypatch.setattr(output, "_write_at", fails_later)
    with pytest.raises((KeyboardInterrupt, OutputError)) as raised:
        convert(full, target, force=True)
    if isinstance(error, OSError):
        assert str(raised.value) == f"{target}: it cannot be written: No space left on device"
    assert target.read_bytes() == OLD
    assert not leftovers(tmp_path)
    assert threading.active_count() == 1 or not any(t.name.startswith("quantize") for t in threading.enumerate())


def test_an_existing_target_needs_force(full: Path, tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_bytes(OLD)
    with pytest.raises(OutputError, match="a.gguf: it exists already; --force replaces it"):
        convert(full, tmp_path / "a.gguf")
    assert (tmp_path / "a.gguf").read_bytes() == OLD
    assert convert(full, tmp_path / "a.gguf", force=True).paths[0].read_bytes() != OLD


def test_what_is_no_regular_file_is_not_replaced(full: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OutputError, match="fifo: it is no regular file"):
        convert(full, tmp_path / "fifo", force=True)


def test_the_input_is_not_replaced(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", full_config())
    for name in ("model.safetensors", "config.json"):
        with pytest.raises(OutputError, match=f"{name}: the target is the input itself"):
            convert(folder, folder / name, force=True)
    parts = convert(folder, folder / "a.gguf", split_max_size=1_000_000).paths
    with pytest.raises(OutputError, match="the target is the input itself"):
        quantize(parts[0], parts[1], "BF16", force=True)


def test_a_target_that_comes_meanwhile_is_not_replaced(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "a.gguf"
    real = pipeline.run

    def run(*args: Any) -> None:
        real(*args)
        target.write_bytes(OLD)

    monkeypatch.setattr(pipeline, "run", run)
    with pytest.raises(OutputError, match="it exists already"):
        convert(full, target)
    assert target.read_bytes() == OLD
    assert not leftovers(tmp_path)


def test_what_a_killed_run_left_is_removed_before_the_disk_is_measured(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = tmp_path / ".dead.exaone4-gguf-partial"
    dead.mkdir()
    free = {True: 1000, False: 10**12}
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": free[dead.exists()]})())
    convert(full, tmp_path / "a.gguf")


def test_a_missing_folder(full: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="none: no such folder"):
        convert(full, tmp_path / "none" / "a.gguf")


def test_a_disk_that_is_too_small(full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before the first weight is read, with what is needed and what is free."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    monkeypatch.setattr(pipeline, "run", lambda *args: pytest.fail("weights were read"))
    with pytest.raises(OutputError, match=r"the disk is too small: [\d,]{7,} bytes needed, 1,000 free"):
        convert(full, tmp_path / "a.gguf")


def test_a_split_set_is_complete_or_has_no_first_part(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first part, which llama.cpp is given, comes last; the old one goes first."""
    paths = convert(full, tmp_path / "s.gguf", split_max_size=1_000_000).paths
    replaced: list[Path] = []
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        assert not paths[0].exists()
        replaced.append(target)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    convert(full, tmp_path / "s.gguf", split_max_size=1_000_000, force=True)
    assert replaced == list(reversed(paths))


def hidden(folder: Path) -> list[Path]:
    return [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("there", [True, False], ids=["there", "dangling"])
@pytest.mark.parametrize("relative", [True, False])
def test_behind_a_symbolic_link_the_file_is_written_and_the_link_stays(
    relative: bool, there: bool, full: Path, full_gguf: Path, tmp_path: Path
) -> None:
    """Through two links, into another folder."""
    disk = tmp_path / "disk"
    disk.mkdir()
    real, link, first = disk / "real.gguf", tmp_path / "second", tmp_path / "first.gguf"
    link.symlink_to(os.path.relpath(real, tmp_path) if relative else real)
    first.symlink_to(link.name)
    if there:
        real.write_bytes(OLD)
        with pytest.raises(OutputError, match="first.gguf: it exists already"):
            convert(full, first)
    assert convert(full, first, force=there).paths == (first,)
    assert (first.readlink(), link.is_symlink(), real.is_symlink()) == (Path(link.name), True, False)
    assert real.read_bytes() == full_gguf.read_bytes()
    quantize(full_gguf, first, "Q8_0", force=True)
    assert first.is_symlink()
    assert real.read_bytes() == convert(full, tmp_path / "x.gguf", "Q8_0").paths[0].read_bytes()
    assert not hidden(tmp_path)
    assert not hidden(disk)


def test_links_that_lead_nowhere_are_refused(full: Path, tmp_path: Path) -> None:
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "far").symlink_to(tmp_path / "none" / "x.gguf")
    for name in ("self", "a", "b"):
        with pytest.raises(OutputError, match=f"{name}: it is a symbolic link that leads back to itself"):
            convert(full, tmp_path / name, force=True)
    with pytest.raises(OutputError, match="none: no such folder, where the link .*far leads"):
        convert(full, tmp_path / "far", force=True)
    assert all(path.is_symlink() for path in tmp_path.iterdir())


def test_parts_that_are_links(full: Path, tmp_path: Path) -> None:
    """Each is followed, to a folder of its own; two may not lead to one file."""
    paths = convert(full, tmp_path / "s.gguf", split_max_size=1_000_000).paths
    before = [path.read_bytes() for path in paths]
    disk = tmp_path / "disk"
    disk.mkdir()
    paths[0].unlink()
    paths[0].symlink_to(disk / "one")
    convert(full, tmp_path / "s.gguf", split_max_size=1_000_000, force=True)
    assert [path.read_bytes() for path in paths] == before
    assert (paths[0].is_symlink(), paths[1].is_symlink()) == (True, False)
    paths[1].unlink()
    paths[1].symlink_to(disk / "one")
    with pytest.raises(OutputError, match="two of its files are links to one"):
        convert(full, tmp_path / "s.gguf", split_max_size=1_000_000, force=True)
    assert not hidden(tmp_path)
    assert not hidden(disk)


def test_the_input_behind_a_link_is_not_replaced(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", full_config())
    (tmp_path / "link.gguf").symlink_to(folder / "model.safetensors")
    with pytest.raises(OutputError, match="the target is the input itself"):
        convert(folder, tmp_path / "link.gguf", force=True)


def test_a_run_that_fails_leaves_the_file_behind_a_link(
    full: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    (disk / "real").write_bytes(OLD)
    (tmp_path / "link").symlink_to(disk / "real")
    monkeypatch.setattr(pipeline, "run", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        convert(full, tmp_path / "link", force=True)
    assert (disk / "real").read_bytes() == OLD
    assert not hidden(tmp_path)
    assert not hidden(disk)
