"""The figures are llama.cpp's own, as it logs them when it loads a model; and those of published runs."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import llama_cpp
import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.edge.machine import this_machine
from exaone4_gguf.edge.memory import Memory, Setup, kv_bytes, memory
from exaone4_gguf.edge.shape import read_shape
from exaone4_gguf.errors import RequestError
from exaone4_gguf.format.keys import CACHE_TYPES
from exaone4_gguf.format.keys import CACHE_TYPES as NUMBERS
from exaone4_gguf.quant.recipes import FILE_TYPES
from tests.checkpoints import full_config, write_checkpoint
from tests.llama import _silent

MIB = 1 << 20
_BUFFER = re.compile(r"(model|KV|compute|output) buffer size = +([\d.]+) MiB")
FEATURES = this_machine().features


@pytest.fixture
def log() -> Iterator[list[str]]:
    """llama.cpp's log."""
    lines: list[str] = []
    keep = llama_cpp.llama_log_callback(lambda level, text, data: lines.append(text.decode(errors="replace")))
    llama_cpp.llama_log_set(keep, ctypes.c_void_p(0))
    yield lines
    llama_cpp.llama_log_set(_silent, ctypes.c_void_p(0))


def allocated(path: Path, setup: Setup, log: list[str]) -> dict[str, float]:
    """Bytes of llama.cpp's buffers, by kind."""
    log.clear()
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_params)
    params = llama_cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch = setup.n_ctx, min(512, setup.n_ctx), min(512, setup.n_ctx)
    params.n_outputs_max, params.swa_full = setup.n_outputs, setup.swa_full
    params.type_k = params.type_v = NUMBERS[setup.cache_type]
    context = llama_cpp.llama_init_from_model(model, params)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    found = dict.fromkeys(("model", "KV", "compute", "output"), 0.0)
    for kind, size in _BUFFER.findall("".join(log)):
        found[kind] += float(size) * MIB
    return found


def check(path: Path, setup: Setup, log: list[str]) -> Memory:
    shape = read_shape(path)
    ours, theirs = memory(shape, shape.types_now, setup), allocated(path, setup, log)
    assert ours.total == pytest.approx(sum(theirs.values()), rel=0.1)
    assert ours.kv == pytest.approx(theirs["KV"], rel=0.01, abs=0.01 * MIB)
    assert ours.weights + ours.repacked == pytest.approx(theirs["model"], rel=0.02, abs=0.02 * MIB)
    assert ours.compute == pytest.approx(theirs["compute"] + theirs["output"], rel=0.08)
    return ours


@pytest.fixture(scope="module")
def files(demo_gguf: Path, full: Path, hybrid: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models of several shapes: the demo, like the 1.2B with its share of the vocabulary, like the 32B."""
    folder = tmp_path_factory.mktemp("files")
    like = full_config(hidden_size=512, intermediate_size=1024, num_attention_heads=8, head_dim=64, vocab_size=25600)
    wide = write_checkpoint(folder / "wide", like)
    made = {f"{name}-{type}": convert(source, folder / f"{name}-{type}.gguf", type).paths[0]
            for name, source, type in (
                ("full", full, "Q4_K_M"), ("wide", wide, "Q4_K_M"), ("wide", wide, "Q4_0"), ("hybrid", hybrid, "Q8_0"),
            )}  # fmt: skip
    return made | {"demo": demo_gguf}


@pytest.mark.parametrize("cache_type", ["f16", "q8_0"])
@pytest.mark.parametrize("n_ctx", [300, 2048, 16384])
@pytest.mark.parametrize("name", ["demo", "full-Q4_K_M", "wide-Q4_K_M", "wide-Q4_0"])
def test_within_a_tenth_of_what_llama_cpp_allocates(
    name: str, n_ctx: int, cache_type: str, files: dict[str, Path], log: list[str]
) -> None:
    for n_outputs in (512, 1):
        check(files[name], Setup(n_ctx, cache_type, n_outputs, features=FEATURES), log)


@pytest.mark.parametrize("swa_full", [True, False])
@pytest.mark.parametrize("n_ctx", [512, 4096])
def test_windows_save_memory_only_where_the_cache_is_windowed(
    n_ctx: int, swa_full: bool, files: dict[str, Path], log: list[str]
) -> None:
    check(files["hybrid-Q8_0"], Setup(n_ctx, n_outputs=1, swa_full=swa_full, features=FEATURES), log)


def test_the_32b_in_the_runtime_and_in_llama_server() -> None:
    """Its window saves three quarters of the cache; 64 layers of 8 heads of 128, in F16."""
    folder = Path(__file__).parent.parent.parent.parent / "shared" / "exaone-4.0-32b"
    if not folder.is_dir():
        pytest.skip("the published files are not at ../shared")
    shape = read_shape(folder)
    per_token = 64 * 2 * 8 * 128 * 2
    assert kv_bytes(shape, Setup(32768)) == 32768 * per_token
    assert kv_bytes(shape, Setup(32768, swa_full=False)) == (16 * 32768 + 48 * 4608) * per_token // 64
    sizes = {t.name: memory(shape, shape.types_in(t), Setup(256)).weights for t in FILE_TYPES.values()}
    assert sizes["Q4_K_M"] / 1e9 == pytest.approx(19.3, abs=0.1)
    assert sizes["BF16"] / 1e9 == pytest.approx(64.0, abs=0.1)


def test_what_is_repacked(files: dict[str, Path]) -> None:
    """On an ARM processor with dot products a tied embedding is kept twice; with none nothing is."""
    shape = read_shape(files["wide-Q4_K_M"])
    plain = memory(shape, shape.types_now, Setup(256))
    dot = memory(shape, shape.types_now, Setup(256, features=frozenset({"dotprod"})))
    assert plain.repacked == plain.droppable == 0
    assert dot.repacked - dot.droppable == 25600 * 512 // 256 * 210
    assert dot.needed - plain.needed == pytest.approx(dot.repacked - dot.droppable, rel=0.01)


def test_the_cache_has_the_types_of_the_runtime(demo_gguf: Path) -> None:
    assert set(CACHE_TYPES) == set(NUMBERS)
    shape: Any = read_shape(demo_gguf)
    assert [kv_bytes(shape, Setup(256, t)) > 0 for t in CACHE_TYPES]
    with pytest.raises(RequestError, match="cannot have type 'q9'"):
        Setup(256, "q9")
