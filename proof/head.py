"""The part ``head``: the base says of which class it is, and its head is the checkpoint's."""

from __future__ import annotations

from collections.abc import Iterator

from exaone4_gguf.converter.config import Exaone4Config
from exaone4_gguf.converter.fingerprint import WEIGHTS_ID_KEY
from exaone4_gguf.converter.gguf_file import HEAD_ARCHITECTURE as ARCHITECTURE
from exaone4_gguf.converter.gguf_file import GGUFFile
from exaone4_gguf.converter.gguf_values import Metadata
from exaone4_gguf.converter.head import CLASS_KEY, Head, head_path, read_head
from exaone4_gguf.errors import GGUFError
from exaone4_gguf.proof.report import Finding, Part, judged
from exaone4_gguf.proof.tensors import check_tensors

NAME = "head"


def check_head(config: Exaone4Config, expected: Head | None, gguf: GGUFFile) -> Part:
    """Compare what a base says of itself, and the file beside it, with the checkpoint.

    Args:
        expected: the checkpoint's head; None of a class without one.
    """
    findings = list(_of_class(config, gguf))
    if expected is None:
        return judged(NAME, f"{config.model_class.name} has none", findings)
    path = head_path(gguf.path)
    try:
        found = read_head(path)
    except GGUFError as e:
        return judged(NAME, "it cannot be read", [*findings, Finding(path.name, str(e))])
    findings += _of_keys(expected.metadata, found.metadata, path.name)
    findings += _of_keys({WEIGHTS_ID_KEY: expected.metadata[WEIGHTS_ID_KEY]}, gguf.metadata, gguf.path.name)
    tensors = check_tensors(expected.tensors, {t.name: t for t in found.tensors})
    summary = f"{found.task}, {len(found.labels)} labels, {found.types[0]}; {tensors.summary}"
    return judged(NAME, summary, [*findings, *tensors.findings], tensors.notes, tensors.figures)


def _of_class(config: Exaone4Config, gguf: GGUFFile) -> Iterator[Finding]:
    told = gguf.get(CLASS_KEY)
    if told != (None if config.model_class.speaks else config.model_class.name):
        yield Finding(CLASS_KEY, f"is {told}; the checkpoint is an {config.model_class.name}")


def _of_keys(expected: Metadata, found: Metadata, file: str) -> Iterator[Finding]:
    """What decides how the head is used, and which base it belongs to; names and licences do not."""
    for key, value in expected.items():
        if key.startswith(ARCHITECTURE) or key == WEIGHTS_ID_KEY:
            other = found[key].data if key in found else None
            if other != value.data:
                yield Finding(key, f"is {other} in {file}; the checkpoint's is {value.data}")
