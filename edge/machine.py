"""This machine as a board: its memory, what its kernels repack, and the bandwidth that a reader gets, measured."""

from __future__ import annotations

import functools
import platform
import re
import time
from concurrent.futures import ThreadPoolExecutor

import psutil

from exaone4_gguf.edge.boards import GIB, Board
from exaone4_gguf.errors import RuntimeFailure
from exaone4_gguf.runtime.llama.api import load_api
from exaone4_gguf.runtime.llama.machine import physical_cores

THIS = "this machine"
_UNKNOWN_MEMORY = 8 * GIB
_FEATURES = {"AVX2": "avx2", "DOTPROD": "dotprod", "MATMUL_INT8": "i8mm"}
_KERNELS_REACH = 0.8
"""What token generation gets of the rate at which memory is merely read: llama-bench on the machine of the authors,
1.2B in Q4_K_M, 27.6 tokens/s of 813 MB."""
_BLOCK = 1 << 25


@functools.cache
def this_machine() -> Board:
    """The machine that this runs on; its memory is what is available now."""
    try:
        memory = psutil.virtual_memory()
        total, available = int(memory.total), int(memory.available)
    except (OSError, psutil.Error):  # as where /proc is not mounted
        total, available = _UNKNOWN_MEMORY, _UNKNOWN_MEMORY * 3 // 4
    rate = bandwidth()
    return Board(
        name="this",
        title=f"{THIS} ({platform.machine()}, {physical_cores()} cores)",
        memory=total,
        reserved=total - min(available, total),
        nominal=rate,
        reached=_KERNELS_REACH * rate,
        features=features(),
    )


def features() -> frozenset[str]:
    """What the installed llama.cpp repacks for."""
    try:
        told = load_api().llama_print_system_info().decode()
    except RuntimeFailure:
        return frozenset()
    on = set(re.findall(r"(\w+) = 1", told))
    if "REPACK" not in on:
        return frozenset()
    return frozenset(ours for theirs, ours in _FEATURES.items() if theirs in on)


def bandwidth() -> float:
    """Bytes per second that all cores together read, in a tenth of a second: the best of a few rounds."""
    import numpy as np  # here, as importing it takes a tenth of a second

    cores = physical_cores()
    blocks = [np.ones(_BLOCK // 8, dtype=np.int64) for _ in range(cores)]
    best = 0.0
    with ThreadPoolExecutor(cores) as pool:
        for _ in range(5):
            began = time.perf_counter()
            list(pool.map(np.max, blocks))
            best = max(best, cores * _BLOCK / (time.perf_counter() - began))
    return best
