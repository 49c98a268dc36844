"""What is loaded is checked first: llama.cpp loads without a word what it computes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.errors import ConfigError, GGUFError
from exaone4_gguf.runtime.llama.model import MARKERS, Model
from tests.checkpoints import hybrid_config, write_checkpoint


def test_a_model_knows_its_vocabulary(full_gguf: Path) -> None:
    model = Model(full_gguf)
    assert model.n_vocab == 704
    assert set(MARKERS) | {"[|user|]", "[|endofturn|]", "[PAD]"} <= set(model.control_texts)
    assert "  " not in model.control_texts
    assert b"".join(model.piece(t) for t in model.tokenize("안녕 [|user|]\n")).decode() == "안녕 [|user|]\n"
    assert {model.piece(t) for t in model.end_tokens} >= {b"[|endofturn|]", b"<|endoftext|>"}
    assert model.metadata["general.name"] == "EXAONE 4.0 Tiny"
    assert model.context_length == 65536
    model.close()


@pytest.mark.parametrize(
    ("content", "message"), [(None, "no such file"), (b"text", "not a GGUF file"), (b"GGUF\3\0", "cannot load it")]
)
def test_what_is_no_model_is_one_clear_line(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GGUFError, match=message):
        Model(path)


def test_a_truncated_file_is_refused(full_gguf: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.gguf"
    path.write_bytes(full_gguf.read_bytes()[:-100_000])
    with pytest.raises(GGUFError, match=r"cut.gguf: llama.cpp cannot load it: .*"):
        Model(path)


@pytest.mark.parametrize("pattern", [None, 0, 1, "G"])
def test_a_window_that_no_layer_uses_would_end_the_process(pattern: object, tmp_path: Path) -> None:
    config = hybrid_config(layer_types=None, sliding_window_pattern=pattern)
    folder = write_checkpoint(tmp_path / "model", config)
    with pytest.raises(ConfigError, match="a sliding window of 32, but no layer that slides"):
        convert(folder, tmp_path / "a.gguf")
    path = convert(folder, tmp_path / "a.gguf", allow_wrong_in_llama_cpp=True).paths[0]
    with pytest.raises(GGUFError, match="a sliding window that no layer uses"):
        Model(path)


def test_a_window_that_llama_cpp_does_not_have_is_refused(tmp_path: Path) -> None:
    config = hybrid_config(num_hidden_layers=4, layer_types=hybrid_config()["layer_types"][:4])
    folder = write_checkpoint(tmp_path / "model", config)
    path = convert(folder, tmp_path / "a.gguf", allow_wrong_in_llama_cpp=True).paths[0]
    with pytest.raises(GGUFError, match="4 layers with a sliding window, .* llama.cpp never uses one"):
        Model(path)
