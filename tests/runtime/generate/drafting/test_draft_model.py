"""A smaller model guesses what it would say itself, and only where it belongs to the model and is sure."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.demo.conversations import CONVERSATIONS
from exaone4_gguf.errors import GGUFError
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.generate.drafting.draft_model import UNSURE, DraftModel, load_draft_model
from exaone4_gguf.runtime.llama.model import Model
from tests import llama
from tests.checkpoints import class_config, full_config, write_checkpoint

TALK = CONVERSATIONS["reasoning"]


@pytest.fixture
def drafter(talker: Exaone4, demo_gguf: Path) -> Iterator[DraftModel]:
    model = load_draft_model(demo_gguf, talker.model, n_gpu_layers=0)
    drafter = DraftModel(model, talker.context, flash_attn=True)
    yield drafter
    drafter.close()
    model.close()


def guesses(drafter: DraftModel, text: list[int], most: int) -> list[int]:
    draft = drafter.draft(np.array(text, np.int32))
    assert draft is not None
    return draft.take(most)


def test_it_guesses_its_own_greedy_text(talker: Exaone4, drafter: DraftModel, demo_gguf: Path) -> None:
    """llama.cpp's own loop as the reference; and the same again after it was wrong."""
    prompt = list(talker.prompt(TALK.messages[:1], reasoning=True).ids)
    expected = llama.greedy(demo_gguf, prompt, stop=talker.model.tokenize("[|endofturn|]")[0])
    assert guesses(drafter, prompt, 8) == expected[:8]
    assert guesses(drafter, [*prompt, *expected[:3], 5], 4) != expected[4:8]
    assert guesses(drafter, [*prompt, *expected[:3]], 4) == expected[3:7]
    # no guess goes beyond the end of the turn
    assert guesses(drafter, [*prompt, *expected[:-2]], 40) == expected[-2:]


def test_it_says_nothing_where_it_is_unsure(tmp_path: Path, full_gguf: Path) -> None:
    """A model of random weights is never sure; it is not asked for more than it can read either."""
    model = Model(full_gguf)
    with Exaone4(full_gguf, n_ctx=256, n_threads=1) as other:
        drafter = DraftModel(model, other.context, flash_attn=True)
        assert guesses(drafter, list(range(300, 340)), 8) == []
        assert drafter.draft(np.arange(257, dtype=np.int32)) is None
        drafter.close()
    model.close()
    assert 0 < UNSURE < 1


def changed_vocabulary(folder: Path) -> Path:
    """The demo's checkpoint with one word spelled otherwise."""
    shutil.copytree(Path(__file__).parents[4] / "app" / "demo" / "checkpoint", folder)
    for file in (folder / "tokenizer.json", folder / "tokenizer_config.json"):
        file.write_text(file.read_text().replace('"<tool_result>"', '"<tool_outcome>"'))
    return folder


def test_another_vocabulary_is_refused(talker: Exaone4, tmp_path: Path) -> None:
    other = convert(changed_vocabulary(tmp_path / "changed"), tmp_path / "other.gguf").paths[0]
    with pytest.raises(GGUFError, match=r"cannot draft for demo.gguf: token \d+ is '<tool_outcome>', and there '<tool"):
        load_draft_model(other, talker.model, n_gpu_layers=0)
    larger = full_config()
    larger["vocab_size"] += 8
    file = convert(write_checkpoint(tmp_path / "larger", larger), tmp_path / "larger.gguf").paths[0]
    with pytest.raises(GGUFError, match=r"cannot draft for demo.gguf: 712 tokens, and there 704"):
        load_draft_model(file, talker.model, n_gpu_layers=0)


def test_what_makes_no_text_cannot_draft(talker: Exaone4, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "base", class_config("Exaone4Model"))
    base = convert(folder, tmp_path / "base.gguf").paths[0]
    with pytest.raises(GGUFError, match="it cannot draft") as caught:
        load_draft_model(base, talker.model, n_gpu_layers=0)
    assert "\n" not in str(caught.value)
    with pytest.raises(GGUFError, match="no such file"):
        load_draft_model(tmp_path / "no.gguf", talker.model, n_gpu_layers=0)
