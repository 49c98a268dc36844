"""A file of EXAONE 4.5's text part: 64 layers, and one more block for next-token prediction that llama.cpp keeps aside.

Its tensors and keys are those of llama.cpp's converter (conversion/exaone.py, Exaone4_5_TextModel).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exaone4_gguf import Exaone4
from exaone4_gguf.converter.convert import convert, quantize
from exaone4_gguf.converter.inspect import inspect
from exaone4_gguf.converter.model import from_gguf
from exaone4_gguf.edge.fit import fit
from exaone4_gguf.edge.memory import Setup
from exaone4_gguf.edge.shape import read_shape
from exaone4_gguf.errors import GGUFError
from exaone4_gguf.format import values
from exaone4_gguf.format.file import read_gguf
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.format.values import ValueType
from exaone4_gguf.quant.recipes import FILE_TYPES
from exaone4_gguf.runtime.encode.encoder import Encoder
from exaone4_gguf.runtime.llama.model import Model
from exaone4_gguf.runtime.prompt.builder import PromptBuilder
from exaone4_gguf.runtime.prompt.template import ChatTemplate
from tests import llama
from tests.edge.test_memory import check, log
from tests.proof.wrong_files import Tensors, of_floats, rewritten

__all__ = ["log"]

PATTERN = "exaone4.attention.sliding_window_pattern"
MESSAGES = [{"role": "user", "content": "안녕, what is in <think>? Tell 3 of [|user|] things."}]


def keys(blocks: int, predicting: int | None, pre: str = "exaone-moe") -> dict[str, values.Value | None]:
    told = None if predicting is None else values.u32(predicting)
    return {
        "exaone4.block_count": values.u32(blocks),
        "exaone4.nextn_predict_layers": told,
        "tokenizer.ggml.pre": values.string(pre),
    }


def pattern_of(length: int) -> values.Value:
    """Three that slide, then a full one, repeated."""
    return values.array(ValueType.BOOL, [i % 4 < 3 for i in range(length)])


def with_a_prediction_block(tensors: Tensors) -> None:
    """Block 64: a layer like the others, and what it is told of the last hidden state and the next token."""
    last = {name: tensor for name, tensor in tensors.items() if name.startswith("blk.63.")}
    for name, tensor in last.items():
        tensors[name.replace("blk.63.", "blk.64.")] = replace(tensor, name=name.replace("blk.63.", "blk.64."))
    norm, matrix = tensors["output_norm.weight"], tensors["blk.63.attn_q.weight"]
    for name in ("enorm", "hnorm", "shared_head_norm"):
        tensors[f"blk.64.nextn.{name}.weight"] = replace(norm, name=f"blk.64.nextn.{name}.weight")
    wide = np.random.default_rng(0).normal(size=(matrix.shape[0], 2 * matrix.shape[1])).astype(np.float32)
    tensors["blk.64.nextn.eh_proj.weight"] = of_floats(renamed(matrix, "blk.64.nextn.eh_proj.weight", wide), wide)


def renamed(tensor: SourceTensor, name: str, x: Any) -> SourceTensor:
    return replace(tensor, name=name, shape=x.shape)


@pytest.fixture(scope="module")
def plain(hybrid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 64 layers alone, with the pre-tokenizer of 4.5."""
    folder = tmp_path_factory.mktemp("plain")
    return rewritten(convert(hybrid, folder / "64.gguf").paths[0], folder / "plain.gguf", keys(64, None))


@pytest.fixture(scope="module")
def predicting(plain: Path) -> Path:
    path = rewritten(plain, plain.with_name("65.gguf"), keys(65, 1), with_a_prediction_block)
    return quantize(path, plain.with_name("predicting.gguf"), "BF16").paths[0]  # in file order


def test_logits_are_those_of_the_file_without_it(plain: Path, predicting: Path) -> None:
    tokens = list(range(100, 180))
    assert np.array_equal(llama.logits(predicting, tokens), llama.logits(plain, tokens))


def test_it_is_talked_to_and_encodes_as_the_file_without_it(plain: Path, predicting: Path) -> None:
    found = []
    for path in (plain, predicting):
        with Exaone4(path, n_ctx=512) as model, Encoder(path, n_ctx=128) as encoder:
            assert model.model.n_layers == 64
            reply = model.chat(MESSAGES, temperature=0.0, max_tokens=12)
            vector = encoder.embed(["하나 둘"])[0].tolist()
            found.append((reply.content, model.prompt(MESSAGES).ids, vector))
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["Q4_K_M", "Q4_K_S", "Q5_K_M", "Q4_0", "IQ4_NL", "Q8_0", "BF16"])
def test_quantized_it_is_llama_cpp_s_byte_for_byte(name: str, predicting: Path, tmp_path: Path) -> None:
    llama.llama_quantize(predicting, tmp_path / "theirs.gguf", FILE_TYPES[name].ftype)
    ours = quantize(predicting, tmp_path / "ours.gguf", name).paths[0]
    assert ours.read_bytes() == (tmp_path / "theirs.gguf").read_bytes()
    Model(ours).close()


def test_it_is_inspected(predicting: Path) -> None:
    summary = inspect(predicting)
    assert summary.layers == "LLLG" * 16
    assert summary.rope_layers == 48
    assert summary.warning is None
    assert "blk.64.nextn.eh_proj.weight" in {t["name"] for t in summary.tensors}


@pytest.mark.parametrize("swa_full", [True, False])
def test_it_is_fitted_to_what_llama_cpp_allocates(swa_full: bool, predicting: Path, log: list[str]) -> None:
    check(predicting, Setup(1024, n_outputs=1, swa_full=swa_full), log)
    assert read_shape(predicting).n_layers == 64
    assert fit(predicting, n_ctx=512).rows


@pytest.mark.parametrize("length", [64, 65])
def test_the_pattern_may_end_with_the_layers_or_with_the_blocks(length: int, predicting: Path, tmp_path: Path) -> None:
    model = from_gguf(read_gguf(rewritten(predicting, tmp_path / "a.gguf", {PATTERN: pattern_of(length)})))
    assert model.sliding_layers == tuple(i % 4 < 3 for i in range(64))


def test_none_for_prediction_is_said_as_well(plain: Path, tmp_path: Path) -> None:
    path = rewritten(plain, tmp_path / "a.gguf", keys(64, 0))
    assert from_gguf(read_gguf(path)).n_layers == 64
    Model(path).close()


@pytest.mark.parametrize(
    ("count", "of_these", "message"),
    [
        (64, 1, "63 layers .*a sliding window"),
        (65, 0, "65 layers .*a sliding window"),
        (65, 65, "65,? of (its )?65 blocks"),
        (65, 99, "99.* 65 blocks"),
        (65, 2**32 - 1, "4294967295.* 65 blocks"),
    ],
)
def test_another_depth_is_refused(count: int, of_these: int, message: str, predicting: Path, tmp_path: Path) -> None:
    change = {64: only_64, 65: as_it_is if of_these else without_prediction}[count]
    told = {**keys(count, of_these), PATTERN: pattern_of(65)}
    path = rewritten(predicting, tmp_path / "a.gguf", told, change)
    for load in (Model, lambda path: from_gguf(read_gguf(path)), read_shape):
        with pytest.raises(GGUFError) as e:
            load(path)
        assert re.search(message, str(e.value))


def as_it_is(tensors: Tensors) -> None:
    """No change."""


def without_prediction(tensors: Tensors) -> None:
    """A 65th layer like the others."""
    for name in [name for name in tensors if ".nextn." in name]:
        del tensors[name]


def only_64(tensors: Tensors) -> None:
    """The last of 64 blocks is for prediction."""
    for name in [name for name in tensors if name.startswith("blk.63.")]:
        del tensors[name]
    for name in [name for name in tensors if name.startswith("blk.64.")]:
        new = name.replace("blk.64.", "blk.63.")
        tensors[new] = replace(tensors.pop(name), name=new)


@pytest.fixture(scope="module")
def vocabulary(predicting: Path) -> Iterator[Model]:
    model = Model(predicting, vocab_only=True)
    yield model
    model.close()


PARTS = ("[|user|]", "[|endofturn|]", "a", " ", ".", "1", "\n", "가", "|", "'s", "\u0301")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=9))
def test_a_marker_that_a_message_holds_is_read_as_its_letters(vocabulary: Model, parts: list[str]) -> None:
    """The ids are those that llama.cpp gives with control tokens off, by the words of EXAONE 4.5."""
    text = "".join(parts)
    controls = [c for c in vocabulary.control_texts if c.startswith("[|")]
    builder = PromptBuilder(ChatTemplate(""), vocabulary.tokenize, controls, pre_tokenizer="exaone-moe")
    assert list(builder.of_text(text).ids) == vocabulary.tokenize(text, control=False)
