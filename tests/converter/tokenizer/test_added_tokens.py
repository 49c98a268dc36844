"""Added tokens stand in many files: those that are read, and their ids, are transformers' own.

EXAONE4_CASES is the number of folders in the random search, 40 without it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from exaone4_gguf.converter.tokenizer.tokenizer import TokenType, read_tokenizer
from exaone4_gguf.errors import TokenizerError
from exaone4_gguf.runtime.llama.model import Model
from tests.checkpoints import DEMO
from tests.converter.vocabulary import write_vocabulary

CASES = int(os.environ.get("EXAONE4_CASES", "40"))
ROWS = 768
FIRST = 704
"""The first id that the demo's tokenizer has free."""
KINDS = {TokenType.CONTROL: True, TokenType.USER_DEFINED: False}

Files = dict[str, dict[str, Any]]
Edit = Callable[[Files], Any]


def demo_files() -> Files:
    """The files that tell of added tokens, of a folder with the demo's tokenizer."""
    names = ("config.json", "tokenizer.json", "tokenizer_config.json")
    files: Files = {name: json.loads((DEMO / name).read_text()) for name in names}
    files["config.json"]["max_position_embeddings"] = 65536
    return files | {"special_tokens_map.json": {}, "added_tokens.json": {}}


def entry(content: str, **flags: bool) -> dict[str, Any]:
    """A token as tokenizer_config.json has it."""
    usual = dict.fromkeys(("special", "normalized", "lstrip", "rstrip", "single_word"), False)
    return {"content": content, **usual, **flags}


def write(folder: Path, files: Files) -> Path:
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        if content:
            (folder / name).write_text(json.dumps(content))
    return folder


def check_against_transformers(folder: Path, texts: list[str]) -> None:
    """The same added tokens, special or not, the same roles, and in llama.cpp the same ids."""
    own = AutoTokenizer.from_pretrained(folder)
    read = read_tokenizer(folder)
    found = {i: (read.tokens[i], KINDS[kind]) for i, kind in enumerate(read.types) if kind in KINDS}
    assert found == {i: (token.content, token.special) for i, token in own.added_tokens_decoder.items()}
    roles = {role: own.convert_tokens_to_ids(text) for role in ("bos", "eos", "unk", "pad")
             if (text := getattr(own, f"{role}_token")) is not None}  # fmt: skip
    assert read.special_ids == roles
    with closing(Model(write_vocabulary(folder, folder / "a.gguf", ROWS), vocab_only=True)) as model:
        for text in texts:
            assert model.tokenize(text) == own.encode(text, add_special_tokens=False)


def decoder(files: Files) -> Any:
    return files["tokenizer_config.json"]["added_tokens_decoder"]


def in_decoder(number: int, content: str, **flags: bool) -> Edit:
    return lambda files: decoder(files).update({str(number): entry(content, **flags)})


def setting(**values: Any) -> Edit:
    return lambda files: files["tokenizer_config.json"].update(values)


def without_decoder(change: Edit) -> Edit:
    def both(files: Files) -> None:
        del files["tokenizer_config.json"]["added_tokens_decoder"]
        change(files)

    return both


def of_class(name: str | None, change: Edit) -> Edit:
    def both(files: Files) -> None:
        files["tokenizer_config.json"].update(tokenizer_class=name)
        change(files)

    return both


TYPED = {"__type": "AddedToken"}
READ: dict[str, Edit] = {
    "a special one in the decoder": in_decoder(FIRST, "<sql>", special=True),
    "a plain one in the decoder": in_decoder(FIRST, "<sql>", normalized=True),
    "two": lambda files: [in_decoder(FIRST + 1, "<b>")(files), in_decoder(FIRST, "<sql>")(files)],
    "one of the vocabulary": lambda files: in_decoder(files["tokenizer.json"]["model"]["vocab"]["a"], "a")(files),
    "additional": setting(additional_special_tokens=["<sql>"]),
    "extra": setting(extra_special_tokens=["<sql>", "[|user|]"]),
    "extra, as an object": setting(extra_special_tokens={"sql_token": "<sql>"}),
    "extra before additional": setting(extra_special_tokens=["<sql>"], additional_special_tokens=["<b>"]),
    "extra as an object, and additional": setting(
        extra_special_tokens={"sql_token": "<sql>"}, additional_special_tokens=["<b>"]
    ),
    "a new end of turn": setting(eos_token="<sql>"),
    "a new end of turn, as an object": setting(eos_token=TYPED | entry("<sql>", special=True)),
    "a role of its own": setting(sep_token="<sep>", image_token="<sql>"),
    "no end of turn": setting(eos_token=None),
    "a role for a plain one": setting(pad_token="<think>"),
    "special only there": lambda files: [
        token.update(special=True) for token in decoder(files).values() if token["content"] == "<think>"
    ],
    "by class as it is": of_class("PreTrainedTokenizerFast", in_decoder(FIRST, "<sql>", special=True)),
    "by no class": of_class(None, setting(extra_special_tokens=["<sql>"])),
    "by class as it is, no longer special": of_class(
        "TokenizersBackend", lambda files: decoder(files)["680"].update(special=False)
    ),
    "special_tokens_map.json": without_decoder(
        lambda files: files["special_tokens_map.json"].update(eos_token=entry("<sql>") | {"special": True})
    ),
    "special_tokens_map.json, additional": without_decoder(
        lambda files: files["special_tokens_map.json"].update(additional_special_tokens=["<sql>"])
    ),
    "special_tokens_map.json, extra as an object, and additional": without_decoder(
        lambda files: files["special_tokens_map.json"].update(
            extra_special_tokens={"sql_token": "<sql>"}, additional_special_tokens=["<b>"]
        )
    ),
    "special_tokens_map.json is not heeded beside a decoder": lambda files: files["special_tokens_map.json"].update(
        eos_token="<think>"
    ),
    "added_tokens.json": without_decoder(lambda files: files["added_tokens.json"].update({"<sql>": FIRST})),
    "added_tokens.json, of a role": without_decoder(
        lambda files: [files["added_tokens.json"].update({"<sql>": FIRST}), setting(eos_token="<sql>")(files)]
    ),
}


@pytest.mark.parametrize("name", READ)
def test_it_is_read_as_transformers_reads_it(name: str, tmp_path: Path) -> None:
    files = demo_files()
    READ[name](files)
    check_against_transformers(write(tmp_path / "model", files), ["a<sql>b <b>", "<sep><think>[|user|]\n", "abba"])


REFUSED: dict[str, tuple[Edit, str]] = {
    "lstrip only there": (lambda files: decoder(files)["680"].update(lstrip=True), "has lstrip, which llama.cpp"),
    "another id": (in_decoder(FIRST + 3, "<sql>"), "'<sql>' has two ids: 707 in the file, 704 in transformers"),
    "twice": (in_decoder(FIRST, "[PAD]"), r"'\[PAD\]' has two ids"),
    "empty": (in_decoder(FIRST, ""), "wrong id or content"),
    "a flag that is none": (lambda files: decoder(files)["680"].update(special=1), "special = 1; it must be true"),
    "a list of numbers": (setting(extra_special_tokens=[3]), "wrong id or content"),
    "split": (setting(split_special_tokens=True), "split_special_tokens is true"),
    "a class that does otherwise": (setting(tokenizer_class="Qwen2Tokenizer"), "tokenizer_class is 'Qwen2Tokenizer'"),
    "overlap": (setting(extra_special_tokens=["New York", "York City Hall"]), "meet in 'New York City Hall'"),
    "no room": (setting(extra_special_tokens=[f"<{i}>" for i in range(70)]), "rows .vocab_size.: none for '<64>'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_so_is_refused_by_name(name: str, tmp_path: Path) -> None:
    change, message = REFUSED[name]
    files = demo_files()
    change(files)
    with pytest.raises(TokenizerError, match=message):
        read_tokenizer(write(tmp_path / "model", files)).padded(ROWS)


contents = st.sampled_from(["<sql>", "<b>", "<think>", "[PAD]", "a", "new token", "  ", "가나"])
flags = st.fixed_dictionaries({name: st.booleans() for name in ("special", "normalized")})
strings_or_objects = contents | st.builds(lambda c, f: TYPED | entry(c, **f), contents, flags)


@st.composite
def folders(draw: st.DrawFn) -> Files:
    """The demo's files, with tokens told, retold and left out in any of them."""
    files = demo_files()
    config, own = files["tokenizer_config.json"], files["tokenizer.json"]["added_tokens"]
    config["tokenizer_class"] = draw(
        st.sampled_from(["GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend", None])
    )
    for content, number in draw(st.dictionaries(contents, st.integers(FIRST, FIRST + 2), max_size=2)).items():
        taken = {t["content"]: t["id"] for t in own} | files["tokenizer.json"]["model"]["vocab"]
        token = entry(content, **draw(flags))
        number = taken.get(content, number)
        decoder(files)[str(number)] = token
        if draw(st.booleans()) and content not in taken:
            own.append({"id": number, **token})
    for token in draw(st.lists(st.sampled_from(own), max_size=2)):
        token.update(draw(flags))
    if draw(st.booleans()):
        del config["added_tokens_decoder"]
    elif draw(st.booleans()):
        decoder(files).pop(draw(st.sampled_from(sorted(decoder(files)))))
    roles = st.sampled_from(["eos_token", "pad_token", "bos_token", "unk_token", "sep_token", "image_token"])
    config.update(draw(st.dictionaries(roles, st.none() | strings_or_objects, max_size=2)))
    lists = st.lists(contents, max_size=2)
    keys = st.sampled_from(["extra_special_tokens", "additional_special_tokens"])
    config.update(draw(st.dictionaries(keys, lists, max_size=2)))
    if draw(st.booleans()):
        config["extra_special_tokens"] = draw(st.dictionaries(st.just("sql_token"), contents))
    files["special_tokens_map.json"] = draw(st.dictionaries(roles, contents, max_size=2))
    files["added_tokens.json"] = draw(st.dictionaries(st.sampled_from(["<sql>", "<b>"]), st.just(FIRST), max_size=1))
    return files


def test_any_folder_is_read_as_transformers_reads_it_or_refused(tmp_path: Path) -> None:
    count: Counter[str] = Counter()

    @settings(max_examples=CASES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(folders(), st.lists(st.lists(contents, max_size=6).map("".join), min_size=4, max_size=4))
    def search(files: Files, texts: list[str]) -> None:
        folder = write(tmp_path / "model", files)
        count["folders"] += 1
        try:
            read_tokenizer(folder).padded(ROWS)
        except TokenizerError as e:
            count[str(e).split(": ", 1)[1][-30:]] += 1
            return
        count["read"] += 1
        check_against_transformers(folder, texts)

    search()
    print(dict(count))
    assert count["read"] > count["folders"] / 4
