"""Cross-building with zig: really done, of programs of a few lines."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from exaone4_gguf.edge import cross
from exaone4_gguf.edge.cache import cache_folder
from exaone4_gguf.edge.cross import BUILDS, PROGRAMS, built_folder, cross_build
from exaone4_gguf.edge.programs import given_programs
from exaone4_gguf.errors import BundleError

MAIN = '#include <string>\n#include <cstdio>\nint main() { std::puts((std::string("I am ") + NAME).c_str()); }\n'


def project(folder: Path, main: str = MAIN) -> Path:
    """A source folder whose programs have the names of llama.cpp's."""
    folder.mkdir()
    (folder / "main.cpp").write_text(main)
    names = [cross._TARGETS.get(name, name) for name in PROGRAMS]
    lines = [
        f'add_executable({name} main.cpp)\ntarget_compile_definitions({name} PRIVATE NAME="{name}")' for name in names
    ]
    output = "set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)"
    text = "\n".join(["cmake_minimum_required(VERSION 3.20)", "project(x C CXX)", output, *lines])
    (folder / "CMakeLists.txt").write_text(text)
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, but for zig's libraries, which take minutes to build."""
    zig = cache_folder() / "zig"
    if not zig.is_dir():
        pytest.skip("zig has built nothing here yet; `make test-peers` lets it")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache_folder().mkdir(parents=True)
    (cache_folder() / "zig").symlink_to(zig)
    return cache_folder()


def test_programs_for_every_board(cache: Path, tmp_path: Path) -> None:
    source, told = project(tmp_path / "x y'z"), []
    build = BUILDS[-1]
    made = cross_build(build, source, lambda what, done: told.append((what, done)), jobs=2)
    assert given_programs(built_folder(build, source))  # static, for arm64
    assert {what for what, _ in told} == {"llama.cpp for armv8.0"}
    assert told[-1][1] == 1.0
    assert [done for _, done in told] == sorted(done for _, done in told)
    if emulator := shutil.which("qemu-aarch64"):
        said = subprocess.run([emulator, "-cpu", "cortex-a72", made["rpc-server"]], capture_output=True, check=True)
        assert said.stdout == b"I am ggml-rpc-server\n"
    told.clear()
    assert cross_build(build, source, lambda what, done: told.append((what, done))) == made
    assert told == []
    assert [f.name for f in (cache / "builds").iterdir()] == [built_folder(build, source).name]


def test_what_does_not_compile_says_where(cache: Path, tmp_path: Path) -> None:
    source = project(tmp_path / "x", "int main() { return nothing; }\n")
    with pytest.raises(
        BundleError, match=r"was not built for armv8.0: .*main.cpp:1:\d+: error: .*'nothing'; all of it"
    ):
        cross_build(BUILDS[-1], source, lambda what, done: None)
    assert [f.name for f in (cache / "builds").iterdir()] == ["armv8.0.log"]


def test_without_the_tools(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        BundleError, match="zig is missing: pip install 'exaone4-gguf\\[bundle\\]', or give --llama-cpp"
    ):
        cross_build(BUILDS[0], tmp_path, lambda what, done: None)
    assert not any(f.is_dir() for f in (cache / "builds").iterdir())
