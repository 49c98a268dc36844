"""A head is written beside its base, both or neither, and goes where the base goes."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader
from safetensors.torch import load_file, save_file

from exaone4_gguf.converter import pipeline
from exaone4_gguf.converter.convert import convert, quantize
from exaone4_gguf.converter.inspect import inspect
from exaone4_gguf.errors import CheckpointError, Exaone4Error, GGUFError, OutputError, QuantizeError
from exaone4_gguf.format.file import head_path, read_gguf
from exaone4_gguf.format.keys import LICENSE_TEXT_KEY
from exaone4_gguf.format.tensor import Bytes
from tests.checkpoints import LABELS, full_config, write_checkpoint
from tests.classes import BASE, CLASSES, QUESTION, SEQUENCE, TOKEN, write_class
from tests.llama import load


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_class(tmp_path_factory.mktemp("classifier") / "model", SEQUENCE, "full")


@pytest.mark.parametrize("name", CLASSES)
def test_the_base_is_the_language_models_but_for_its_class(name: str, tmp_path: Path) -> None:
    """Same tensors, same keys; llama.cpp loads it; the head's matrix is the checkpoint's."""
    folder = write_class(tmp_path / "model", name, "full")
    result = convert(folder, tmp_path / "a.gguf", "Q8_0")
    config = full_config(tie_word_embeddings=True)
    base = read_gguf(result.paths[0])
    prefixes = {"": "model.", "transformer.": "model."}
    tensors = {}
    for key, values in load_file(folder / "model.safetensors").items():
        if not key.startswith(("score", "qa_outputs")):
            prefix = next((p for p in ("model.", "transformer.") if key.startswith(p)), "")
            tensors[prefixes.get(prefix, prefix) + key.removeprefix(prefix)] = values
    spoken = read_gguf(
        convert(write_checkpoint(tmp_path / "lm" / "model", config, tensors), tmp_path / "b.gguf", "Q8_0").paths[0]
    )
    assert {n: t.rows.tobytes() for n, t in base.tensors.items()} == {
        n: t.rows.tobytes() for n, t in spoken.tensors.items()
    }
    added = {"exaone4_gguf.class"} | ({"exaone4_gguf.weights_id"} if name != BASE else set())
    assert base.metadata.keys() - spoken.metadata.keys() == added
    assert base.get("exaone4_gguf.class") == name
    load(result.paths[0]).close()
    assert (result.head is None) == (name == BASE)
    if result.head:
        tensor = "qa_outputs" if name == QUESTION else "score"
        expected = load_file(folder / "model.safetensors")
        written = {t.name: np.asarray(t.data) for t in GGUFReader(result.head).tensors}
        assert np.array_equal(written["cls.output.weight"], expected[f"{tensor}.weight"].numpy())
        assert ("cls.output.bias" in written) == (name != SEQUENCE)
        if name != SEQUENCE:
            assert np.array_equal(written["cls.output.bias"], expected[f"{tensor}.bias"].numpy())


def test_the_head_says_what_it_is(classifier: Path, tmp_path: Path) -> None:
    result = convert(classifier, tmp_path / "a.gguf", "Q4_K_M")
    assert result.paths == (tmp_path / "a.gguf", tmp_path / "a.head.gguf")
    head, base = read_gguf(tmp_path / "a.head.gguf", "exaone4-head"), read_gguf(tmp_path / "a.gguf")
    assert head.get("exaone4-head.task") == "sequence-classification"
    assert head.get("exaone4-head.classifier.output_labels") == list(LABELS)
    assert head.get("exaone4-head.activation") == "softmax"
    assert head.get("exaone4-head.padding_token_id") == 680
    assert head.get("exaone4-head.pooling") == "last"
    assert head.get("exaone4-head.embedding_length") == 256
    assert head.get("exaone4_gguf.weights_id") == base.get("exaone4_gguf.weights_id")
    assert head.get(LICENSE_TEXT_KEY) == base.get(LICENSE_TEXT_KEY)


def test_a_head_is_f32_or_f16(classifier: Path, tmp_path: Path) -> None:
    convert(classifier, tmp_path / "a.gguf", "Q8_0", head_type="f16")
    assert read_gguf(tmp_path / "a.head.gguf", "exaone4-head").tensors["cls.output.weight"].type.name == "F16"
    with pytest.raises(QuantizeError, match="a head cannot be Q8_0; one of: F32, F16"):
        convert(classifier, tmp_path / "b.gguf", head_type="Q8_0")
    assert not (tmp_path / "b.gguf").exists()


def test_a_model_without_a_head_has_no_head_type(full: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantizeError, match="the model has no head that could be F16"):
        convert(full, tmp_path / "a.gguf", head_type="F16")


def test_both_or_neither(classifier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.head.gguf").write_text("mine")
    with pytest.raises(OutputError, match=r"a.head.gguf: it exists already; --force replaces it"):
        convert(classifier, tmp_path / "a.gguf")
    assert [path.name for path in tmp_path.iterdir()] == ["a.head.gguf"]

    def failing(slab: pipeline.Slab) -> Bytes:
        if slab.tensor.name == "cls.output.weight":
            raise OutputError("the disk is full")
        return convert_rows(slab)

    convert_rows = pipeline.convert_rows
    monkeypatch.setattr(pipeline, "convert_rows", failing)
    with pytest.raises(OutputError, match="the disk is full"):
        convert(classifier, tmp_path / "a.gguf", force=True)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_the_link_holds_for_every_type_and_dtype_and_for_no_other_base(classifier: Path, tmp_path: Path) -> None:
    ids = set()
    for i, type in enumerate(("F32", "Q4_0")):
        ids.add(read_gguf(convert(classifier, tmp_path / f"{i}.gguf", type).paths[0]).get("exaone4_gguf.weights_id"))
    assert len(ids) == 1
    tensors = load_file(classifier / "model.safetensors")
    for name in ("model.layers.3.mlp.up_proj.weight", "model.norm.weight", "model.embed_tokens.weight"):
        other = shutil.copytree(classifier, tmp_path / name)
        save_file(tensors | {name: tensors[name] * 1.01}, other / "model.safetensors", metadata={"format": "pt"})
        convert(other, tmp_path / f"{name}.gguf", "Q8_0")
        ids.add(read_gguf(tmp_path / f"{name}.gguf").get("exaone4_gguf.weights_id"))
    assert len(ids) == 4


def test_a_head_trained_further_fits_the_same_base(classifier: Path, tmp_path: Path) -> None:
    tensors = load_file(classifier / "model.safetensors")
    other = shutil.copytree(classifier, tmp_path / "other")
    save_file(tensors | {"score.weight": tensors["score.weight"] * 2}, other / "model.safetensors")
    files = [convert(folder, tmp_path / f"{i}.gguf", "Q8_0").paths[0] for i, folder in enumerate((classifier, other))]
    assert len({read_gguf(file).get("exaone4_gguf.weights_id") for file in files}) == 1


def test_quantize_takes_the_head_along(classifier: Path, tmp_path: Path) -> None:
    first = convert(classifier, tmp_path / "a.gguf", "F32", head_type="F16", split_max_size=2_000_000)
    assert first.head == tmp_path / "a.head.gguf"
    second = quantize(first.paths[1], tmp_path / "b.gguf", "Q8_0")
    assert second.paths == (tmp_path / "b.gguf", tmp_path / "b.head.gguf")
    assert (tmp_path / "b.head.gguf").read_bytes() == (tmp_path / "a.head.gguf").read_bytes()


def test_quantize_without_the_head_says_so(classifier: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    convert(classifier, tmp_path / "a.gguf", "F32")
    head_path(tmp_path / "a.gguf").unlink()
    with caplog.at_level(logging.WARNING):
        assert quantize(tmp_path / "a.gguf", tmp_path / "b.gguf", "Q8_0").head is None
    assert "its head is not beside it (a.head.gguf), and does not come along" in caplog.text


def test_a_foreign_head_does_not_come_along(classifier: Path, tmp_path: Path) -> None:
    other = write_class(tmp_path / "other", SEQUENCE, "full", hidden_size=128, num_attention_heads=4)
    convert(classifier, tmp_path / "a.gguf", "F32")
    convert(other, tmp_path / "b.gguf", "F32")
    shutil.copy(tmp_path / "b.head.gguf", tmp_path / "a.head.gguf")
    with pytest.raises(GGUFError, match=r"a.head.gguf: it is the head of another base, not of .*a.gguf"):
        quantize(tmp_path / "a.gguf", tmp_path / "c.gguf", "Q8_0")
    assert inspect(tmp_path / "a.gguf").head is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": {"0": "a"}}, r"score.weight has shape \[5, 256\]; config.json says \[1, 256\] \(1 labels\)"),
        ({"architectures": [TOKEN]}, "tensor score.bias of shape .* is missing"),
        ({"architectures": [QUESTION]}, r"tensor transformer.embed_tokens.weight of shape .* is missing \(48 in all\)"),
        ({"architectures": ["Exaone4ForCausalLM"]}, "tensor score.weight of shape .* is not one of EXAONE 4's"),
    ],
)
def test_a_checkpoint_that_is_not_its_class_is_refused(
    changes: dict[str, object], message: str, classifier: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(classifier, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(CheckpointError, match=message):
        convert(folder, tmp_path / "a.gguf")


def test_inspect_shows_the_head(classifier: Path, tmp_path: Path) -> None:
    convert(classifier, tmp_path / "a.gguf", "Q8_0")
    file, folder = inspect(tmp_path / "a.gguf"), inspect(classifier)
    assert file.model_class == folder.model_class == SEQUENCE
    expected = {"task": "sequence-classification", "labels": list(LABELS), "type": "F32", "bias": False}
    assert file.head == folder.head == expected
    with pytest.raises(Exaone4Error, match="it is a classifier's head; give the base that it belongs to"):
        inspect(tmp_path / "a.head.gguf")
