"""This machine as a board."""

from __future__ import annotations

import pytest

from exaone4_gguf.edge import machine


def test_the_kernels_are_those_of_the_installed_library(monkeypatch: pytest.MonkeyPatch) -> None:
    class Api:
        told = b"CPU : AVX2 = 1 | AVX512 = 0 | LLAMAFILE = 1 | REPACK = 1 | "

        def llama_print_system_info(self) -> bytes:
            return self.told

    monkeypatch.setattr(machine, "load_api", Api)
    assert machine.features() == {"avx2"}
    monkeypatch.setattr(Api, "told", b"CPU : NEON = 1 | DOTPROD = 1 | MATMUL_INT8 = 1 | REPACK = 1 | ")
    assert machine.features() == {"dotprod", "i8mm"}
    monkeypatch.setattr(Api, "told", b"CPU : NEON = 1 | DOTPROD = 1 | ")
    assert machine.features() == set()


def test_what_is_read_in_a_second() -> None:
    assert 1e8 < machine.bandwidth() < 1e13


def test_its_memory_is_what_is_available() -> None:
    here = machine.this_machine()
    assert 0 < here.usable <= here.memory
    assert here.title.startswith("this machine (")
