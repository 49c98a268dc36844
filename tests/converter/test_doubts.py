"""What was perhaps not meant is done, and told before the work begins."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.format.types import writable_type
from exaone4_gguf.quant.imatrix import Entry, ImportanceMatrix
from exaone4_gguf.quant.recipes import Overrides
from tests.checkpoints import full_config, write_checkpoint


def logged(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.message for record in caplog.records)


@pytest.mark.parametrize("outtype", ["Q2_K", "IQ4_XS", "IQ4_NL"])
def test_types_that_want_an_importance_matrix(
    outtype: str, full: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    convert(full, tmp_path / "a.gguf", outtype, dry_run=True)
    assert f"{outtype} without an importance matrix costs much quality" in logged(caplog)
    caplog.clear()
    sums = np.ones(full_config()["hidden_size"], np.float32)
    matrix = ImportanceMatrix({"blk.0.attn_q.weight": Entry(sums, 1)}, path="m")
    convert(full, tmp_path / "a.gguf", outtype, imatrix=matrix, dry_run=True)
    assert not caplog.records
    convert(full, tmp_path / "a.gguf", "Q4_K_M", dry_run=True)
    assert not caplog.records


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["nomatch=q8_0"], "nomatch=Q8_0 has no effect: it matches no tensor; they have names like token_embd"),
        (["v_proj=q8_0"], "v_proj=Q8_0 has no effect: it matches no tensor"),
        (["attn_q_norm=q8_0"], "has no effect: what it matches keeps its type, as blk.0.attn_q_norm.weight does"),
        (["attn_v=q8_0", "attn=q4_0", "attn_v=q6_k"], "attn_v=Q6_K has no effect: other options decide on"),
        (["attn_v=q8_0", "ATTN=q4_0"], ""),
    ],
)
def test_a_tensor_type_without_effect(
    options: list[str], told: str, full: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = (option.lower().split("=") for option in options)
    types = tuple((re.compile(pattern), writable_type(name)) for pattern, name in pairs)
    convert(full, tmp_path / "a.gguf", "Q8_0", overrides=Overrides(tensor_types=types), dry_run=True)
    assert told in logged(caplog)
    assert bool(told) == bool(caplog.records)


def test_a_checkpoint_without_a_template(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_checkpoint(tmp_path / "model", full_config())
    (folder / "chat_template.jinja").unlink()
    convert(folder, tmp_path / "a.gguf")
    assert "the model has no chat template: chat and serve will need one" in logged(caplog)
