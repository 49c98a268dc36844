"""A head's file is checked against its base: one clear line for what does not fit."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from exaone4_gguf.converter.convert import convert, quantize
from exaone4_gguf.converter.output import Output
from exaone4_gguf.converter.pipeline import run
from exaone4_gguf.converter.plan import make_plan
from exaone4_gguf.errors import Exaone4Error, GGUFError
from exaone4_gguf.format.file import head_path, read_gguf
from exaone4_gguf.format.values import Metadata, string, strings, u32
from exaone4_gguf.runtime.encode.encoder import Encoder
from exaone4_gguf.runtime.encode.head import Head
from tests.classes import QUESTION, SEQUENCE, TOKEN, write_class

Change = Callable[[Metadata], object]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("head")
    return convert(write_class(root / "model", SEQUENCE, "full"), root / "base.gguf", "Q8_0").paths[0]


@pytest.fixture
def copied(base: Path, tmp_path: Path) -> Path:
    """The base and its head, to be damaged."""
    for file in (base, head_path(base)):
        shutil.copy(file, tmp_path)
    return tmp_path / base.name


def rewrite(head: Path, change: Change) -> None:
    """Write a head anew with other keys."""
    gguf = read_gguf(head, "exaone4-head")
    metadata = dict(gguf.metadata)
    change(metadata)
    plan = make_plan(head, metadata, list(gguf.tensors.values()), [t.type for t in gguf.tensors.values()])
    with Output(head, plan, force=True) as output:
        run(plan, output, 1, lambda n: None)
        output.commit()


CHANGES: dict[str, tuple[Change, str]] = {
    "another base": (
        lambda m: m.update({"exaone4_gguf.weights_id": string("0" * 64)}),
        "it is the head of another base",
    ),
    "no base": (lambda m: m.pop("exaone4_gguf.weights_id"), "it is the head of another base"),
    "another width": (
        lambda m: m.update({"exaone4-head.embedding_length": u32(512)}),
        "it is for hidden states of 512 values; those of .* have 256",
    ),
    "other labels": (
        lambda m: m.update({"exaone4-head.classifier.output_labels": strings(["a", "b"])}),
        "it names 2 labels, its matrix has 5 rows",
    ),
    "no labels": (lambda m: m.pop("exaone4-head.classifier.output_labels"), "it names 0 labels"),
    "labels that are no texts": (
        lambda m: m.update({"exaone4-head.classifier.output_labels": u32(5)}),
        "it names 0 labels",
    ),
    "another task": (lambda m: m.update({"exaone4-head.task": string("ranking")}), "its task is 'ranking'; known are"),
    "a task that is no text": (lambda m: m.update({"exaone4-head.task": u32(1)}), "its task is None"),
    "another activation": (lambda m: m.update({"exaone4-head.activation": string("relu")}), "its activation is 'relu'"),
    "no head": (lambda m: m.update({"general.architecture": string("exaone4")}), "architecture is 'exaone4'"),
    "an answer of five rows": (
        lambda m: m.update({"exaone4-head.task": string("question-answering")}),
        "an answer has a start and an end, this has 5 rows",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_head_that_does_not_fit_is_one_line(name: str, copied: Path) -> None:
    change, message = CHANGES[name]
    rewrite(head_path(copied), change)
    with pytest.raises(GGUFError, match=message) as raised:
        Encoder(copied)
    assert "\n" not in str(raised.value)
    assert str(head_path(copied)) in str(raised.value)


@pytest.mark.parametrize("size", [0, 3, 100, 700, -40])
def test_a_head_that_is_cut_off_is_one_line(size: int, copied: Path) -> None:
    whole = head_path(copied).read_bytes()
    head_path(copied).write_bytes(whole[:size])
    with pytest.raises(GGUFError, match=re.escape(str(head_path(copied)))):
        Encoder(copied)


def test_without_its_head_a_base_embeds_and_says_what_is_missing(copied: Path) -> None:
    head_path(copied).unlink()
    with Encoder(copied, n_threads=1) as encoder:
        assert encoder.embed(["text"]).shape == (1, 256)
        with pytest.raises(GGUFError, match=r"base.gguf: its head is missing: base.head.gguf is not beside it"):
            encoder.classify(["text"])


def test_a_head_may_lie_elsewhere(copied: Path, tmp_path: Path) -> None:
    elsewhere = head_path(copied).rename(tmp_path / "other.gguf")
    with Encoder(copied, head=elsewhere, n_threads=1) as encoder:
        assert encoder.classify(["text"])
    with pytest.raises(GGUFError, match=r"none.gguf: no such file"):
        Encoder(copied, head=tmp_path / "none.gguf")
    with pytest.raises(GGUFError, match="it is no head"):
        Encoder(copied, head=copied)


def test_a_requantized_base_keeps_its_head(base: Path, tmp_path: Path) -> None:
    smaller = quantize(base, tmp_path / "small.gguf", "Q4_K_M", allow_requantize=True)
    assert smaller.head == tmp_path / "small.head.gguf"
    assert smaller.head.read_bytes() == head_path(base).read_bytes()
    with Encoder(smaller.paths[0], n_threads=1) as encoder:
        assert encoder.classify(["text"])


def test_the_head_of_a_split_file_is_found(base: Path, tmp_path: Path) -> None:
    parts = quantize(base, tmp_path / "parts.gguf", "Q8_0", split_max_size=500_000)
    with Encoder(parts.paths[0], n_threads=1) as encoder, Encoder(base, n_threads=1) as whole:
        assert encoder.classify(["text"]) == whole.classify(["text"])


def head(activation: str = "softmax", pad: int | None = None) -> Head:
    return Head("sequence-classification", ("a", "b"), activation, pad, np.eye(2, dtype=np.float32), None)


@pytest.mark.parametrize(
    ("activation", "expected"), [("softmax", [0.75, 0.25]), ("sigmoid", [0.75, 0.5]), ("none", [np.log(3), 0.0])]
)
def test_scores_follow_the_activation(activation: str, expected: list[float]) -> None:
    logits = np.array([np.log(3), 0.0], np.float32)
    assert head(activation).scores(logits) == pytest.approx(expected)
    assert np.isfinite(head(activation).scores(np.array([1e4, -1e4], np.float32))).all()


@pytest.mark.parametrize(
    ("ids", "pad", "position"),
    [((5, 6, 7), None, 2), ((5, 6, 0), 0, 1), ((0, 0, 5, 0, 0), 0, 2), ((0, 0), 0, 0), ((5, 6), 0, 1)],
)
def test_the_last_token_that_is_no_padding_decides(ids: tuple[int, ...], pad: int | None, position: int) -> None:
    assert head(pad=pad).pooled(ids) == position


def heads(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    for name in (SEQUENCE, TOKEN, QUESTION):
        yield name, convert(write_class(tmp_path / name, name, "full"), tmp_path / f"{name}.gguf", "Q8_0").paths[0]


def test_heads_of_one_base_can_be_exchanged_but_for_their_task(tmp_path: Path) -> None:
    """Their bases have the same weights, so the link holds."""
    files = dict(heads(tmp_path))
    with Encoder(files[SEQUENCE], head=head_path(files[TOKEN]), n_threads=1) as encoder:
        assert encoder.tag("text").tokens
        with pytest.raises(Exaone4Error, match="use tag, not classify"):
            encoder.classify(["text"])
