"""The table of names is gguf-py's, and covers every weight that transformers has."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from gguf import MODEL_ARCH, get_tensor_name_map
from transformers import Exaone4Config, Exaone4ForCausalLM

from exaone4_gguf.converter.config import parse_config
from exaone4_gguf.converter.names import LM_HEAD, expected_tensors, file_order
from tests.checkpoints import full_config, hybrid_config


@pytest.mark.parametrize("raw", [full_config(), hybrid_config()], ids=["full", "hybrid"])
def test_names_and_shapes_are_those_of_transformers(raw: dict[str, Any]) -> None:
    model = Exaone4ForCausalLM(Exaone4Config(**json.loads(json.dumps(raw))))
    theirs = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    if raw["tie_word_embeddings"]:
        del theirs[LM_HEAD]
    assert {e.hf_name: e.shape for e in expected_tensors(parse_config(raw))} == theirs


def test_gguf_names_are_those_of_gguf_py() -> None:
    names = get_tensor_name_map(MODEL_ARCH.EXAONE4, 64)
    for e in expected_tensors(parse_config(hybrid_config())):
        assert names.get_name(e.hf_name, try_suffixes=(".weight",)) == e.gguf_name


def test_file_order_is_llama_cpps() -> None:
    """Outside the blocks first, then by layer as a number, then by name."""
    ordered = ["output.weight", "output_norm.weight", "rope_freqs.weight", "token_embd.weight"]
    ordered += [f"blk.{i}.{name}" for i in (0, 1, 2, 10) for name in ("attn_k.weight", "attn_k_norm.weight")]
    shuffled = random.Random(0).sample(ordered, len(ordered))
    assert sorted(shuffled, key=file_order) == ordered
