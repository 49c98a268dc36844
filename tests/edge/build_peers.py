"""Builds what the tests of ``make test-peers`` compare with, once, into the cache: prints the folder of the programs.

llama.cpp's own programs for this machine, with the RPC backend, as shared libraries that llama-cpp-python can use as
well (LLAMA_CPP_LIB_PATH); and the programs of bundles.

    python -m tests.edge.build_peers
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from exaone4_gguf.edge.cache import cache_folder
from exaone4_gguf.edge.cross import BUILDS, cross_build
from exaone4_gguf.edge.sources import llama_cpp_sources

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


def native(source: Path) -> Path:
    """The folder of the programs for this machine."""
    tree = cache_folder() / "peers" / source.name
    cmake = [sys.executable, "-m", "cmake"]
    if not all((tree / "bin" / name).is_file() for name in TARGETS):
        for command in (
            [*cmake, "-S", str(source), "-B", str(tree), *OPTIONS],
            [*cmake, "--build", str(tree), "-j", str(os.cpu_count() or 1), "--target", *TARGETS],
        ):
            subprocess.run(command, check=True, stdout=sys.stderr)
    return tree / "bin"


def main() -> None:
    """Build all of it."""
    source = llama_cpp_sources()
    for build in BUILDS:
        cross_build(build, source, lambda what, done: print(f"{what}: {done:.0%}", end="\r", file=sys.stderr))
    print(native(source))


if __name__ == "__main__":
    main()
