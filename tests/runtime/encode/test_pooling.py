"""Which pooling is used: that which is asked for, the file's, or the mean. What they compute is in test_encoder."""

from __future__ import annotations

import pytest

from exaone4_gguf.errors import RequestError
from exaone4_gguf.runtime.encode.pooling import KEY, POOLINGS, chosen_pooling
from exaone4_gguf.runtime.llama.api import load_api


@pytest.mark.parametrize("name", POOLINGS)
def test_the_numbers_are_llama_cpps(name: str) -> None:
    number = getattr(load_api(), f"LLAMA_POOLING_TYPE_{name.upper()}")
    assert chosen_pooling(None, {KEY: str(number)}) == name
    assert chosen_pooling(name, {KEY: "4"}) == name


@pytest.mark.parametrize("metadata", [{}, {KEY: "0"}, {KEY: "-1"}])
def test_a_file_that_names_none_gives_the_mean(metadata: dict[str, str]) -> None:
    assert chosen_pooling(None, metadata) == "mean"


@pytest.mark.parametrize(
    ("wanted", "number", "message"),
    [
        ("max", "1", "pooling is 'max'; one of: mean, cls, last"),
        ("", "1", "pooling is ''"),
        (None, "4", "the file asks for pooling type 4, which is unknown"),
        (None, "99", "pooling type 99"),
    ],
)
def test_others_are_refused(wanted: str | None, number: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        chosen_pooling(wanted, {KEY: number})
