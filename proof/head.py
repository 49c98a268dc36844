"""The part ``head``: the base says of which class it is, and its head is the checkpoint's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from exaone4_gguf.converter.fingerprint import weights_id
from exaone4_gguf.errors import CheckpointError, GGUFError
from exaone4_gguf.format.file import GGUFFile, read_gguf, whole_name
from exaone4_gguf.format.keys import HEAD_ARCHITECTURE as ARCHITECTURE
from exaone4_gguf.format.keys import WEIGHTS_ID_KEY
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.proof.reading.checkpoint import Checkpoint
from exaone4_gguf.proof.reading.configuration import Configuration
from exaone4_gguf.proof.reading.names import ROPE_FREQS
from exaone4_gguf.proof.report import Finding, Part, evaluated
from exaone4_gguf.proof.tensors import check_tensors

NAME = "head"
CLASS_KEY = "exaone4_gguf.class"
"""Names the class that a base belongs to; a file without this key can chat."""


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
    """Compare the class that a base names, and the head's file beside it, with the checkpoint."""
    config = checkpoint.config
    findings: list[Finding] = []
    named = gguf.get(CLASS_KEY)
    if named != (None if config.speaks else config.model_class):
        findings.append(Finding(CLASS_KEY, f"is {named}; the checkpoint is an {config.model_class}"))
    form = FORMS.get(config.model_class)
    if form is None:
        return evaluated(NAME, f"{config.model_class} has none", findings)
    base = whole_name(gguf.path)
    path = base.with_name(f"{base.stem}.head.gguf")
    try:
        file = read_gguf(path, ARCHITECTURE)
    except GGUFError as e:
        return evaluated(NAME, "it cannot be read", [*findings, Finding(path.name, str(e))])
    expected = list(_renamed(form, checkpoint))
    findings += _wrong_keys(_keys(form, config), file)
    # RoPE's factors, which are none of the checkpoint's tensors, count as the file has them
    stored = [tensor for tensor in checkpoint.gguf_tensors if tensor.name != ROPE_FREQS]
    stored += [tensor for name, tensor in gguf.tensors.items() if name == ROPE_FREQS]
    base_id = {WEIGHTS_ID_KEY: weights_id(stored)}
    findings += [*_wrong_keys(base_id, file), *_wrong_keys(base_id, gguf)]
    tensors = check_tensors(expected, file.tensors)
    task, labels = file.get(f"{ARCHITECTURE}.task"), file.get(f"{ARCHITECTURE}.classifier.output_labels", [])
    types = ", ".join(sorted({t.type.name for t in file.tensors.values() if len(t.shape) > 1}))
    summary = f"{task}, {len(labels)} labels, {types}; {tensors.summary}"
    return evaluated(NAME, summary, [*findings, *tensors.findings], tensors.notes, tensors.figures)


def _renamed(form: HeadForm, checkpoint: Checkpoint) -> Iterator[SourceTensor]:
    """The head's matrix and its bias, where the class has one, by llama.cpp's names (LLM_TENSOR_CLS_OUT)."""
    if f"{form.tensor}.weight" not in checkpoint.head:
        raise CheckpointError(f"{checkpoint.folder}: tensor {form.tensor}.weight is missing")
    for name, tensor in checkpoint.head.items():
        yield replace(tensor, name=f"cls.output.{name.split('.')[1]}", origin=name)


def _keys(form: HeadForm, config: Configuration) -> dict[str, object]:
    """The keys that decide how the head is used; names and licences do not. A key with None must not be there."""
    pooling, padding, labels = None, None, list(config.labels)
    if form.task == _SEQUENCE:
        pooling, padding = "last", config.pad_token_id
    elif form.task == _QUESTION:
        labels = ["start", "end"]
    return {
        f"{ARCHITECTURE}.task": form.task,
        f"{ARCHITECTURE}.embedding_length": config.hidden_size,
        f"{ARCHITECTURE}.activation": _activation(form, config),
        f"{ARCHITECTURE}.pooling": pooling,
        f"{ARCHITECTURE}.padding_token_id": padding,
        f"{ARCHITECTURE}.classifier.output_labels": labels,
    }


def _activation(form: HeadForm, config: Configuration) -> str:
    """The activation that transformers' TextClassificationPipeline chooses; tokens and spans always have softmax."""
    if form.task != _SEQUENCE:
        return "softmax"
    if config.problem_type == "regression":
        return "none"
    if config.problem_type == "multi_label_classification" or len(config.labels) == 1:
        return "sigmoid"
    return "softmax"


def _wrong_keys(expected: Mapping[str, object], file: GGUFFile) -> Iterator[Finding]:
    for key, wanted in expected.items():
        value = file.get(key)
        if value != wanted:
            yield Finding(key, f"is {value} in {file.path.name}; the checkpoint's is {wanted}")
