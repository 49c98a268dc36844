"""A turn ends where it ends in transformers, whichever file names the end; control tokens are no text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.format.keys import END_TOKENS_KEY as MORE
from exaone4_gguf.format.values import ValueType, array, u32
from exaone4_gguf.runtime.events import Content
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.llama.header import END_KEYS as KEYS
from exaone4_gguf.runtime.llama.model import Model
from tests.checkpoints import DEMO
from tests.proof.wrong_files import rewritten

HELLO = [{"role": "user", "content": "Hello!"}]
ANSWER = "Hello! I am the demo model of exaone4-gguf. I am tiny, but I know all my lines by heart."


@pytest.fixture
def copy(tmp_path: Path) -> Callable[..., Path]:
    """The bundled checkpoint with changed JSON files; None removes a key, or the file."""

    def made(**changes: dict[str, Any] | None) -> Path:
        folder = shutil.copytree(DEMO, tmp_path / "demo")
        for name, changed in changes.items():
            path = folder / f"{name}.json"
            if changed is None:
                path.unlink()
                continue
            kept = {key: value for key, value in json.loads(path.read_text()).items() if key not in changed}
            path.write_text(json.dumps(kept | {key: value for key, value in changed.items() if value is not None}))
        return folder

    return made


def in_transformers(folder: Path, most: int = 48) -> tuple[str, bool]:
    """The greedy answer as a chat shows it, and whether the turn ended."""
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    prompt = tokenizer.apply_chat_template(HELLO, add_generation_prompt=True, return_dict=False)
    ids = torch.tensor([prompt])
    made = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=most, do_sample=False)
    answer = made[0, len(prompt) :].tolist()
    ends = model.generation_config.eos_token_id
    ended = answer[-1] in (ends if isinstance(ends, list) else [ends])
    return tokenizer.decode(answer[:-1] if ended else answer, skip_special_tokens=True), ended


def in_ours(path: Path, most: int = 48) -> tuple[str | None, bool]:
    with Exaone4(path, n_ctx=256) as model:
        reply = model.chat(HELLO, preset="greedy", max_tokens=most)
    return reply.content, reply.finish_reason == "stop"


LITTLE = json.loads((DEMO / "tokenizer.json").read_text())["model"]["vocab"]
DOT, COMMA, TINY, LINES = (LITTLE[text] for text in (".", ",", "Ġtiny", "Ġlines"))

CASES: dict[str, dict[str, dict[str, Any] | None]] = {
    "config.json was left behind": {"config": {"eos_token_id": 684}},
    "generation_config.json alone": {"config": {"eos_token_id": None}, "tokenizer_config": {"eos_token": "[EOS]"}},
    "config.json alone": {"generation_config": None, "tokenizer_config": {"eos_token": "[EOS]"}},
    "a list": {"generation_config": {"eos_token_id": [682, DOT, 689]}},
    "a list in config.json, and no generation_config.json": {
        "config": {"eos_token_id": [COMMA, 689]},
        "generation_config": None,
    },
    "more than llama.cpp has keys for": {"generation_config": {"eos_token_id": [5, 6, 7, 9, 682, TINY]}},
}


@pytest.mark.parametrize("case", CASES)
def test_a_turn_ends_where_transformers_ends_it(case: str, copy: Callable[..., Path], tmp_path: Path) -> None:
    folder = copy(**CASES[case])
    expected = in_transformers(folder)
    assert expected[1]
    assert in_ours(convert(folder, tmp_path / "a.gguf", "F32").paths[0]) == expected


def test_where_only_the_tokenizer_names_the_end(copy: Callable[..., Path], tmp_path: Path) -> None:
    """Transformers' ``generate`` goes on for ever; a chat ends, as vLLM's and llama.cpp's do."""
    folder = copy(config={"eos_token_id": None}, generation_config={"eos_token_id": None})
    path = convert(folder, tmp_path / "a.gguf").paths[0]
    assert in_ours(path) == (ANSWER, True)


def test_no_command_prints_the_name_of_an_end_token(copy: Callable[..., Path], tmp_path: Path) -> None:
    path = convert(copy(config={"eos_token_id": 684}), tmp_path / "a.gguf").paths[0]
    with Exaone4(path, n_ctx=256) as model:
        assert {684, 689} <= model.model.end_tokens
        events = model.complete(model.prompt(HELLO).ids, max_tokens=48, temperature=0.0)
        assert "".join(e.text for e in events if isinstance(e, Content)) == ANSWER


@pytest.fixture
def dumb(copy: Callable[..., Path], tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint, and its file, in which a word of the answer is a control token that ends nothing."""
    folder = copy()
    token = {"content": "gguf", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}
    raw = json.loads((folder / "tokenizer.json").read_text())
    raw["added_tokens"].append({"id": LITTLE["gguf"], "special": True} | token)
    (folder / "tokenizer.json").write_text(json.dumps(raw))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"][str(LITTLE["gguf"])] = token | {"special": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder, convert(folder, tmp_path / "dumb.gguf", "F32").paths[0]


def test_a_control_token_that_ends_nothing_is_no_text(dumb: tuple[Path, Path]) -> None:
    """In a reply, a stream, a text that goes on; its logprob is told by its name, without bytes."""
    folder, path = dumb
    expected = ANSWER.replace("gguf", "")
    assert in_transformers(folder) == (expected, True)
    with Exaone4(path, n_ctx=256) as model:
        reply = model.chat(HELLO, preset="greedy", logprobs=2)
        assert reply.content == expected
        assert reply.logprobs
        assert b"".join(token.text for token in reply.logprobs) == expected.encode()
        (silent,) = [token for token in reply.logprobs if token.is_control]
        assert (silent.id, silent.piece) == (LITTLE["gguf"], b"gguf")
        events = [e for e in model.stream(HELLO, preset="greedy", logprobs=0) if isinstance(e, Content)]
        assert "".join(e.text for e in events) == "".join(e.raw for e in events) == expected
        assert [t.id for e in events for t in e.tokens] == [t.id for t in reply.logprobs]
        going_on = model.complete(model.prompt(HELLO).ids, max_tokens=48, temperature=0.0)
        assert "".join(e.text for e in going_on if isinstance(e, Content)) == expected


@pytest.mark.parametrize("role", ["control", "end"])
def test_a_grammar_takes_it_for_no_text(role: str, dumb: tuple[Path, Path], demo_gguf: Path, tmp_path: Path) -> None:
    """llama.cpp's grammars match the name, of an end token too that it has no key for: other tokens are to write it."""
    ends = array(ValueType.UINT32, [689, LITTLE["gguf"]])
    path = dumb[1] if role == "control" else rewritten(demo_gguf, tmp_path / "a.gguf", {MORE: ends})
    form = {"type": "json_schema", "json_schema": {"schema": {"type": "string", "enum": ["exaone4-gguf"]}}}
    with Exaone4(path, n_ctx=256) as model:
        reply = model.chat(HELLO, preset="greedy", response_format=form)
        assert reply.content == '"exaone4-gguf"'


def test_keys_of_other_converters(demo_gguf: Path, tmp_path: Path) -> None:
    """All three of llama.cpp's; an id beyond the vocabulary ends nothing, and neither does another type."""
    changed = dict(zip(KEYS, map(u32, (5, 6, 99999)), strict=True)) | {MORE: u32(7)}
    model = Model(rewritten(demo_gguf, tmp_path / "a.gguf", changed), vocab_only=True)
    assert {5, 6} <= model.end_tokens
    assert not {7, 99999, 689} & model.end_tokens
    model.close()
