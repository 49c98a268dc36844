"""Builds what the tests of ``make test-peers`` compare with, once, into the cache: prints the folder of the programs.

llama.cpp's own programs for this machine, with the RPC backend, as shared libraries that llama-cpp-python can use as
well (LLAMA_CPP_LIB_PATH); and the programs of bundles. With ``--cached`` nothing is built: where something is missing
it says so, and the exit code is 1.

    python -m tests.edge.build_peers [--cached]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from exaone4_gguf.edge.cache import cache_folder
from exaone4_gguf.edge.cross import BUILDS, built_folder, cross_build
from exaone4_gguf.edge.sources import cached_sources, llama_cpp_sources

TARGETS = ("llama-server", "ggml-rpc-server")
OPTIONS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DGGML_RPC=ON",
    "-DLLAMA_BUILD_TESTS=OFF",
    "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_BUILD_UI=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF",
    "-DLLAMA_OPENSSL=OFF",
)


def missing() -> list[Path]:
    """What would have to be built, or fetched."""
    source = cached_sources()
    if source is None:
        return [cache_folder() / "sources"]
    wanted = [*(built_folder(build, source) for build in BUILDS), *_programs(_tree(source))]
    return [path for path in wanted if not path.exists()]


def _tree(source: Path) -> Path:
    return cache_folder() / "peers" / source.name


def _programs(tree: Path) -> list[Path]:
    return [tree / "bin" / name for name in TARGETS]


def native(source: Path) -> Path:
    """The folder of the programs for this machine."""
    tree = _tree(source)
    cmake = [sys.executable, "-m", "cmake"]
    if not all(path.is_file() for path in _programs(tree)):
        for command in (
            [*cmake, "-S", str(source), "-B", str(tree), *OPTIONS],
            [*cmake, "--build", str(tree), "-j", str(os.cpu_count() or 1), "--target", *TARGETS],
        ):
            subprocess.run(command, check=True, stdout=sys.stderr)
    return tree / "bin"


def main() -> None:
    """Build all of it, where it is not there."""
    if "--cached" in sys.argv and (found := missing()):
        sys.exit(f"not built: {', '.join(map(str, found))}")
    source = llama_cpp_sources()
    for build in BUILDS:
        cross_build(build, source, lambda what, done: print(f"{what}: {done:.0%}", end="\r", file=sys.stderr))
    print(native(source))


if __name__ == "__main__":
    main()
