"""A tokenizer is judged by what it does: the same ids from any form, and a refusal of what llama.cpp does not do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.converter.tokenizer.bpe import GPT2_PATTERN
from exaone4_gguf.converter.tokenizer.tokenizer import TokenType, read_tokenizer
from exaone4_gguf.errors import TokenizerError

FILES = ("tokenizer.json", "tokenizer_config.json")
Edit = Callable[[dict[str, Any]], Any]


@pytest.fixture
def folder(demo: Path, tmp_path: Path) -> Path:
    """The demo's tokenizer, to be changed."""
    for name in FILES:
        (tmp_path / name).write_bytes((demo / name).read_bytes())
    return tmp_path


def edit(path: Path, change: Edit) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def in_two_files(folder: Path) -> None:
    """The older form: vocab.json and merges.txt, added tokens in tokenizer_config.json."""
    raw = json.loads((folder / "tokenizer.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(raw["model"]["vocab"]))
    merges = [" ".join(m) if isinstance(m, list) else m for m in raw["model"]["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    decoder = {str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in raw["added_tokens"]}
    edit(folder / "tokenizer_config.json", lambda c: c.update(added_tokens_decoder=decoder))
    (folder / "tokenizer.json").unlink()


def test_types_are_by_what_a_token_is(folder: Path) -> None:
    tokenizer = read_tokenizer(folder)
    types = dict(zip(tokenizer.tokens, tokenizer.types, strict=True))
    assert {types[t] for t in ("[|user|]", "[|endofturn|]", "[PAD]")} == {TokenType.CONTROL}
    assert {types[t] for t in ("<think>", "</tool_call>", "  ")} == {TokenType.USER_DEFINED}
    assert types["a"] == TokenType.NORMAL


def test_both_forms_give_the_same(folder: Path) -> None:
    one = read_tokenizer(folder)
    in_two_files(folder)
    assert read_tokenizer(folder) == one


def test_special_tokens_without_added_tokens_decoder(folder: Path) -> None:
    """Special are those with a role and the additional ones; the others of added_tokens.json are not."""
    one = read_tokenizer(folder)
    in_two_files(folder)

    def older(settings: dict[str, Any]) -> None:
        added = settings.pop("added_tokens_decoder").items()
        texts = {entry["content"]: int(i) for i, entry in added}
        (folder / "added_tokens.json").write_text(json.dumps(texts))
        settings["additional_special_tokens"] = [e["content"] for _, e in added if e["special"]]

    edit(folder / "tokenizer_config.json", older)
    assert read_tokenizer(folder) == one


def test_merges_may_be_strings_or_pairs(folder: Path) -> None:
    before = read_tokenizer(folder)

    def other_form(raw: dict[str, Any]) -> None:
        raw["model"]["merges"] = [m.split(" ") if isinstance(m, str) else " ".join(m) for m in raw["model"]["merges"]]

    edit(folder / "tokenizer.json", other_form)
    assert read_tokenizer(folder) == before


def test_gpt2s_pattern_in_two_steps_is_the_same(folder: Path) -> None:
    steps = {
        "type": "Sequence",
        "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": GPT2_PATTERN}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
        ],
    }
    edit(folder / "tokenizer.json", lambda raw: raw.update(pre_tokenizer=steps))
    read_tokenizer(folder)


def test_padding_fills_up_to_the_embedding(folder: Path) -> None:
    tokenizer = read_tokenizer(folder)
    n = len(tokenizer.tokens)
    padded = tokenizer.padded(n + 3)
    assert padded.texts()[n:] == [f"[PAD{i}]" for i in range(n, n + 3)]
    assert padded.types[n:] == (TokenType.UNUSED,) * 3
    with pytest.raises(TokenizerError, match=f"has {n} tokens, the embedding only {n - 1} rows"):
        tokenizer.padded(n - 1)


def test_names_of_padding_are_unique(folder: Path) -> None:
    """llama.cpp aborts on two tokens of the same text."""
    n = len(read_tokenizer(folder).tokens)
    edit(
        folder / "tokenizer.json",
        lambda raw: raw["added_tokens"].append(raw["added_tokens"][0] | {"id": n, "content": f"[PAD{n + 1}]"}),
    )
    texts = read_tokenizer(folder).padded(n + 4).texts()
    assert len(set(texts)) == len(texts)


def bos_before(raw: dict[str, Any]) -> None:
    pieces = [{"SpecialToken": {"id": "[BOS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    raw["post_processor"] = {"type": "TemplateProcessing", "single": pieces, "pair": [], "special_tokens": {}}


def test_a_tokenizer_that_adds_bos_says_so(folder: Path) -> None:
    edit(folder / "tokenizer.json", bos_before)
    assert read_tokenizer(folder).adds_bos


def model(**changes: Any) -> Edit:
    return lambda raw: raw["model"].update(changes)


def added(**changes: Any) -> Edit:
    return lambda raw: raw["added_tokens"][0].update(changes)


NFC = {"type": "NFC"}
QWEN = {"type": "Split", "pattern": {"Regex": r"\d"}, "behavior": "Isolated", "invert": False}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
WRONG: list[tuple[Edit, str]] = [
    (model(type="Unigram"), "model is 'Unigram'; llama.cpp's exaone4 needs BPE"),
    (model(dropout=0.1), "dropout = 0.1"),
    (model(byte_fallback=True), "byte_fallback"),
    (model(ignore_merges=True), "ignore_merges"),
    (model(end_of_word_suffix="</w>"), "end_of_word_suffix"),
    (model(merges=["a"]), "merge 'a' is not two tokens"),
    (model(merges=[["a", "b c"]]), "blank in a token"),
    (model(merges=["a zzzzq"]), "needs token 'zzzzq'"),
    (model(merges=None), "no merges"),
    (model(vocab={"a": "b"}), "no whole number"),
    (model(vocab={"a": 1, "b": 1}, merges=["a b"]), "'a' and 'b' have the same id 1"),
    (model(vocab={"a": 2**40}, merges=["a b"]), "no whole number"),
    (lambda raw: raw.update(model=None), "model is None"),
    (lambda raw: raw.update(normalizer=NFC), r"normalizer \(NFC\)"),
    (lambda raw: raw.update(normalizer={"type": "Sequence", "normalizers": [NFC]}), r"normalizer \(NFC\)"),
    (lambda raw: raw.update(pre_tokenizer=None), "pre-tokenizer is null"),
    (lambda raw: raw["pre_tokenizer"].update(add_prefix_space=True), "no add_prefix_space"),
    (lambda raw: raw["pre_tokenizer"].update(use_regex=False), "llama.cpp's exaone4 does GPT-2's"),
    (lambda raw: raw.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [QWEN, BYTES]}), "GPT-2's"),
    (lambda raw: raw.update(pre_tokenizer={"type": "Whitespace"}), "GPT-2's"),
    (lambda raw: raw.update(post_processor={"type": "BertProcessing"}), "can only add BOS and EOS"),
    (added(lstrip=True), "has lstrip, which llama.cpp does not do"),
    (added(single_word=True), "has single_word"),
    (model(merges=[]), "no merges, which llama.cpp needs"),
    (added(content="a"), "token 'a' has two ids"),
    (added(id=-1), "wrong id or content"),
    (added(id="7"), "wrong id or content"),
    (lambda raw: raw["added_tokens"].append(3), "lacks id or content"),
    (lambda raw: raw.update(added_tokens=5), "malformed"),
    (lambda raw: raw.update(pre_tokenizer={"pretokenizers": [7]}), "malformed"),
]


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_what_llama_cpp_does_not_do_is_refused(change: Edit, message: str, folder: Path) -> None:
    edit(folder / "tokenizer.json", change)
    with pytest.raises(TokenizerError, match="tokenizer.json: .*" + message):
        read_tokenizer(folder)


def test_another_pre_tokenizer_may_pass_if_asked(folder: Path) -> None:
    edit(folder / "tokenizer.json", lambda raw: raw.update(normalizer=NFC))
    read_tokenizer(folder, check_pre_tokenizer=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(tokenizer_class="Qwen2Tokenizer"), "tokenizer_class is 'Qwen2Tokenizer'"),
        (lambda c: c.update(add_prefix_space=True), "add_prefix_space is true"),
        (lambda c: c["added_tokens_decoder"].update(x={"content": "y"}), "'x', which is no token id"),
    ],
)
def test_settings_of_the_older_form_are_checked(change: Edit, message: str, folder: Path) -> None:
    in_two_files(folder)
    edit(folder / "tokenizer_config.json", change)
    with pytest.raises(TokenizerError, match=message):
        read_tokenizer(folder)


def test_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="no tokenizer: neither tokenizer.json, nor vocab.json and merges.txt"):
        read_tokenizer(tmp_path)
