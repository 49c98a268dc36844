"""What the machine has: processors, memory; and what fits it."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

_CPUS = Path("/sys/devices/system/cpu")


def physical_cores() -> int:
    """Cores that this process may run on; threads of one core count once, as they share its vector units.

    psutil counts the machine's cores, whichever of them the process may use; so Linux is read here.
    """
    if not hasattr(os, "sched_getaffinity"):
        return psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return len({_siblings(cpu) for cpu in os.sched_getaffinity(0)})


def _siblings(cpu: int) -> str:
    try:
        return (_CPUS / f"cpu{cpu}" / "topology" / "thread_siblings_list").read_text()
    except OSError:
        return str(cpu)


def available_memory() -> int | None:
    """Bytes that can be used without swapping; None where the system does not say."""
    try:
        return int(psutil.virtual_memory().available)
    except (OSError, psutil.Error):
        return None


def fitting_context(trained: int, bytes_per_token: int, weights: int, memory: int | None) -> int:
    """The largest context, in tokens, whose cache fits beside the weights; at most the trained length.

    A quarter of the memory stays free for buffers and for the rest of the machine.

    Args:
        bytes_per_token: of the KV cache.
        weights: bytes of the file.
        memory: available bytes; None if unknown.
    """
    if memory is None:
        return min(trained, _UNKNOWN_MEMORY)
    room = memory * 3 // 4 - weights
    return max(_LEAST, min(trained, room // max(1, bytes_per_token) // _STEP * _STEP))


_LEAST = 2048
_STEP = 256
_UNKNOWN_MEMORY = 8192
