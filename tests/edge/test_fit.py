"""Will it run: types, contexts, speeds and the command, for this machine and for boards."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.edge.boards import BOARDS, board
from exaone4_gguf.edge.bundle import TARGETS
from exaone4_gguf.edge.fit import Fit, fit
from exaone4_gguf.edge.machine import this_machine
from exaone4_gguf.errors import Exaone4Error
from exaone4_gguf.quant.recipes import FILE_TYPES
from tests.app.test_cli import Run, run  # noqa: F401 - a fixture
from tests.checkpoints import full_config
from tests.classes import BASE, SEQUENCE, write_class

REAL: dict[str, Any] = {
    "hidden_size": 2048,
    "intermediate_size": 4096,
    "num_hidden_layers": 30,
    "layer_types": ["full_attention"] * 30,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 102400,
}
"""The sizes of the 1.2B."""


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """A folder with nothing in it but the configuration of a model like the 1.2B."""
    folder = tmp_path / "EXAONE-4.0-1.2B"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(full_config(**REAL)))
    return folder


def row(found: Fit, name: str) -> Any:
    return next(row for row in found.rows if row.type == name)


def test_a_configuration_is_enough(real: Path) -> None:
    found = fit(real, "rpi5-8gb")
    assert [r.type for r in found.rows] == list(FILE_TYPES)
    q4 = row(found, "Q4_K_M")
    assert q4.memory.weights / 1e6 == pytest.approx(808, abs=5)  # 813 MB of file, without the vocabulary
    assert q4.memory.kv == 4096 * 30 * 2 * 8 * 64 * 2
    assert q4.tokens_per_second == pytest.approx(BOARDS["rpi5-8gb"].reached / q4.memory.read_per_token)
    assert q4.tokens_per_second_full < q4.tokens_per_second
    assert found.proposed == "Q8_0"
    assert found.command == (
        f"exaone4-gguf convert {real} EXAONE-4.0-1.2B-Q8_0.gguf --outtype Q8_0 && "
        "exaone4-gguf bundle EXAONE-4.0-1.2B-Q8_0.gguf EXAONE-4.0-1.2B-Q8_0-rpi --target rpi"
    )


@pytest.mark.parametrize("name", BOARDS)
def test_the_largest_context_fits_and_the_next_does_not(name: str, real: Path) -> None:
    found = fit(real, name)
    for r in found.rows[::3]:
        assert r.fits == (r.memory.needed <= found.board.usable)
        if r.largest_context:
            assert row(fit(real, name, n_ctx=r.largest_context), r.type).fits
        if r.largest_context < 65536:
            assert not row(fit(real, name, n_ctx=r.largest_context + 256), r.type).fits


def test_a_reader_is_not_kept_waiting_where_a_smaller_type_helps(real: Path) -> None:
    """The quickest is proposed where none is quick; the best where all are."""
    assert fit(real, "rpi4-4gb").proposed == "Q4_0"
    assert fit(real, "rtx-3060").proposed == "Q8_0"
    assert fit(real, "rpi5-8gb", n_ctx=65536, cache_type="f32").proposed is None
    assert fit(real, "rpi5-8gb", n_ctx=65536, cache_type="f32").command is None


def test_a_smaller_cache(real: Path) -> None:
    halves = fit(real, "phone-6gb", cache_type="Q8_0")
    assert row(halves, "Q4_0").memory.kv * 32 == row(fit(real, "phone-6gb"), "Q4_0").memory.kv * 17
    assert halves.command is not None
    assert halves.command.endswith("--target android -ctk q8_0 -ctv q8_0")


def test_a_quantized_file_is_as_it_is(demo_gguf: Path) -> None:
    found = fit(demo_gguf, n_ctx=512)
    (only,) = found.rows
    assert (only.type, only.fits, only.largest_context) == ("Q8_0", True, 8192)
    assert found.command == f"exaone4-gguf chat {demo_gguf} -c 512"
    assert found.board.title.startswith("this machine")


def test_a_file_of_floats_can_be_quantized(full: Path, tmp_path: Path) -> None:
    path = convert(full, tmp_path / "a b.gguf").paths[0]
    found = fit(path, "orin-nano")
    assert found.command == (
        f"exaone4-gguf quantize {shlex.quote(str(path))} 'a b-Q8_0.gguf' Q8_0 && "
        "exaone4-gguf chat 'a b-Q8_0.gguf' -c 4096"
    )


def test_the_published_models_on_the_boards(published: Path) -> None:
    large = published.parent / "exaone-4.0-32b"
    assert row(fit(large, "rpi5-16gb"), "Q4_0").largest_context == 0
    assert not any(r.fits for r in fit(large, "rtx-3060").rows)
    assert all(row(fit(published, name), "Q4_K_M").fits for name in BOARDS)


def test_this_machine_is_looked_at() -> None:
    here = this_machine()
    assert 0 < here.usable <= here.memory
    assert 1e9 < here.reached < here.nominal < 1e12
    assert here.features <= {"avx2", "dotprod", "i8mm"}


def test_the_table_of_boards() -> None:
    for name, b in BOARDS.items():
        assert board(name.upper()) is b
        assert 0 < b.reached < b.nominal
        assert 0 < b.usable < b.memory
        assert b.target in (None, *TARGETS)
        assert replace(b) == b


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"device": "toaster"}, "unknown device 'toaster'; one of: rpi4-4gb"),
        ({"n_ctx": 0}, "a context of 0 tokens: this model takes from 1 to 65536"),
        ({"n_ctx": 70000}, "a context of 70000 tokens"),
        ({"cache_type": "q9"}, "the cache cannot have type 'q9'"),
        ({"path": "no-such"}, "no-such: no such file or folder"),
        ({"path": "no-such.gguf"}, "no-such.gguf: no such file"),
    ],
)
def test_what_is_wrong_is_said(changes: dict[str, Any], complaint: str, real: Path) -> None:
    asked: dict[str, Any] = {"path": real, "device": "rpi5-8gb"}
    with pytest.raises(Exaone4Error, match=complaint):
        fit(**(asked | changes))


def test_what_llama_cpp_would_compute_wrong_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(full_config(sliding_window=32, layer_types=None)))
    with pytest.raises(Exaone4Error, match="window"):
        fit(tmp_path, "rpi5-8gb")


def test_the_command(run: Run, real: Path) -> None:  # noqa: F811
    code, out, err = run("fit", real, "--device", "rpi5-8gb")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "EXAONE-4.0-1.2B on Raspberry Pi 5, 8 GB: 7.8 GB to use"
    assert lines[1].split() == [
        "GB",
        "weights",
        "repacked",
        "cache",
        "compute",
        "memory",
        "fits",
        "context",
        "tokens/s",
    ]
    assert lines[9].split()[0] == "Q4_K_M"
    assert lines[-1].startswith("exaone4-gguf convert ")
    code, out, _ = run("fit", real, "--device", "rpi5-8gb", "--json")
    told = json.loads(out)
    assert told["rows"][7]["memory"]["needed"] == row(fit(real, "rpi5-8gb"), "Q4_K_M").memory.needed
    assert told["board"]["usable"] == BOARDS["rpi5-8gb"].usable
    code, out, _ = run("fit", "--list-devices")
    assert [line.split()[0] for line in out.splitlines()] == list(BOARDS)
    code, out, err = run("fit", real, "--device", "toaster")
    assert (code, out, err.count("\n")) == (2, "", 1)
    code, out, _ = run("fit", real, "--device", "rpi4-4gb", "-c", "65536", "-ct", "f32")
    assert out.endswith("Nothing fits.\n")


@pytest.mark.parametrize(("name", "command"), [(BASE, "embed"), (SEQUENCE, "classify")])
@pytest.mark.parametrize("device", [None, "rpi5-8gb"])
def test_what_cannot_talk_is_not_told_to(name: str, command: str, device: str | None, tmp_path: Path) -> None:
    folder = write_class(tmp_path / "model", name, "full")
    file = convert(folder, tmp_path / "a.gguf", "Q8_0").paths[0]
    assert fit(file, device).command == f"exaone4-gguf {command} {file} -c 4096"
    assert f"&& exaone4-gguf {command} model-" in str(fit(folder, device).command)
