"""The tokens that begin, end and pad are those that transformers takes, whichever file names them."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, GenerationConfig

from exaone4_gguf.converter.config import read_config
from exaone4_gguf.converter.metadata import build_metadata
from exaone4_gguf.converter.tokenizer.token_roles import NOT_WRITTEN, read_generation_config
from exaone4_gguf.converter.tokenizer.tokenizer import read_tokenizer
from exaone4_gguf.errors import ConfigError
from exaone4_gguf.format.keys import END_TOKENS_KEY
from exaone4_gguf.format.keys import END_TOKENS_KEY as MORE
from exaone4_gguf.format.values import Metadata
from exaone4_gguf.runtime.llama.header import END_KEYS as KEYS
from tests.checkpoints import DEMO, full_config

ABSENT = "absent"
"""Of a key, or of the whole file."""
IDS = {"[PAD]": 680, "[BOS]": 681, "[EOS]": 682, "<|endoftext|>": 684, "[|user|]": 688, "[|endofturn|]": 689}
TEXTS = {i: text for text, i in IDS.items()}

token_ids = st.sampled_from([*IDS.values(), 5, 600])
texts = st.sampled_from([ABSENT, None, *IDS])
of_tokenizer = st.fixed_dictionaries({"bos_token": texts, "eos_token": texts, "pad_token": texts})
of_file = st.fixed_dictionaries(
    {
        "bos_token_id": st.one_of(st.just(ABSENT), st.none(), token_ids),
        "eos_token_id": st.one_of(st.just(ABSENT), st.none(), token_ids, st.lists(token_ids, max_size=3)),
        "pad_token_id": st.one_of(st.just(ABSENT), st.none(), token_ids),
    }
)


def said(changes: dict[str, Any], base: dict[str, Any] | None = None) -> dict[str, Any]:
    return {key: value for key, value in ((base or {}) | changes).items() if value != ABSENT}


@contextmanager
def folder_of(
    config: dict[str, Any],
    generation: dict[str, Any] | None,
    tokenizer: dict[str, Any],
    legacy_map: dict[str, Any] | None = None,
    *,
    decoder: bool = True,
    tokenizer_class: str = "PreTrainedTokenizerFast",
) -> Iterator[Path]:
    """A folder without weights; ``decoder``: tokenizer_config.json has an added_tokens_decoder."""
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        shutil.copy(DEMO / "tokenizer.json", folder)
        own = json.loads((DEMO / "tokenizer_config.json").read_text()) | {"tokenizer_class": tokenizer_class}
        if not decoder:
            del own["added_tokens_decoder"]
        written = {
            "config.json": said(config, full_config()),
            "generation_config.json": None if generation is None else said(generation),
            "tokenizer_config.json": said(tokenizer, own),
            "special_tokens_map.json": None if legacy_map is None else said(legacy_map),
        }
        for name, content in written.items():
            if content is not None:
                (folder / name).write_text(json.dumps(content))
        yield folder


def keys_of(folder: Path) -> Metadata:
    config = read_config(folder)
    return build_metadata(folder, config, read_tokenizer(folder).padded(config.vocab_size), {}, 1)


def generation_of(folder: Path) -> Any:
    """As ``from_pretrained`` of a model that generates reads it."""
    try:
        return GenerationConfig.from_pretrained(folder)
    except OSError:
        return GenerationConfig.from_pretrained(folder, config_file_name="config.json", _from_model_config=True)


def as_list(ids: Any) -> list[int]:
    return ids if isinstance(ids, list) else [] if ids is None else [ids]


@settings(max_examples=40, deadline=None)
@given(
    config=of_file,
    generation=st.none() | of_file,
    tokenizer=of_tokenizer,
    legacy_map=st.none() | of_tokenizer,
    decoder=st.booleans(),
    tokenizer_class=st.sampled_from(["PreTrainedTokenizerFast", "GPT2Tokenizer"]),
)
def test_whoever_says_so(
    config: dict[str, Any],
    generation: dict[str, Any] | None,
    tokenizer: dict[str, Any],
    legacy_map: dict[str, Any] | None,
    decoder: bool,
    tokenizer_class: str,
) -> None:
    """A turn ends at the tokenizer's end token, at ``generate``'s, and at config.json's; bos and pad as told first."""
    with folder_of(
        config, generation, tokenizer, legacy_map, decoder=decoder, tokenizer_class=tokenizer_class
    ) as folder:
        theirs: Any = AutoTokenizer.from_pretrained(folder)
        generate = generation_of(folder)
        raw = json.loads((folder / "config.json").read_text())
        ends = [*as_list(theirs.eos_token_id), *as_list(generate.eos_token_id), *as_list(raw.get("eos_token_id"))]
        if not ends:
            with pytest.raises(ConfigError, match="names an end token"):
                keys_of(folder)
            return
        keys = keys_of(folder)
    written = {keys[key].data for key in KEYS if key in keys}
    assert written | set(keys[MORE].data if MORE in keys else ()) == set(ends)
    assert keys[KEYS[0]].data == ends[0]
    for role, key in (("bos", "bos_token_id"), ("pad", "padding_token_id")):
        name = f"{role}_token_id"
        first = [getattr(theirs, name), (generation or {}).get(name), config[name]]
        expected = next((i for i in first if i is not None and i != ABSENT), None)
        found = keys.get(f"tokenizer.ggml.{key}")
        assert (found.data if found else None) == expected


def test_where_there_are_more_than_llama_cpp_has_keys_for_all_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    """Those that it finds by their texts need no key; of the others the user is told."""
    ids = [682, 684, 5, 7, 9]
    with caplog.at_level(logging.WARNING), folder_of({"eos_token_id": ids}, None, {}) as folder:
        keys = keys_of(folder)
    assert [keys[key].data for key in KEYS] == [689, 5, 7]
    assert keys[MORE].data == [689, 5, 7, 9, 682, 684]
    assert "its own programs go on after '*'" in caplog.text
    assert MORE == END_TOKENS_KEY


def test_three_need_no_key_of_ours() -> None:
    with folder_of({"eos_token_id": 684}, {"eos_token_id": [682, 684]}, {}) as folder:
        keys = keys_of(folder)
    assert [keys[key].data for key in KEYS] == [689, 682, 684]
    assert MORE not in keys


@pytest.mark.parametrize(
    ("generation", "message"),
    [
        ({"eos_token_id": "</s>"}, "generation_config.json: eos_token_id is '</s>'; it may be a token id or a list"),
        ({"eos_token_id": [True]}, "eos_token_id is"),
        ({"pad_token_id": "x"}, "generation_config.json: pad_token_id is 'x'; it may be a token id or null"),
        ({"eos_token_id": 99999}, "eos_token_id 99999 is not in the vocabulary of 704 tokens"),
        ({"bos_token_id": 704}, None),
    ],
)
def test_what_is_no_token_is_refused(generation: dict[str, Any], message: str | None) -> None:
    """A bos that the tokenizer has said already is not looked at."""
    with folder_of({}, generation, {}) as folder:
        if message is None:
            keys_of(folder)
            return
        with pytest.raises(ConfigError, match=message):
            keys_of(folder)


def test_what_gguf_has_no_key_for_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    told: dict[str, Any] = {**dict.fromkeys(NOT_WRITTEN, "x"), "eos_token_id": 1}
    (tmp_path / "generation_config.json").write_text(json.dumps(told))
    assert read_generation_config(tmp_path).ends == (1,)
    assert all(name in caplog.text for name in NOT_WRITTEN)


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(ConfigError, match=r"generation_config.json: not JSON"):
        read_generation_config(tmp_path)
