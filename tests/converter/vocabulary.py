"""A folder's tokenizer as a GGUF file without weights, which llama.cpp tokenizes with."""

from __future__ import annotations

from pathlib import Path

from exaone4_gguf.converter.config import parse_config
from exaone4_gguf.converter.metadata import build_metadata
from exaone4_gguf.converter.plan import make_plan
from exaone4_gguf.converter.tokenizer.tokenizer import read_tokenizer
from tests.checkpoints import full_config


def write_vocabulary(folder: Path, target: Path, rows: int, *, strict: bool = True) -> Path:
    """The file that converting the folder gives, of its tokenizer alone.

    Args:
        rows: of the embedding.
        strict: refuse what llama.cpp would tokenize otherwise.
    """
    config = parse_config(full_config(vocab_size=rows))
    tokenizer = read_tokenizer(folder, check_pre_tokenizer=strict).padded(rows)
    metadata = build_metadata(folder, config, tokenizer, {}, n_params=0)
    target.write_bytes(make_plan(target, metadata, [], []).files[0].header)
    return target
