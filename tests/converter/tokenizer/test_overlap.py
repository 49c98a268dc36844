"""Added tokens that meet in a text: of those that are accepted llama.cpp finds what tokenizers finds, in any text.

EXAONE4_CASES is the number of texts in the random search, 400 without it; the bar is at 20,000.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from exaone4_gguf.converter.tokenizer.added_tokens import AddedToken, tokens_of_file
from exaone4_gguf.converter.tokenizer.overlap import Splitter, parting, split_by_llama_cpp
from exaone4_gguf.converter.tokenizer.tokenizer import read_tokenizer
from exaone4_gguf.errors import TokenizerError
from exaone4_gguf.runtime.llama.model import Model
from tests.checkpoints import DEMO
from tests.converter.vocabulary import write_vocabulary

CASES = int(os.environ.get("EXAONE4_CASES", "400"))
TEXTS = 20
"""Texts for each vocabulary."""
ATOMS = ("a", "b", " ", "  ", "\t", "\n", "가", "나", "<", "|>", "ew York", "York City Hall", "é", "'s", "1", "Ġ")

contents = st.lists(st.sampled_from(ATOMS), min_size=1, max_size=4).map("".join)
vocabularies = st.lists(
    st.builds(AddedToken, contents, special=st.booleans(), normalized=st.booleans()),
    min_size=1,
    max_size=6,
    unique_by=lambda token: token.content,
)


def raw(content: str, *, special: bool = False) -> AddedToken:
    return AddedToken(content, special=special, normalized=False)


@functools.cache
def demo_tokenizer() -> dict[str, Any]:
    return dict(json.loads((DEMO / "tokenizer.json").read_text()))


def folder_of(path: Path, tokens: Sequence[AddedToken]) -> Path:
    """A folder with the demo's BPE and these added tokens."""
    vocab = demo_tokenizer()["model"]["vocab"]
    fresh = itertools.count(len(vocab))
    added = [{"id": vocab.get(t.content, -1), **vars(t)} for t in tokens]
    for entry in added:
        entry["id"] = next(fresh) if entry["id"] < 0 else entry["id"]
    path.mkdir(exist_ok=True)
    (path / "tokenizer.json").write_text(json.dumps({**demo_tokenizer(), "added_tokens": added}))
    return path


def differing(folder: Path, path: Path, tokens: Sequence[AddedToken], texts: Sequence[str]) -> list[str]:
    """The texts to which llama.cpp gives other ids than tokenizers, control tokens read as such or as text."""
    own = Tokenizer.from_file(str(folder / "tokenizer.json"))
    without = folder_of(folder.with_name("without"), [token for token in tokens if not token.special])
    plain = Tokenizer.from_file(str(without / "tokenizer.json"))
    found = []
    with closing(Model(path, vocab_only=True)) as model:
        for text in texts:
            as_text = [own.id_to_token(i) for i in model.tokenize(text, control=False)]
            if model.tokenize(text) != own.encode(text).ids or as_text != plain.encode(text).tokens:
                found.append(text)
    return found


@st.composite
def texts_with(draw: st.DrawFn, tokens: Sequence[AddedToken]) -> list[str]:
    """Texts of tokens, of parts of them, and of what tokens are made of."""
    whole = [token.content for token in tokens]
    parts = [c[i:j] for c in whole for i, j in itertools.combinations(range(len(c) + 1), 2)]
    text = st.lists(st.sampled_from([*whole, *parts, *ATOMS]), min_size=1, max_size=8).map("".join)
    return draw(st.lists(text, min_size=TEXTS, max_size=TEXTS))


def test_no_accepted_tokenizer_has_other_ids_in_llama_cpp(tmp_path: Path) -> None:
    count: Counter[str] = Counter()

    @settings(
        max_examples=max(1, CASES // TEXTS), deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(vocabularies, st.data())
    def search(tokens: list[AddedToken], data: st.DataObject) -> None:
        folder, target = folder_of(tmp_path / "model", tokens), tmp_path / "a.gguf"
        count["vocabularies"] += 1
        sets = (tokens, [token for token in tokens if not token.special])
        meeting = next((m for m in map(parting, sets) if m), None)
        if meeting is None:
            write_vocabulary(folder, target, 720)
            texts = data.draw(texts_with(tokens))
            count["texts"] += len(texts)
            assert differing(folder, target, tokens, texts) == []
            return
        count["refused"] += 1
        with pytest.raises(TokenizerError, match="meet in"):
            read_tokenizer(folder)
        write_vocabulary(folder, target, 720, strict=False)
        differs = differing(folder, target, tokens, [meeting.text]) == [meeting.text]
        count["refused, and the text that is named has other ids"] += differs
        assert differs or len(meeting.first.content.encode()) == len(meeting.second.content.encode())

    while count["texts"] < CASES:
        search()
    print(dict(count))


WRONG = [
    ([raw("New York"), raw("York City Hall")], "New York City Hall"),
    ([raw("a>"), raw(">>b")], "a>>b"),
    ([raw("ab"), raw("ba")], "aba"),
    ([raw("가나"), raw("나abcdef")], "가나abcdef"),
    ([raw("\t\t"), AddedToken("\t\t\t")], "\t\t\t"),
    ([raw("  "), raw(" indent")], "  indent"),
    ([raw("  ", special=True), AddedToken("x  y", normalized=True)], "x  y"),
    ([raw("<a"), AddedToken("b<")], "b<a"),
]


@pytest.mark.parametrize(("tokens", "text"), WRONG)
def test_tokens_that_meet_are_refused_by_name(tokens: list[AddedToken], text: str, tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "model", tokens)
    with pytest.raises(TokenizerError) as e:
        read_tokenizer(folder)
    for part in (*(repr(t.content) for t in tokens), repr(text), "--allow-wrong-in-llama-cpp"):
        assert part in str(e.value)
    path = write_vocabulary(folder, tmp_path / "a.gguf", 720, strict=False)
    assert differing(folder, path, tokens, [text]) or len({len(t.content) for t in tokens}) == 1


RIGHT = [
    [raw(" " * n) for n in (2, 3, 5, 8, 13)],
    [raw("\t" * n) for n in range(2, 10)],
    [AddedToken(" " * n) for n in (2, 3, 4)],
    [raw("York City Hall"), raw("New York City Hall Square"), raw("Hall")],
    [raw("New York City"), raw("City Hall")],
    [raw("ab"), raw("bc"), raw("abc")],
    [raw("aba")],
    [raw("x  y"), AddedToken("  ")],
    [raw("<|user|>", special=True), raw("<|user"), AddedToken("user")],
]


@pytest.mark.parametrize("tokens", RIGHT)
def test_tokens_that_meet_without_harm_are_accepted(tokens: list[AddedToken], tmp_path: Path) -> None:
    """With every text of up to five of their tokens and halves."""
    folder = folder_of(tmp_path / "model", tokens)
    path = write_vocabulary(folder, tmp_path / "a.gguf", 720)
    parts = {part for t in tokens for part in (t.content, t.content[1:], t.content[:-1])}
    texts = ["".join(chosen) for chosen in itertools.product(sorted(parts)[:6], repeat=4)]
    assert differing(folder, path, tokens, texts) == []


def test_the_published_tokenizer_is_accepted(published: Path) -> None:
    """It has 362 of them, with runs of blanks and tabs of many lengths."""
    tokens = list(tokens_of_file(json.loads((published / "tokenizer.json").read_text())["added_tokens"]).values())
    assert len(tokens) == 362
    assert parting(tokens) is None
    splitter = Splitter(tokens)
    for n in range(1, 100):
        for text in (" " * n, "\t" * n, " " * n + "\t" * n + " ", "[|" + " " * n + "|]"):
            assert splitter.split(text) == split_by_llama_cpp(text, tokens)
