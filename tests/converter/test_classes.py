"""The head that config.json describes is that which transformers makes of it."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import Exaone4Config as HFConfig

from exaone4_gguf.converter.classes import CLASSES, HeadConfig
from exaone4_gguf.converter.config import parse_config
from exaone4_gguf.converter.names import expected_head_tensors, expected_tensors
from exaone4_gguf.errors import ConfigError
from exaone4_gguf.format.keys import QUESTION, SEQUENCE, TOKEN
from tests.checkpoints import full_config

NAMES = {c.head.task: name for name, c in CLASSES.items() if c.head}


def head(task: str, **changes: Any) -> HeadConfig:
    found = parse_config(full_config(architectures=[NAMES[task]], **changes)).head
    assert found is not None
    return found


@pytest.mark.parametrize("name", CLASSES)
def test_names_are_those_of_transformers_class(name: str) -> None:
    import torch
    import transformers

    raw = full_config(architectures=[name], id2label={"0": "a", "1": "b", "2": "c"})
    config = parse_config(raw)
    with torch.device("meta"):
        model = getattr(transformers, name)(HFConfig(**raw))
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    shapes.pop("lm_head.weight", None)  # tied
    assert {e.hf_name: e.shape for e in (*expected_tensors(config), *expected_head_tensors(config))} == shapes


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_labels": 4},
        {"id2label": {"0": "좋음", "1": "나쁨"}},
        {"id2label": {"1": "b", "0": "a", "2": "c"}},
    ],
)
def test_labels_are_those_of_transformers(changes: dict[str, Any]) -> None:
    expected = HFConfig(**full_config(**changes)).id2label
    assert dict(enumerate(head(SEQUENCE, **changes).labels)) == expected


@pytest.mark.parametrize(
    ("changes", "activation"),
    [
        ({}, "softmax"),
        ({"id2label": {"0": "score"}}, "sigmoid"),
        ({"id2label": {"0": "score"}, "problem_type": "regression"}, "none"),
        ({"problem_type": "multi_label_classification"}, "sigmoid"),
        ({"problem_type": "single_label_classification"}, "softmax"),
        ({"id2label": {"0": "score"}, "problem_type": "single_label_classification"}, "sigmoid"),
    ],
)
def test_scores_are_made_as_in_transformers_pipeline(changes: dict[str, Any], activation: str) -> None:
    assert head(SEQUENCE, **changes).activation == activation


def test_tokens_have_a_bias_unless_the_configuration_says_otherwise() -> None:
    assert head(TOKEN).has_bias
    assert not head(TOKEN, token_classification_bias=False).has_bias
    assert not head(SEQUENCE).has_bias
    assert head(QUESTION).has_bias
    assert head(QUESTION, id2label={"0": "x"}).labels == ("start", "end")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id2label": []}, "id2label is '\\[\\]'; it must be an object"),
        ({"id2label": {"0": "a", "2": "b"}}, "2 labels, but they are not numbered from 0 to 1"),
        ({"id2label": {"0": 5}}, "id2label has the name 5; it must be text"),
        ({"num_labels": 0}, "num_labels is 0"),
        ({"num_labels": True}, "num_labels is True"),
        ({"problem_type": "ranking"}, "problem_type is 'ranking'; known are"),
        ({"pad_token_id": "x"}, "pad_token_id is 'x'"),
    ],
)
def test_what_makes_no_head_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        head(SEQUENCE, **changes)


def test_another_architecture_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="the architecture is Exaone4ForVision; those that can be converted are"):
        parse_config(full_config(architectures=["Exaone4ForVision"]))
