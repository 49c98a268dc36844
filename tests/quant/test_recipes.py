"""The recipes are llama.cpp's: same types, same bytes, for every file type, option and odd shape."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from exaone4_gguf.converter.convert import convert, quantize
from exaone4_gguf.errors import ImatrixError, QuantizeError
from exaone4_gguf.format.file import read_gguf
from exaone4_gguf.format.types import TYPES
from exaone4_gguf.quant.imatrix import Entry, ImportanceMatrix, read_imatrix, write_imatrix
from exaone4_gguf.quant.recipes import FILE_TYPES, Overrides, file_type
from tests import llama
from tests.checkpoints import full_config, random_tensors, write_checkpoint

SHAPES: dict[str, dict[str, Any]] = {
    "tied": full_config(),
    "untied": full_config(tie_word_embeddings=False),
    "16 layers, 2 queries a key": full_config(
        num_hidden_layers=16,
        layer_types=["full_attention"] * 16,
        num_key_value_heads=4,
        intermediate_size=256,
    ),
    "rows of 288": full_config(hidden_size=288, num_attention_heads=9, num_key_value_heads=3, intermediate_size=544),
    "rows of 272": full_config(
        hidden_size=272, num_attention_heads=17, num_key_value_heads=17, head_dim=16, intermediate_size=528
    ),
}


SOURCES = [*((shape, "BF16") for shape in SHAPES), ("tied", "F16"), ("tied", "F32")]


@pytest.fixture(scope="module", params=SOURCES, ids=" ".join)
def source(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A checkpoint of a shape and a dtype, and its lossless file."""
    shape, dtype = request.param
    folder = tmp_path_factory.mktemp("recipes")
    config = SHAPES[shape]
    checkpoint = write_checkpoint(folder / "model", config, random_tensors(config, dtype))
    return checkpoint, convert(checkpoint, folder / "lossless.gguf").paths[0]


@pytest.mark.parametrize("name", FILE_TYPES)
def test_files_are_those_of_llama_cpp_byte_for_byte(source: tuple[Path, Path], name: str, tmp_path: Path) -> None:
    """The whole file, header and all, straight from the shards and from the lossless GGUF."""
    checkpoint, lossless = source
    llama.llama_quantize(lossless, tmp_path / "theirs.gguf", FILE_TYPES[name].ftype)
    theirs = (tmp_path / "theirs.gguf").read_bytes()
    assert convert(checkpoint, tmp_path / "ours.gguf", name).paths[0].read_bytes() == theirs
    assert quantize(lossless, tmp_path / "again.gguf", name).paths[0].read_bytes() == theirs


def some_matrix(lossless: Path, path: Path, lacking: str = "nothing") -> ImportanceMatrix:
    """Random importances for the layers' matrices, written and read."""
    dice = np.random.default_rng(3)
    entries = {
        name: Entry(dice.lognormal(0, 2, t.shape[-1]).astype(np.float32) * 100, 100.0)
        for name, t in read_gguf(lossless).tensors.items()
        if name.startswith("blk.") and len(t.shape) > 1 and lacking not in name
    }
    write_imatrix(path, ImportanceMatrix(entries, ("some text.txt",), 12, 512))
    return read_imatrix(path)


@pytest.mark.parametrize("name", FILE_TYPES)
def test_so_they_are_with_an_importance_matrix(source: tuple[Path, Path], name: str, tmp_path: Path) -> None:
    """The keys that llama-quantize sets for it as well."""
    checkpoint, lossless = source
    matrix = some_matrix(lossless, tmp_path / "imatrix.gguf", lacking="attn_k")
    params = llama.imatrix_params(matrix)
    llama.llama_quantize(lossless, tmp_path / "theirs.gguf", FILE_TYPES[name].ftype, **params)
    theirs = (tmp_path / "theirs.gguf").read_bytes()
    ours = convert(checkpoint, tmp_path / "ours.gguf", name, imatrix=tmp_path / "imatrix.gguf")
    assert ours.paths[0].read_bytes() == theirs
    assert all("attn_k" in tensor for tensor in ours.without_importance)
    again = quantize(lossless, tmp_path / "again.gguf", name, imatrix=matrix)
    assert again.paths[0].read_bytes() == theirs


def test_a_matrix_that_was_used_before_is_forgotten(full: Path, tmp_path: Path) -> None:
    """Its keys are those of the new one, at the end, where llama.cpp sets them."""
    lossless = convert(full, tmp_path / "lossless.gguf").paths[0]
    old = some_matrix(lossless, tmp_path / "old.gguf")
    new = some_matrix(lossless, tmp_path / "new.gguf", lacking="attn_v")
    q8 = convert(full, tmp_path / "q8.gguf", "Q8_0", imatrix=old).paths[0]
    params = llama.imatrix_params(new)
    llama.llama_quantize(q8, tmp_path / "theirs.gguf", FILE_TYPES["Q3_K_M"].ftype, allow_requantize=True, **params)
    ours = quantize(q8, tmp_path / "ours.gguf", "Q3_K_M", allow_requantize=True, imatrix=new).paths[0]
    assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


def test_a_matrix_of_another_model_is_refused(full: Path, tmp_path: Path) -> None:
    wide = Entry(np.ones(999, np.float32), 1.0)
    write_imatrix(tmp_path / "wide.gguf", ImportanceMatrix({"blk.0.attn_q.weight": wide}, ("a",), 1, 512))
    with pytest.raises(ImatrixError, match=r"wide.gguf: blk.0.attn_q.weight has 999 values for rows of 256"):
        convert(full, tmp_path / "out.gguf", "Q4_K_M", imatrix=tmp_path / "wide.gguf")
    write_imatrix(tmp_path / "other.gguf", ImportanceMatrix({"v.blk.0.fc.weight": wide}, ("a",), 1, 512))
    with pytest.raises(ImatrixError, match="none of its 1 entries is of a tensor of this model"):
        convert(full, tmp_path / "out.gguf", "Q4_K_M", imatrix=tmp_path / "other.gguf")
    assert not (tmp_path / "out.gguf").exists()


def test_an_embedding_of_another_size_is_passed_over(full: Path, tmp_path: Path) -> None:
    """As llama.cpp does; older tools counted its rows."""
    widths = {"token_embd.weight": 7, "blk.0.attn_q.weight": 256}
    entries = {name: Entry(np.ones(width, np.float32), 1.0) for name, width in widths.items()}
    write_imatrix(tmp_path / "imatrix.gguf", ImportanceMatrix(entries, ("a",), 1, 512))
    assert convert(full, tmp_path / "out.gguf", "Q4_K_M", imatrix=tmp_path / "imatrix.gguf").written


Q8, Q6 = TYPES["Q8_0"], TYPES["Q6_K"]
OPTIONS: dict[str, tuple[Overrides, Callable[[], dict[str, Any]]]] = {
    "pure": (Overrides(pure=True), lambda: {"pure": True}),
    "embedding": (Overrides(token_embedding=Q8), lambda: {"token_embedding_type": Q8.id}),
    "output": (Overrides(output=Q8), lambda: {"output_tensor_type": Q8.id}),
    "both": (
        Overrides(token_embedding=TYPES["F16"], output=Q8),
        lambda: {"token_embedding_type": TYPES["F16"].id, "output_tensor_type": Q8.id},
    ),
    "pure with output": (Overrides(output=Q8, pure=True), lambda: {"pure": True, "output_tensor_type": Q8.id}),
    "tensor types": (
        Overrides(tensor_types=((re.compile(r"blk\.[02]\.attn_v"), Q8), (re.compile("attn_v|ffn_down"), Q6))),
        lambda: {"tt_overrides": llama.tensor_type_overrides([(r"blk\.[02]\.attn_v", 8), ("attn_v|ffn_down", 14)])},
    ),
    "one tensor": (
        Overrides(tensor_types=((re.compile(r"blk\.1\.attn_v"), Q8),)),
        lambda: {"tt_overrides": llama.tensor_type_overrides([(r"blk\.1\.attn_v", 8)])},
    ),
}


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", ["Q4_K_M", "Q4_K_S", "Q4_0"])
@pytest.mark.parametrize("tied", [True, False])
def test_options_do_what_llama_quantize_does(option: str, name: str, tied: bool, tmp_path: Path) -> None:
    config = full_config(tie_word_embeddings=tied, num_hidden_layers=9, layer_types=["full_attention"] * 9)
    checkpoint = write_checkpoint(tmp_path / "model", config)
    lossless = convert(checkpoint, tmp_path / "lossless.gguf").paths[0]
    overrides, params = OPTIONS[option]
    llama.llama_quantize(lossless, tmp_path / "theirs.gguf", FILE_TYPES[name].ftype, **params())
    ours = convert(checkpoint, tmp_path / "ours.gguf", name, overrides=overrides).paths[0]
    assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


def test_requantizing_is_what_llama_cpp_does(full: Path, tmp_path: Path) -> None:
    q8 = convert(full, tmp_path / "q8.gguf", "Q8_0").paths[0]
    llama.llama_quantize(q8, tmp_path / "theirs.gguf", FILE_TYPES["Q4_K_M"].ftype, allow_requantize=True)
    ours = quantize(q8, tmp_path / "ours.gguf", "Q4_K_M", allow_requantize=True).paths[0]
    assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes()


def test_an_override_applies_to_a_float_file_as_well(full: Path, tmp_path: Path) -> None:
    """llama-quantize ignores it there without a word; the user asked for it."""
    overrides = Overrides(tensor_types=((re.compile("attn_v"), Q8),))
    tensors = read_gguf(convert(full, tmp_path / "a.gguf", "BF16", overrides=overrides).paths[0]).tensors
    assert {t.type.name for n, t in tensors.items() if "attn_v" in n} == {"Q8_0"}


def test_a_type_that_cannot_hold_the_rows_is_refused_by_name(tmp_path: Path) -> None:
    config = SHAPES["rows of 288"]
    checkpoint = write_checkpoint(tmp_path / "model", config)
    with pytest.raises(QuantizeError, match=r"token_embd.weight: rows of 288 cannot be Q6_K"):
        convert(checkpoint, tmp_path / "out.gguf", "Q4_0", overrides=Overrides(token_embedding=Q6))


@pytest.mark.parametrize(
    ("given", "meant"), [("q4_k_m", "Q4_K_M"), ("Q4_K", "Q4_K_M"), ("q5_k", "Q5_K_M"), ("bf16", "BF16")]
)
def test_names_are_taken_in_any_case_and_short(given: str, meant: str) -> None:
    assert file_type(given).name == meant


def test_an_unknown_type_lists_the_known_ones() -> None:
    with pytest.raises(QuantizeError, match="unknown type 'Q3'; one of: F32, F16, BF16, Q8_0"):
        file_type("Q3")
