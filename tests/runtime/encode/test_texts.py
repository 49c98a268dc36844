"""Ids and places in the text are the tokenizer's own; windows cover every token once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.runtime.encode.texts import cut, encode, offsets
from exaone4_gguf.runtime.llama.model import Model
from tests.checkpoints import DEMO

TEXTS = st.text(
    st.characters(codec="utf-8") | st.sampled_from("가나다한국어 서울\n\t  🙂👍🏽🇰🇷e\u0301aB19"),
    min_size=1,
    max_size=40,
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    loaded = Model(convert(DEMO, tmp_path_factory.mktemp("model") / "a.gguf").paths[0], vocab_only=True)
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(Path(DEMO) / "tokenizer.json"))


@settings(deadline=None)
@given(text=TEXTS)
def test_ids_and_places_are_the_tokenizers(text: str, model: Model, tokenizer: Tokenizer) -> None:
    expected = tokenizer.encode(text)
    ids = encode(model, text).ids
    assert list(ids) == expected.ids
    assert offsets(model, text, ids) == expected.offsets


@settings(deadline=None)
@given(first=TEXTS, second=TEXTS)
def test_a_pair_is_encoded_as_the_tokenizer_does(first: str, second: str, model: Model, tokenizer: Tokenizer) -> None:
    found, expected = encode(model, (first, second)), tokenizer.encode(first, second)
    assert list(found.ids) == expected.ids
    assert found.second == expected.sequence_ids.count(0)


def test_half_a_character_is_no_crash(model: Model) -> None:
    text = "a\udc80b"
    ids = encode(model, text).ids
    assert offsets(model, text, ids)[-1][1] == len(text)


@settings(deadline=None)
@given(n=st.integers(1, 200), most=st.integers(1, 50), data=st.data())
def test_windows_cover_each_token_once(n: int, most: int, data: st.DataObject) -> None:
    stride = data.draw(st.integers(0, most - 1))
    found = list(cut(7, tuple(range(n)), most, stride))
    assert [i for window in found for i in window.ids[window.fresh :]] == list(range(n))
    assert all(window.ids == tuple(range(window.first, window.first + len(window.ids))) for window in found)
    assert all(len(window.ids) <= most and window.text == 7 for window in found)
    assert all(len(window.ids) == most for window in found[:-1])
