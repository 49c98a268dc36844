"""Random EXAONE 4 checkpoints of any shape, written as transformers writes them, with the demo's tokenizer."""

from __future__ import annotations

import copy
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from exaone4_gguf.converter.config import parse_config
from exaone4_gguf.converter.names import expected_head_tensors, expected_tensors

DEMO = Path(__file__).parent.parent / "app" / "demo" / "checkpoint"
SIDE_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "LICENSE")

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 16.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}


def hybrid_layers(n: int) -> list[str]:
    """Three sliding layers, then a full one, repeated: the 32B's pattern."""
    return ["full_attention" if i % 4 == 3 else "sliding_attention" for i in range(n)]


def full_config(**changes: Any) -> dict[str, Any]:
    """A small model like the 1.2B: full attention, tied, in the published form of config.json."""
    vocab_size = json.loads((DEMO / "config.json").read_text())["vocab_size"]
    config = {
        "architectures": ["Exaone4ForCausalLM"],
        "model_type": "exaone4",
        "hidden_size": 256,
        "intermediate_size": 512,
        "num_hidden_layers": 4,
        "num_attention_heads": 8,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "hidden_act": "silu",
        "max_position_embeddings": 65536,
        "rms_norm_eps": 1e-5,
        "rope_theta": 1000000.0,
        "rope_scaling": LLAMA3,
        "sliding_window": None,
        "sliding_window_pattern": None,
        "layer_types": ["full_attention"] * 4,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "eos_token_id": json.loads((DEMO / "config.json").read_text())["eos_token_id"],
        "vocab_size": vocab_size,
    }
    return copy.deepcopy(config | changes)  # transformers writes into the dictionaries that it is given


def hybrid_config(**changes: Any) -> dict[str, Any]:
    """A small model like the 32B: 64 layers, a window of 32 in three of four, untied."""
    hybrid = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "sliding_window": 32,
        "sliding_window_pattern": "LLLG",
        "layer_types": hybrid_layers(64),
        "tie_word_embeddings": False,
    }
    return full_config(**(hybrid | changes))


LABELS = ("O", "B-사람", "I-사람", "B-place", "I-place")


def class_config(name: str, shape: Callable[..., dict[str, Any]] = full_config, **changes: Any) -> dict[str, Any]:
    """A configuration of another of transformers' classes; those with a head have five labels."""
    labels = {str(i): label for i, label in enumerate(LABELS)}
    own = {"architectures": [name], "id2label": labels, "label2id": {v: int(k) for k, v in labels.items()}}
    return shape(**(own | {"pad_token_id": 680} | changes))


def random_tensors(config: dict[str, Any], dtype: str = "BF16", seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights for every tensor of the configuration: norms near 1, the others small."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    parsed = parse_config(config)
    for expected in (*expected_tensors(parsed), *expected_head_tensors(parsed)):
        values = torch.randn(expected.shape, generator=generator)
        scaled = 1 + 0.1 * values if len(expected.shape) == 1 else values / math.sqrt(expected.shape[-1])
        tensors[expected.hf_name] = scaled.to(DTYPES[dtype])
    return tensors


def write_checkpoint(
    folder: Path, config: dict[str, Any], tensors: dict[str, torch.Tensor] | None = None, shards: int = 1
) -> Path:
    """Write a checkpoint folder; with several shards, an index as well."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    for name in SIDE_FILES:
        shutil.copy(DEMO / name, folder)
    tensors = random_tensors(config) if tensors is None else tensors
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return folder
    weight_map: dict[str, str] = {}
    for i in range(shards):
        name = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = {key: tensors[key] for key in list(tensors)[i::shards]}
        save_file(part, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, name)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder
