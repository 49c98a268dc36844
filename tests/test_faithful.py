"""The converted file means what the checkpoint means: against transformers and the tokenizer itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Exaone4Config

from exaone4_gguf.converter.config import read_config
from exaone4_gguf.converter.convert import convert
from exaone4_gguf.demo.conversations import CONVERSATIONS
from tests import llama
from tests.checkpoints import full_config, hybrid_config, random_tensors, write_checkpoint

Logits = npt.NDArray[np.float32]

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "다람쥐 헌 쳇바퀴에 타고파. 오늘 서울의 날씨는 어때요?",
    "¡Hola! El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia. ¿Qué más?",
    "def f(x: int) -> str:\n\treturn f'{x:>08.3f}'  # 100%\n\n\n",
    "👩‍👩‍👧‍👦 🇰🇷 🦙🦙 ✅ naïve Ω≈ç√∫ ﷽ 漢字かな",
    "a  b   c    d     e      f        g\t\th\t\t\ti \n \n\n  \r\n\r\n   ",
    "I'M 'told HE'LL don't we've 3 33 333 3.14 $99,999.00 ------======= ''''''```",
    "\u00a0\u3000\u200b\ufeff\u0085 e\u0301 \U0001f600\u0000\x7f",
)


def reference_logits(folder: Path, tokens: list[int]) -> Logits:
    """Transformers in float32; where only the pattern says which layers slide, it is written out for it."""
    types = ["sliding_attention" if s else "full_attention" for s in read_config(folder).sliding_layers]
    config = Exaone4Config(**json.loads((folder / "config.json").read_text()) | {"layer_types": types})
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, config=config)
    with torch.no_grad():
        return np.array(model(torch.tensor([tokens])).logits[0].float().numpy())


def divergence(a: Logits, b: Logits) -> tuple[float, float]:
    """Mean KL divergence of two sets of logits, and how often their first choice agrees."""
    p, q = (torch.log_softmax(torch.tensor(x).double(), -1) for x in (a, b))
    kl = (p.exp() * (p - q)).sum(-1).mean()
    return float(kl), float((a.argmax(-1) == b.argmax(-1)).mean())


TIMES = 3.0
"""How many times what rounding changes here a right file may differ by; for F32, the bar alone."""

MODELS: dict[str, dict[str, Any]] = {
    "full": full_config(),
    "full-no-scaling": full_config(rope_scaling=None, rope_theta=10000.0),
    "full-transformers-5": full_config(
        rope_scaling=None, rope_theta=None, rope_parameters=full_config()["rope_scaling"] | {"rope_theta": 1e6}
    ),
    "hybrid": hybrid_config(),
    "hybrid-by-pattern": hybrid_config(layer_types=None, sliding_window_pattern=4),
    "hybrid-other-pattern": hybrid_config(layer_types=None, sliding_window_pattern="LG", sliding_window=20),
}


@pytest.mark.parametrize("outtype", ["BF16", "F32"])
@pytest.mark.parametrize("name", MODELS)
def test_logits_are_those_of_transformers(name: str, outtype: str, tmp_path: Path) -> None:
    """On a prompt longer than the window, for every form of configuration.

    What the inputs of BF16's kernels are rounded to is told by the file in F32, which has the same weights.
    """
    config = {key: value for key, value in MODELS[name].items() if value is not None or key == "sliding_window"}
    folder = write_checkpoint(tmp_path / "model", config)
    path = convert(folder, tmp_path / "out.gguf", outtype).paths[0]
    tokens = np.random.default_rng(1).integers(300, config["vocab_size"], 160).tolist()
    exact = llama.logits(convert(folder, tmp_path / "f32.gguf", "F32").paths[0], tokens)
    found = llama.logits(path, tokens)
    rounding, same = divergence(exact, found)
    kl, agreement = divergence(reference_logits(folder, tokens), found)
    assert kl <= 1e-4 + TIMES * rounding
    assert agreement >= 0.95 - TIMES * (1 - same)


def test_a_window_where_llama_cpp_has_none_would_be_seen(tmp_path: Path) -> None:
    """The same comparison fails on the file that --allow-wrong-in-llama-cpp writes."""
    config = hybrid_config(num_hidden_layers=4, layer_types=hybrid_config()["layer_types"][:4])
    folder = write_checkpoint(tmp_path / "model", config)
    path = convert(folder, tmp_path / "out.gguf", allow_wrong_in_llama_cpp=True).paths[0]
    tokens = np.random.default_rng(1).integers(300, config["vocab_size"], 160).tolist()
    _, agreement = divergence(reference_logits(folder, tokens), llama.logits(path, tokens))
    assert agreement < 0.9


def all_texts(tokenizer: Any) -> list[str]:
    """The corpus, and every added token alone, between letters, and doubled."""
    added = list(tokenizer.get_added_vocab())
    return [*TEXTS, *added, *(f"a{t}b" for t in added), *(f" {t}{t}\n" for t in added), "".join(added)]


def assert_same_ids(folder: Path, path: Path) -> None:
    """llama.cpp gives the ids of the folder's own tokenizer, and its text back."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = llama.load(path, vocab_only=True)
    for text in all_texts(tokenizer):
        assert llama.tokenize(model, text) == tokenizer.encode(text, add_special_tokens=False), repr(text)
    model.close()


def test_token_ids_of_the_demo(demo: Path, full_gguf: Path) -> None:
    assert_same_ids(demo, full_gguf)


@pytest.mark.parametrize("form", ["tokenizer.json", "vocab.json"])
def test_token_ids_of_the_published_tokenizer(form: str, published: Path, tmp_path: Path) -> None:
    """Both forms of the folder; the goldens are what vLLM and SGLang computed."""
    config = full_config(hidden_size=32, num_attention_heads=2, head_dim=16, vocab_size=102400, eos_token_id=361)
    folder = write_checkpoint(tmp_path / "model", config, random_tensors(config))
    (folder / "tokenizer.json").unlink()
    names = ["tokenizer.json"] if form == "tokenizer.json" else ["vocab.json", "merges.txt"]
    for name in (*names, "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((published / name).read_bytes())
    path = convert(folder, tmp_path / "out.gguf").paths[0]
    assert_same_ids(folder, path)
    goldens = json.loads((published.parent / "goldens" / "token_ids.json").read_text())["cases"]
    model = llama.load(path, vocab_only=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    for case in goldens.values():
        request = json.loads(case["request_text"])
        text = request.get("prompt") or tokenizer.apply_chat_template(
            request["messages"],
            tools=request.get("tools"),
            tokenize=False,
            add_generation_prompt=True,
            **request.get("chat_template_kwargs", {}),
        )
        assert llama.tokenize(model, text) == case["expectedTokenIds"]
    model.close()


@pytest.fixture(scope="module")
def reference(demo: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(demo, dtype=torch.float32)


@pytest.mark.parametrize("outtype", ["BF16", "Q8_0"])
def test_the_demo_answers_as_in_transformers(outtype: str, demo: Path, reference: Any, tmp_path: Path) -> None:
    """Every turn of every bundled conversation, greedily."""
    path = convert(demo, tmp_path / "demo.gguf", outtype).paths[0]
    tokenizer: Any = AutoTokenizer.from_pretrained(demo)
    stop = tokenizer.eos_token_id
    for conversation in CONVERSATIONS.values():
        turns = [i for i, m in enumerate(conversation.messages) if m["role"] == "assistant"]
        for turn in turns:
            prompt = tokenizer.apply_chat_template(
                conversation.messages[:turn],
                tools=conversation.tools,
                add_generation_prompt=True,
                enable_thinking=conversation.reasoning,
                return_dict=False,
            )
            expected = reference.generate(
                torch.tensor([prompt]),
                attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
                max_new_tokens=256,
                do_sample=False,
            )[0, len(prompt) :].tolist()
            assert expected[-1] == stop
            assert llama.greedy(path, prompt, stop) == expected[:-1], conversation.name
