"""Byte-level BPE is read as tokenizers reads it; what would vanish there is refused."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from exaone4_gguf.converter.tokenizer.bpe import check_bytes, merges_of
from exaone4_gguf.errors import TokenizerError

LETTERS = "abc"
PIECES = [a + b for a in LETTERS for b in LETTERS]
VOCAB = {text: i for i, text in enumerate([*LETTERS, *PIECES])}
BYTES = {character: i for i, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
NEVER_IN_UTF8 = {"À", "Á", *(chr(c) for c in range(0xF5, 0x100))}


def ids(merges: list[tuple[str, str]], text: str) -> list[int]:
    """Of the library that the checkpoint's tokenizer runs in."""
    return list(Tokenizer(models.BPE(vocab=VOCAB, merges=merges)).encode(text).ids)


@given(st.lists(st.sampled_from([(a, b) for a in LETTERS for b in LETTERS]), min_size=1), st.text(LETTERS))
def test_a_merge_that_is_there_twice_counts_as_in_tokenizers(merges: list[tuple[str, str]], text: str) -> None:
    """Each merge is written once, so that llama.cpp, which heeds the first, cannot differ."""
    once = [(left, right) for left, right in (merge.split(" ") for merge in merges_of([*map(list, merges)], VOCAB))]
    assert len(once) == len(set(merges))
    assert ids(once, text) == ids(merges, text)


@pytest.mark.parametrize("merge", ["a", "a b c", ["a"], ["a", ""], ["a", 1], "a d", ["a", "d"], [" ", "a"], None, 3])
def test_what_is_no_merge_is_named(merge: Any) -> None:
    with pytest.raises(TokenizerError, match="merge"):
        merges_of(["a b", merge], VOCAB)


def test_a_vocabulary_of_all_bytes_is_accepted() -> None:
    check_bytes(BYTES)
    check_bytes({c: i for c, i in BYTES.items() if c not in NEVER_IN_UTF8})


@pytest.mark.parametrize("missing", [*combinations(sorted(BYTES.keys() - NEVER_IN_UTF8), 1), ("Ġ", "a")])
def test_a_byte_without_a_token_is_refused(missing: tuple[str, ...]) -> None:
    """Tokenizers drops it, so that its neighbours can merge; llama.cpp does not."""
    with pytest.raises(TokenizerError, match=rf"no token for the byte 0x[0-9a-f]{{2}} \({len(missing)} in all\)"):
        check_bytes({c: i for c, i in BYTES.items() if c not in missing})
