"""llama.cpp's programs for arm64, cross-built by zig: static, so that any Linux kernel runs them, Android's as well.

zig brings its own C library (musl) and C++ library for every target, so nothing but two packages from PyPI is needed:
ziglang and cmake. A build takes about ten minutes on two cores; it is kept in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from exaone4_gguf.edge.cache import cache_folder
from exaone4_gguf.errors import BundleError
from exaone4_gguf.format.atomic import place_folder

PROGRAMS = ("llama-server", "llama-completion", "llama-bench", "rpc-server")
_TARGETS = {"rpc-server": "ggml-rpc-server"}
"""CMake's names, where they are others."""

Progress = Callable[[str, float], None]
"""Told what is being done, and how much of it: from 0 to 1."""


@dataclass(frozen=True)
class Build:
    """A set of programs: ``mcpu`` as zig has it, and what /proc/cpuinfo must list under Features to run them."""

    name: str
    mcpu: str
    features: tuple[str, ...]
    about: str


BUILDS = (
    Build(
        "armv8.2-dotprod",
        "cortex_a76",
        ("asimddp", "asimdhp", "atomics", "lrcpc"),
        "Raspberry Pi 5, phones since about 2018: dot products and half floats",
    ),
    # LLVM gives the Cortex-A72 AES and SHA instructions, which the Raspberry Pi 4 has not got.
    Build("armv8.0", "cortex_a72-aes-sha2", (), "Raspberry Pi 3 and 4, every arm64 board"),
)
"""The best one first."""

_TRIPLE = "aarch64-linux-musl"
_OPTIONS = {
    "BUILD_SHARED_LIBS": "OFF",
    "CMAKE_BUILD_TYPE": "Release",
    "CMAKE_EXE_LINKER_FLAGS": "-static -s",
    "GGML_CCACHE": "OFF",
    "GGML_NATIVE": "OFF",
    "GGML_OPENMP": "OFF",
    "GGML_RPC": "ON",
    "LLAMA_BUILD_APP": "OFF",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_OPENSSL": "OFF",
    "LLAMA_USE_PREBUILT_UI": "OFF",
}
_PERCENT = re.compile(r"^\[\s*(\d+)%\]|^\[(\d+)/(\d+)\]")


def cross_build(build: Build, source: Path, progress: Progress, jobs: int | None = None) -> dict[str, Path]:
    """The programs of one build, from the cache if they are there.

    Args:
        source: llama.cpp's source folder.
        jobs: compilers at a time; by default all processors.

    Raises:
        BundleError: zig or cmake is missing, or the build fails.
    """
    folder = built_folder(build, source)
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as temporary:
            made = _built(build, source, Path(temporary), progress, jobs)
            place_folder(made, folder)
    return {program: folder / program for program in PROGRAMS}


def built_folder(build: Build, source: Path) -> Path:
    """Where the programs of a build are kept, once they are made."""
    return cache_folder() / "builds" / f"{source.name}-{build.name}-{_fingerprint(build, source)}"


def _fingerprint(build: Build, source: Path) -> str:
    """What else decides what is built: another path or other options give another folder."""
    told = (str(source.resolve()), build.mcpu, _TRIPLE, sorted(_OPTIONS.items()), PROGRAMS)
    return hashlib.sha256(repr(told).encode()).hexdigest()[:12]


def _built(build: Build, source: Path, work: Path, progress: Progress, jobs: int | None) -> Path:
    zig, cmake = _tool("ziglang", "zig"), _tool("cmake", "cmake")
    tree, made = work / "tree", work / "made"
    log = cache_folder() / "builds" / f"{build.name}.log"
    defined = [f"-D{name}={value}" for name, value in _OPTIONS.items()]
    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={_toolchain(work, zig, build.mcpu)}"
    targets = [_TARGETS.get(program, program) for program in PROGRAMS]
    # Caches of its own: zig's default one may lie in a folder that nobody may write to.
    environment = os.environ | {
        "ZIG_GLOBAL_CACHE_DIR": str(cache_folder() / "zig"),
        "ZIG_LOCAL_CACHE_DIR": str(work / "z"),
    }
    with log.open("w", encoding="utf-8", buffering=1) as written:
        for command in (
            [*cmake, "-S", str(source), "-B", str(tree), toolchain, *defined],
            [*cmake, "--build", str(tree), "-j", str(jobs or os.cpu_count() or 1), "--target", *targets],
        ):
            with _running(command, environment) as lines:
                done = 0.0  # each of the programs is counted anew
                for line in lines:
                    written.write(line)
                    match = _PERCENT.match(line)
                    if match:
                        percent, count, total = match.groups()
                        share = int(percent) / 100 if percent else int(count) / int(total)
                        done = max(done, share)
                        progress(f"llama.cpp for {build.name}", done)
    made.mkdir()
    for program, target in zip(PROGRAMS, targets, strict=True):
        if not (tree / "bin" / target).is_file():
            raise BundleError(f"llama.cpp was not built for {build.name}: {_last_error(log)}; all of it: {log}")
        shutil.copy(tree / "bin" / target, made / program)
    log.unlink()
    return made


def _tool(module: str, name: str) -> list[str]:
    """The command that runs a tool from PyPI, installed beside us; cmake may also be the system's."""
    if importlib.util.find_spec(module):
        return [sys.executable, "-m", module]
    if module != "ziglang" and (found := shutil.which(name)):
        return [found]
    raise BundleError(f"{name} is missing: pip install 'exaone4-gguf[bundle]', or give --llama-cpp DIR")


def _toolchain(work: Path, zig: list[str], mcpu: str) -> Path:
    """A CMake toolchain file. CMake wants a compiler to be one program, so each is a script of two lines."""
    flags = f"-target {_TRIPLE} -mcpu={mcpu}"
    tools = {"cc": f"cc {flags}", "c++": f"c++ {flags}", "ar": "ar", "ranlib": "ranlib"}
    for tool, arguments in tools.items():
        (work / tool).write_text(f'#!/bin/sh\nexec {shlex.join(zig)} {arguments} "$@"\n')
        (work / tool).chmod(0o755)
    names = {"C_COMPILER": "cc", "CXX_COMPILER": "c++", "AR": "ar", "RANLIB": "ranlib"}
    lines = ["set(CMAKE_SYSTEM_NAME Linux)", "set(CMAKE_SYSTEM_PROCESSOR aarch64)"]
    lines += [f'set(CMAKE_{name} "{work / tool}")' for name, tool in names.items()]
    file = work / "zig.cmake"
    file.write_text("\n".join(lines) + "\n")
    return file


@contextmanager
def _running(command: list[str], environment: dict[str, str]) -> Iterator[Iterator[str]]:
    """A program's output, line by line. It is ended with us: Ctrl-C leaves no compiler behind."""
    process = subprocess.Popen(  # noqa: S603 - our own arguments
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield iter(process.stdout)
        process.wait()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
        process.stdout.close()


def _last_error(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    wrong = [line for line in lines if "error" in line.lower()]
    return (wrong or lines or ["no reason given"])[0][:200]
