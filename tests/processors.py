"""Runs the tests that evaluate models (``-m model``) as other processors would: ``make test-processors``.

Rounding depends on the processor's instructions. Of the installed llama.cpp, ggml's CPU backend is built again with
some of them left out, once, into the cache; what is chosen while it runs (threads) is a row as well. A row that this
processor cannot run is skipped, and said to be.

    python -m tests.processors [NAME...] [-- PYTEST ARGUMENTS]
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import llama_cpp

from exaone4_gguf.edge.cache import cache_folder
from exaone4_gguf.edge.sources import llama_cpp_sources


@dataclass(frozen=True)
class Processor:
    """ggml's instructions that are on, what ``/proc/cpuinfo`` calls them, ggml's kernels that are off, and settings."""

    options: tuple[str, ...] | None = None
    flags: frozenset[str] = frozenset()
    off: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


_SSE = ("SSE42",)
_AVX2 = (*_SSE, "AVX", "AVX2", "BMI2", "FMA", "F16C")
_AVX512 = (*_AVX2, "AVX512", "AVX512_VBMI", "AVX512_VNNI")
_AVX2_FLAGS = frozenset({"avx", "avx2", "bmi2", "fma", "f16c"})
_AVX512_FLAGS = _AVX2_FLAGS | {"avx512f", "avx512cd", "avx512bw", "avx512dq", "avx512vl", "avx512_vbmi", "avx512_vnni"}

PROCESSORS = {
    "sse42": Processor(_SSE, frozenset({"sse4_2"})),
    "avx": Processor((*_SSE, "AVX"), frozenset({"avx"})),
    "avx2": Processor(_AVX2, _AVX2_FLAGS),
    "avx2-plain": Processor(_AVX2, _AVX2_FLAGS, off=("CPU_REPACK", "LLAMAFILE", "OPENMP")),
    "avx512": Processor(_AVX512, _AVX512_FLAGS),
    "avx512-bf16": Processor((*_AVX512, "AVX512_BF16"), _AVX512_FLAGS | {"avx512_bf16"}),
    "native": Processor(),
    "one-thread": Processor(environment={"OMP_THREAD_LIMIT": "1"}),
}
"""Those of x86-64; elsewhere only the rows that build nothing run."""

PARTS = ("COMMON", "TESTS", "EXAMPLES", "TOOLS", "SERVER")
"""Of llama.cpp's build, what the backend does without."""

SWITCHES = ("SSE42", "AVX", "AVX2", "BMI2", "FMA", "F16C", "AVX512", "AVX512_VBMI", "AVX512_VNNI", "AVX512_BF16")

KERNELS = ("CPU_REPACK", "LLAMAFILE", "OPENMP")


def installed() -> Path:
    """The folder of the libraries that llama-cpp-python came with."""
    return Path(llama_cpp.__file__).parent / "lib"


def built(name: str) -> Path:
    """A folder with the installed libraries, of which the CPU backend is built for that processor."""
    source = llama_cpp_sources(llama_cpp.__version__)
    folder = cache_folder() / "processors" / source.name
    libraries = folder / name
    if libraries.is_dir():
        return libraries
    options = PROCESSORS[name].options or ()
    defines = ["-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=OFF", *(f"-DLLAMA_BUILD_{part}=OFF" for part in PARTS)]
    defines += [f"-DGGML_{switch}={'ON' if switch in options else 'OFF'}" for switch in SWITCHES]
    defines += [f"-DGGML_{kernels}={'OFF' if kernels in PROCESSORS[name].off else 'ON'}" for kernels in KERNELS]
    tree, made = folder / "build", folder / "partial"
    cmake = [sys.executable, "-m", "cmake"]
    for command in (
        [*cmake, "-S", str(source), "-B", str(tree), *defines],
        [*cmake, "--build", str(tree), "-j", str(os.cpu_count() or 1), "--target", "ggml-cpu"],
    ):
        subprocess.run(command, check=True, stdout=sys.stderr)
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(installed(), made)
    for library in tree.rglob("libggml-cpu.so*"):
        shutil.copy(library, made)
    os.replace(made, libraries)
    return libraries


def lacking(processor: Processor) -> frozenset[str]:
    """What this processor lacks to run it."""
    if processor.options is None:
        return frozenset()
    if platform.machine() != "x86_64":
        return frozenset({"x86-64"})
    found = Path("/proc/cpuinfo").read_text().split("flags", 1)[1].split("\n", 1)[0].split()
    return processor.flags - frozenset(found)


def run(name: str, arguments: list[str]) -> int:
    """The tests' exit code; 0 where they cannot run here."""
    processor = PROCESSORS[name]
    environment = os.environ | processor.environment
    if missing := lacking(processor):
        print(f"== {name}: skipped, this processor has no {', '.join(sorted(missing))}", flush=True)
        return 0
    print(f"== {name}", flush=True)
    if processor.options is not None:
        environment["LLAMA_CPP_LIB_PATH"] = str(built(name))
    return subprocess.run([sys.executable, "-m", "pytest", "-m", "model", *arguments], env=environment).returncode


def main() -> None:
    """All of them, or those that are named."""
    before, dashes, after = " ".join(sys.argv[1:]).partition("--")
    names = before.split() or list(PROCESSORS)
    codes = {name: run(name, after.split() if dashes else []) for name in names}
    failed = [name for name, code in codes.items() if code]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
