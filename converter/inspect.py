"""What a file or a folder is: everything that ``exaone4-gguf inspect`` shows, as data."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.checkpoint.hub import model_folder
from exaone4_gguf.converter.classes import CAUSAL
from exaone4_gguf.converter.head import Head
from exaone4_gguf.converter.model import Model, from_checkpoint, from_gguf
from exaone4_gguf.converter.plan import PlannedTensor
from exaone4_gguf.converter.tokenizer.tokenizer import TokenType
from exaone4_gguf.errors import ConfigError, GGUFError
from exaone4_gguf.format.file import GGUFFile, read_gguf
from exaone4_gguf.format.keys import ARCHITECTURE, CLASS_KEY, LICENSE_TEXT_KEY
from exaone4_gguf.format.values import Metadata, ValueType
from exaone4_gguf.quant.recipes import FILE_TYPES

_LONG = 256
"""Arrays with more items than this are told by their length."""


@dataclass(frozen=True)
class TypeRow:
    """All tensors of one type together."""

    type: str
    tensors: int
    weights: int
    bytes: int
    bits_per_weight: float


@dataclass(frozen=True)
class Summary:
    """A GGUF file, or the checkpoint that would become one.

    ``layers`` has a letter for each: L sees only the window, G sees all. ``warning`` says what llama.cpp
    would do wrong with it. ``template`` is None without a chat template. ``model_class`` is transformers' class;
    ``head`` a classifier's, None where there is none, or where its file is not beside the base.
    """

    path: str
    kind: str
    parts: int
    name: str
    file_type: str
    weights: int
    bytes: int
    bits_per_weight: float
    context_length: int
    layers: str
    rope_layers: int
    sliding_window: int | None
    tied: bool
    model_class: str
    head: dict[str, Any] | None
    warning: str | None
    types: list[TypeRow]
    tokens: dict[str, int]
    template: dict[str, bool] | None
    metadata: dict[str, Any]
    tensors: list[dict[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """The summary in JSON's types."""
        return asdict(self)


def inspect(path: str | Path) -> Summary:
    """Read a GGUF file (any part of a split one), or a checkpoint, and sum it up.

    Args:
        path: the file, the Hugging Face folder, or the id of a repository on the Hugging Face Hub.

    Raises:
        Exaone4Error: it is neither, or it is damaged.
    """
    given = Path(path)
    if not given.is_dir() and (given.exists() or given.suffix == ".gguf"):
        gguf = read_gguf(given)
        try:
            return _summary(given, from_gguf(gguf, strict=False), gguf)
        except (TypeError, ValueError, AttributeError) as e:
            raise GGUFError(f"{path}: its metadata has other types than llama.cpp's ({e})") from e
    folder = model_folder(path)
    return _summary(folder, from_checkpoint(folder, strict=False), None)


def _summary(path: Path, model: Model, gguf: GGUFFile | None) -> Summary:
    rows = _type_rows(model)
    n_bytes = sum(row.bytes for row in rows)
    return Summary(
        path=str(path),
        kind="gguf" if gguf else "checkpoint",
        parts=len(gguf.parts) if gguf else 1,
        name=str(model.metadata["general.name"].data) if "general.name" in model.metadata else path.stem,
        file_type=_file_type(gguf) if gguf else rows[0].type,
        weights=model.n_weights,
        bytes=n_bytes,
        bits_per_weight=round(8 * n_bytes / max(1, model.n_weights), 3),
        context_length=int(_data(model.metadata, "context_length", 0)),
        layers="".join("L" if sliding else "G" for sliding in model.sliding_layers),
        rope_layers=sum(model.sliding_window is None or sliding for sliding in model.sliding_layers),
        sliding_window=model.sliding_window,
        tied=all(t.name != "output.weight" for t in model.tensors),
        model_class=str(model.metadata[CLASS_KEY].data) if CLASS_KEY in model.metadata else CAUSAL.name,
        head=_head(model.head) if model.head else None,
        warning=_warning(model),
        types=rows,
        tokens=_tokens(model.metadata),
        template=_template(model.metadata),
        metadata=_readable(gguf.metadata if gguf else model.metadata),
        tensors=[
            {"name": t.name, "shape": list(t.shape), "type": type.name, "bytes": PlannedTensor(t, type, 0).n_bytes}
            for t, type in zip(model.tensors, model.types, strict=True)
        ],
    )


def _head(head: Head) -> dict[str, Any]:
    return {"task": head.task, "labels": head.labels, "type": head.types[0].name, "bias": len(head.tensors) > 1}


def _data(metadata: Metadata, key: str, default: Any) -> Any:
    value = metadata.get(f"{ARCHITECTURE}.{key}")
    if value is None:
        return default
    return value.data


def _type_rows(model: Model) -> list[TypeRow]:
    """The types, the one that takes most bytes first."""
    groups: dict[str, list[PlannedTensor]] = defaultdict(list)
    for tensor, type in zip(model.tensors, model.types, strict=True):
        groups[type.name].append(PlannedTensor(tensor, type, 0))
    rows = [
        TypeRow(
            type=name,
            tensors=len(group),
            weights=sum(t.source.n_weights for t in group),
            bytes=sum(t.n_bytes for t in group),
            bits_per_weight=group[0].type.bits_per_weight,
        )
        for name, group in groups.items()
    ]
    return sorted(rows, key=lambda row: -row.bytes)


def _file_type(gguf: GGUFFile) -> str:
    number = gguf.get("general.file_type")
    return next((t.name for t in FILE_TYPES.values() if t.ftype == number), f"file type {number}")


def _warning(model: Model) -> str | None:
    try:
        model.check_llama_cpp_runs_it()
    except ConfigError as e:
        return e.what
    return None


def _tokens(metadata: Metadata) -> dict[str, int]:
    """How many tokens there are of each type."""
    value = metadata.get("tokenizer.ggml.token_type")
    types = value.data if value else []
    counts = {kind.name.lower(): types.count(kind) for kind in TokenType}
    return {"all": len(types)} | {name: n for name, n in counts.items() if n}


def _template(metadata: Metadata) -> dict[str, bool] | None:
    """What the chat template takes, by the variables it asks for."""
    value = metadata.get("tokenizer.chat_template")
    if value is None:
        return None
    variables = _variables(str(value.data))
    return {
        "readable": variables is not None,
        "reasoning": "enable_thinking" in (variables or ()),
        "tools": "tools" in (variables or ()),
        "generation_prompt": "add_generation_prompt" in (variables or ()),
    }


def _variables(template: str) -> set[str] | None:
    import jinja2.meta

    environment = jinja2.Environment(extensions=["jinja2.ext.loopcontrols"])  # noqa: S701 - only parsed
    try:
        return jinja2.meta.find_undeclared_variables(environment.parse(template))
    except jinja2.TemplateError:
        return None


def _readable(metadata: Metadata) -> dict[str, Any]:
    """The metadata in JSON's types; long arrays and the licence's text by their length."""
    readable: dict[str, Any] = {}
    for key, value in metadata.items():
        data = value.data
        if value.type is ValueType.ARRAY and len(data) > _LONG:
            readable[key] = f"[{len(data)} items]"
        elif key == LICENSE_TEXT_KEY:
            readable[key] = f"[{len(data)} characters]"
        else:
            readable[key] = _text(data)
    return readable


def _text(data: Any) -> Any:
    if isinstance(data, bytes):
        return data.decode("utf-8", errors="replace")
    if isinstance(data, list):
        return [_text(item) for item in data]
    return data
