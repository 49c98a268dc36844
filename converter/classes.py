"""The classes that transformers has for EXAONE 4: how each names the base's tensors, and what its head is.

The sources are models/exaone4/modeling_exaone4.py and modeling_layers.py of transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exaone4_gguf.errors import ConfigError
from exaone4_gguf.format.keys import NONE, QUESTION, SEQUENCE, SIGMOID, SOFTMAX, TOKEN

SPAN_LABELS = ("start", "end")
"""The two rows of a question answering head."""

SINGLE, MULTI, REGRESSION = "single_label_classification", "multi_label_classification", "regression"
ACTIVATIONS = {SINGLE: SOFTMAX, MULTI: SIGMOID, REGRESSION: NONE}
"""What makes scores of logits, by config.json's problem_type."""


@dataclass(frozen=True)
class HeadForm:
    """How a class names its head, and whether that has a bias: always, never, or as a key of config.json says."""

    tensor: str
    task: str
    bias: bool
    bias_key: str = ""


@dataclass(frozen=True)
class ModelClass:
    """A class of transformers: the prefix of the base's tensors, and the head; without either, it has no output."""

    name: str
    prefix: str
    head: HeadForm | None = None
    speaks: bool = False


CAUSAL = ModelClass("Exaone4ForCausalLM", "model.", speaks=True)
CLASSES = {
    c.name: c
    for c in (
        CAUSAL,
        ModelClass("Exaone4Model", ""),
        ModelClass("Exaone4ForSequenceClassification", "model.", HeadForm("score", SEQUENCE, False)),
        ModelClass(
            "Exaone4ForTokenClassification", "model.", HeadForm("score", TOKEN, True, "token_classification_bias")
        ),
        ModelClass("Exaone4ForQuestionAnswering", "transformer.", HeadForm("qa_outputs", QUESTION, True)),
    )
}


@dataclass(frozen=True)
class HeadConfig:
    """What config.json says of a head. A row of its matrix for each label.

    ``pad_token_id``: a sequence is judged by its last token that is not this one.
    """

    form: HeadForm
    labels: tuple[str, ...]
    has_bias: bool
    activation: str
    pad_token_id: int | None

    @property
    def n_labels(self) -> int:
        """How many rows the matrix has."""
        return len(self.labels)


def read_head_config(raw: Mapping[str, Any], model_class: ModelClass) -> HeadConfig | None:
    """The head of a configuration; None of a class without one.

    Raises:
        ConfigError: labels that are not numbered from 0, or a setting of another form.
    """
    form = model_class.head
    if form is None:
        return None
    labels = SPAN_LABELS if form.task == QUESTION else _labels(raw)
    has_bias = raw.get(form.bias_key, form.bias) if form.bias_key else form.bias
    if not isinstance(has_bias, bool):
        raise ConfigError(f"{form.bias_key} is {has_bias!r}; it must be true or false")
    pad = raw.get("pad_token_id")
    if pad is not None and (not isinstance(pad, int) or isinstance(pad, bool) or pad < 0):
        raise ConfigError(f"pad_token_id is {pad!r}; it may be a token id or null")
    return HeadConfig(form, labels, has_bias, _activation(raw, form, len(labels)), pad)


def _labels(raw: Mapping[str, Any]) -> tuple[str, ...]:
    """id2label in the order of its numbers; without one, the names that transformers gives (2 of them by default)."""
    names = raw.get("id2label")
    if names is None:
        count = raw.get("num_labels", 2)
        if not isinstance(count, int) or isinstance(count, bool) or not 0 < count <= _MOST_LABELS:
            raise ConfigError(f"num_labels is {count!r}; it must be a whole number from 1 to {_MOST_LABELS}")
        return tuple(f"LABEL_{i}" for i in range(count))
    if not isinstance(names, dict) or not names:
        raise ConfigError(f"id2label is {str(names)[:40]!r}; it must be an object of numbers and names")
    if {str(key) for key in names} != {str(i) for i in range(len(names))}:
        raise ConfigError(f"id2label has {len(names)} labels, but they are not numbered from 0 to {len(names) - 1}")
    wrong = [name for name in names.values() if not isinstance(name, str)]
    if wrong:
        raise ConfigError(f"id2label has the name {wrong[0]!r}; it must be text")
    return tuple(names[str(i)] for i in range(len(names)))


def _activation(raw: Mapping[str, Any], form: HeadForm, n_labels: int) -> str:
    """As transformers' text classification pipeline chooses it; tokens and spans always have softmax."""
    problem = raw.get("problem_type")
    if form.task != SEQUENCE:
        return ACTIVATIONS[SINGLE]
    if problem is not None and problem not in ACTIVATIONS:
        raise ConfigError(f"problem_type is {problem!r}; known are {', '.join(ACTIVATIONS)}")
    if problem in (None, SINGLE):
        problem = MULTI if n_labels == 1 else SINGLE  # the softmax of one label would always be 1
    return ACTIVATIONS[problem]


_MOST_LABELS = 1 << 20
