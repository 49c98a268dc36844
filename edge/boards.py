"""The boards that ``fit`` and ``bundle`` know: what they have, as a table. To add one, add a row.

``reached`` is what token generation gets of the memory's bandwidth, in bytes per second: bytes of weights read per
token times tokens per second. It comes from published runs of llama.cpp, not from runs of ours; where none was at
hand it is the memory's nominal rate times 0.4 for a phone's processor, 0.55 for a Jetson, 0.7 for a graphics card.
"""

from __future__ import annotations

from dataclasses import dataclass

from exaone4_gguf.errors import RequestError

GB = 10**9
GIB = 2**30


@dataclass(frozen=True)
class Board:
    """A machine to run on.

    ``memory`` and ``reserved`` are in bytes: what it has, and what the system and its other programs keep of it.
    ``features`` say which of llama.cpp's kernels that repack weights it runs: avx2, dotprod, i8mm.
    ``nominal`` and ``reached`` are in bytes per second, see above. ``target`` is the bundle for it, if there is one.
    """

    name: str
    title: str
    memory: int
    reserved: int
    nominal: float
    reached: float
    features: frozenset[str] = frozenset()
    is_gpu: bool = False
    target: str | None = None

    @property
    def usable(self) -> int:
        """Bytes that a model may take."""
        return self.memory - self.reserved


_DOT = frozenset({"dotprod"})
_PI = GIB * 3 // 4  # Raspberry Pi OS without a desktop, and room for files' pages
_ROWS = (
    # Raspberry Pi 4: qwen 1.8B in Q4_0, 1.1 GB, at 3.1 tokens/s (aidatatools/ollama-benchmark#9)
    Board("rpi4-4gb", "Raspberry Pi 4, 4 GB", 4 * GIB, _PI, 12.8 * GB, 3.4 * GB, target="rpi"),
    Board("rpi4-8gb", "Raspberry Pi 4, 8 GB", 8 * GIB, _PI, 12.8 * GB, 3.4 * GB, target="rpi"),
    # Raspberry Pi 5: Llama 3.2 3B in Q4_K_M, 2.0 GB, at 5.5 tokens/s (geerlingguy/ai-benchmarks#24)
    Board("rpi5-8gb", "Raspberry Pi 5, 8 GB", 8 * GIB, _PI, 17.1 * GB, 11.0 * GB, _DOT, target="rpi"),
    Board("rpi5-16gb", "Raspberry Pi 5, 16 GB", 16 * GIB, _PI, 17.1 * GB, 11.0 * GB, _DOT, target="rpi"),
    # Android keeps about half of a phone's memory for itself and for what runs beside.
    Board("phone-6gb", "Phone, 6 GB, LPDDR4X", 6 * GIB, 3 * GIB, 34.1 * GB, 13.6 * GB, _DOT, target="android"),
    Board("phone-8gb", "Phone, 8 GB, LPDDR5", 8 * GIB, 4 * GIB, 51.2 * GB, 20.5 * GB, _DOT, target="android"),
    Board("phone-12gb", "Phone, 12 GB, LPDDR5X", 12 * GIB, 5 * GIB, 68.3 * GB, 27.3 * GB, _DOT, target="android"),
    Board("orin-nano", "Jetson Orin Nano, 8 GB", 8 * GIB, 5 * GIB // 2, 68.0 * GB, 37.4 * GB, is_gpu=True),
    Board("rtx-3060", "GeForce RTX 3060, 12 GB", 12 * GIB, GIB * 3 // 4, 360.0 * GB, 252.0 * GB, is_gpu=True),
)

BOARDS = {board.name: board for board in _ROWS}


def board(name: str) -> Board:
    """The board of that name, in any case.

    Raises:
        RequestError: there is none; the message lists them.
    """
    found = BOARDS.get(name.lower())
    if found is None:
        raise RequestError(f"unknown device '{name}'; one of: {', '.join(BOARDS)}")
    return found
