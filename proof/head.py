"""The part ``head``: the base says of which class it is, and its head is the checkpoint's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.fingerprint import weights_id
from exaone4_gguf.errors import CheckpointError, GGUFError
from exaone4_gguf.format.file import GGUFFile, read_gguf, whole_name
from exaone4_gguf.format.keys import HEAD_ARCHITECTURE as ARCHITECTURE
from exaone4_gguf.format.keys import WEIGHTS_ID_KEY
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.proof.reading.checkpoint import Checkpoint
from exaone4_gguf.proof.reading.configuration import Configuration
from exaone4_gguf.proof.reading.names import ROPE_FREQS
from exaone4_gguf.proof.report import Finding, Part, judged
from exaone4_gguf.proof.tensors import check_tensors

NAME = "head"
CLASS_KEY = "exaone4_gguf.class"
"""In a base, the class that it is of; a file without this key can speak."""


@dataclass(frozen=True)
class HeadForm:
    """What transformers calls the head of a class, and what it is for."""

    tensor: str
    task: str


FORMS = {
    "Exaone4ForSequenceClassification": HeadForm("score", "sequence-classification"),
    "Exaone4ForTokenClassification": HeadForm("score", "token-classification"),
    "Exaone4ForQuestionAnswering": HeadForm("qa_outputs", "question-answering"),
}
_SEQUENCE, _QUESTION = "sequence-classification", "question-answering"


def check_head(checkpoint: Checkpoint, gguf: GGUFFile) -> Part:
    """Compare what a base says of itself, and the file beside it, with the checkpoint."""
    config = checkpoint.config
    findings = list(_of_class(config, gguf))
    form = FORMS.get(config.model_class)
    if form is None:
        return judged(NAME, f"{config.model_class} has none", findings)
    path = _beside(gguf.path)
    try:
        found = read_gguf(path, ARCHITECTURE)
    except GGUFError as e:
        return judged(NAME, "it cannot be read", [*findings, Finding(path.name, str(e))])
    expected = list(_renamed(form, checkpoint))
    findings += _wrong_keys(_keys(form, config), found, path.name)
    base_id = {WEIGHTS_ID_KEY: _weights_id(checkpoint, gguf)}
    findings += [f for file in (found, gguf) for f in _wrong_keys(base_id, file, file.path.name)]
    tensors = check_tensors(expected, found.tensors)
    told, labels = found.get(f"{ARCHITECTURE}.task"), found.get(f"{ARCHITECTURE}.classifier.output_labels", [])
    types = ", ".join(sorted({t.type.name for t in found.tensors.values() if len(t.shape) > 1}))
    summary = f"{told}, {len(labels)} labels, {types}; {tensors.summary}"
    return judged(NAME, summary, [*findings, *tensors.findings], tensors.notes, tensors.figures)


def _beside(base: Path) -> Path:
    whole = whole_name(base)
    return whole.with_name(f"{whole.stem}.head.gguf")


def _renamed(form: HeadForm, checkpoint: Checkpoint) -> Iterator[SourceTensor]:
    """The head's matrix and its bias, where the class has one, by llama.cpp's names (LLM_TENSOR_CLS_OUT)."""
    if f"{form.tensor}.weight" not in checkpoint.head:
        raise CheckpointError(f"{checkpoint.folder}: tensor {form.tensor}.weight is missing")
    for name, tensor in checkpoint.head.items():
        yield replace(tensor, name=f"cls.output.{name.split('.')[1]}", origin=name)


def _weights_id(checkpoint: Checkpoint, gguf: GGUFFile) -> str:
    """Of the checkpoint's tensors; RoPE's factors, which are none of them, count as the file has them."""
    stored = [tensor for tensor in checkpoint.gguf_tensors if tensor.name != ROPE_FREQS]
    return weights_id([*stored, *(tensor for name, tensor in gguf.tensors.items() if name == ROPE_FREQS)])


def _of_class(config: Configuration, gguf: GGUFFile) -> Iterator[Finding]:
    told = gguf.get(CLASS_KEY)
    if told != (None if config.speaks else config.model_class):
        yield Finding(CLASS_KEY, f"is {told}; the checkpoint is an {config.model_class}")


def _keys(form: HeadForm, config: Configuration) -> dict[str, Any]:
    """What decides how the head is used; names and licences do not. A key with None must not be there."""
    of_sequence = form.task == _SEQUENCE
    return {
        f"{ARCHITECTURE}.task": form.task,
        f"{ARCHITECTURE}.embedding_length": config.hidden_size,
        f"{ARCHITECTURE}.activation": _activation(form, config),
        f"{ARCHITECTURE}.pooling": "last" if of_sequence else None,
        f"{ARCHITECTURE}.padding_token_id": config.pad_token_id if of_sequence else None,
        f"{ARCHITECTURE}.classifier.output_labels": ["start", "end"] if form.task == _QUESTION else list(config.labels),
    }


def _activation(form: HeadForm, config: Configuration) -> str:
    """As TextClassificationPipeline of transformers chooses it; tokens and spans always have softmax."""
    if form.task != _SEQUENCE:
        return "softmax"
    if config.problem_type == "regression":
        return "none"
    many = config.problem_type == "multi_label_classification" or len(config.labels) == 1
    return "sigmoid" if many else "softmax"


def _wrong_keys(expected: Mapping[str, Any], found: GGUFFile, file: str) -> Iterator[Finding]:
    for key, wanted in expected.items():
        other = found.get(key)
        if other != wanted:
            yield Finding(key, f"is {other} in {file}; the checkpoint's is {wanted}")
