"""Errors have fields, which make their text and survive the way from another process."""

from __future__ import annotations

import pickle

import pytest

from exaone4_gguf.errors import ContextOverflow, Exaone4Error, RequestError, TextTooLong


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "it is wrong"),
        ({"where": "a.gguf"}, "a.gguf: it is wrong"),
        ({"hint": "make it right"}, "it is wrong; make it right"),
        ({"where": "a.gguf", "hint": "make it right"}, "a.gguf: it is wrong; make it right"),
        ({"field": "top_k"}, "it is wrong"),
    ],
)
def test_the_fields_make_the_text(fields: dict[str, str], text: str) -> None:
    assert str(Exaone4Error("it is wrong", **fields)) == text


@pytest.mark.parametrize(
    "error",
    [
        RequestError("top_k is 'a'", where="line 1", field="top_k", hint="it must be a number"),
        ContextOverflow(5000, 1000),
        TextTooLong("text 1", 9, 4),
    ],
)
def test_an_error_survives_pickle(error: Exaone4Error) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
