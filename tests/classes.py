"""transformers' classes as the reference for heads, one text at a time, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import transformers
from transformers import AutoTokenizer

from tests.checkpoints import class_config, full_config, hybrid_config, random_tensors, write_checkpoint

Floats = npt.NDArray[np.float32]

BASE, SEQUENCE, TOKEN, QUESTION = (
    "Exaone4Model",
    "Exaone4ForSequenceClassification",
    "Exaone4ForTokenClassification",
    "Exaone4ForQuestionAnswering",
)
CLASSES = (BASE, SEQUENCE, TOKEN, QUESTION)
SHAPES = {"full": full_config, "hybrid": hybrid_config}

TEXTS = (
    "Hello world, this is Seoul.",
    "안녕하세요! 저는 서울에 사는 김철수입니다. 🙂👍🏽",
    "  blanks   and\n\ttabs  ",
    "def f(x): return x**2  # 주석",
    "한국어 문장 " * 12,
    "a",
    "¿Dónde está la biblioteca?",
)


def write_class(folder: Path, name: str, shape: str, **changes: Any) -> Path:
    """A random checkpoint of a class, in float32; all classes of a shape have the same base."""
    config = class_config(name, SHAPES[shape], **changes)
    return write_checkpoint(folder, config, random_tensors(config, "F32"))


class Reference:
    """A checkpoint in transformers."""

    def __init__(self, folder: Path) -> None:
        name = transformers.AutoConfig.from_pretrained(folder).architectures[0]
        self.model = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)

    def run(self, *texts: str) -> Any:
        """The model's output for a text, or a pair."""
        with torch.no_grad():
            return self.model(**self.tokenizer(*texts, return_tensors="pt"))

    def states(self, text: str) -> Floats:
        """Hidden states, of shape (tokens, width)."""
        return np.asarray(self.run(text).last_hidden_state[0].numpy())

    def scores(self, *texts: str) -> Floats:
        """Probabilities of the labels, of each token where there is one for each."""
        return np.asarray(self.run(*texts).logits[0].softmax(-1).numpy())

    def answer(self, question: str, context: str, most: int) -> tuple[int, int, float]:
        """The best span, in tokens of the context, and its probability: as the pipeline of transformers 4 took it."""
        own = [i for i, n in enumerate(self.tokenizer(question, context).sequence_ids(0)) if n == 1]
        found = self.run(question, context)
        begin, end = (x[0][own].softmax(-1).numpy() for x in (found.start_logits, found.end_logits))
        candidates = np.tril(np.triu(np.outer(begin, end)), most - 1)
        first, last = np.unravel_index(candidates.argmax(), candidates.shape)
        return int(first), int(last), float(candidates.max())


def cosine(a: Floats, b: Floats) -> float:
    """The smallest between rows."""
    a, b = a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1])
    return float(((a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)).min())
