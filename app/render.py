"""How ``inspect`` and ``--dry-run`` look on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from exaone4_gguf.converter.convert import Result
    from exaone4_gguf.converter.inspect import Summary

_STRIP = 32
"""Layers in a line of the strip."""

_SHOWN_LABELS = 8
CHATTING, BASE = "Exaone4ForCausalLM", "Exaone4Model"

_LICENCE_KEYS = ("general.license", "general.license.name", "general.license.link")


def print_summary(summary: Summary) -> None:
    """A GGUF file or a checkpoint, readably, on stdout."""
    console = Console(highlight=False)
    console.print(Text(summary.name, style="bold"), f"({summary.kind}, {summary.file_type})")
    for label, text in _facts(summary):
        console.print(Text(f"{label:<12}", style="cyan") + Text(text), soft_wrap=True)
    if summary.warning:
        console.print(Text(f"{'warning':<12}{summary.warning}", style="yellow"), soft_wrap=True)
    console.print(_types(summary))


def _facts(s: Summary) -> list[tuple[str, str]]:
    parts = ""
    if s.parts > 1:
        parts = f" in {s.parts} parts"
    window = "no window"
    if s.sliding_window:
        window = f"window of {s.sliding_window}"
    tied = "untied"
    if s.tied:
        tied = "tied embeddings"
    if s.model_class != CHATTING:
        tied = "no output"
    tokens = ", ".join(f"{n:,} {name}" for name, n in s.tokens.items() if name != "all")
    facts = [
        ("path", s.path),
        ("size", f"{decimal(s.bytes)}{parts}, {s.weights:,} weights, {s.bits_per_weight:.2f} bits each, {tied}"),
        ("context", f"{s.context_length:,} tokens, {window}, {s.rope_layers} of {len(s.layers)} layers with RoPE"),
    ]
    strips = [s.layers[i : i + _STRIP] for i in range(0, len(s.layers), _STRIP)]
    facts += [("layers" if i == 0 else "", strip) for i, strip in enumerate(strips)]
    facts.append(("tokenizer", f"{s.tokens['all']:,} tokens: {tokens}"))
    facts.append(("template", _template(s)))
    if s.model_class != CHATTING:
        facts.append(("class", f"{s.model_class}: {_head(s)}"))
    licence = [str(s.metadata[key]) for key in _LICENCE_KEYS if key in s.metadata]
    if licence:
        facts.append(("licence", ", ".join(licence)))
    return facts


def _head(s: Summary) -> str:
    if s.head is None:
        return (
            "for embeddings; it cannot chat" if s.model_class == BASE else "its head is not beside it; it cannot chat"
        )
    shown = ", ".join(s.head["labels"][:_SHOWN_LABELS])
    if len(s.head["labels"]) > _SHOWN_LABELS:
        shown += ", ..."
    return f"{s.head['task']}, head in {s.head['type']}, {len(s.head['labels'])} labels: {shown}"


def _template(s: Summary) -> str:
    if s.template is None:
        return "none: the file cannot chat"
    if not s.template["readable"]:
        return "cannot be parsed as Jinja"
    abilities = [name for name in ("reasoning", "tools") if s.template[name]]
    return "chat" + "".join(f", {ability}" for ability in abilities)


def _types(s: Summary) -> Table:
    table = Table(box=None, pad_edge=False, header_style="cyan")
    for heading in ("type", "tensors", "weights", "bytes", "bits per weight"):
        table.add_column(heading, justify="left" if heading == "type" else "right")
    for row in s.types:
        table.add_row(row.type, str(row.tensors), f"{row.weights:,}", decimal(row.bytes), f"{row.bits_per_weight:g}")
    return table


def print_plan(result: Result) -> None:
    """What a dry run found, one tensor a line, and the sizes."""
    for tensor in result.plan.tensors:
        shape = " x ".join(map(str, tensor.source.shape))
        print(f"{tensor.name:<36} {shape:>16} {tensor.source.type!s:>6} -> {tensor.type!s:<6} {tensor.n_bytes:>14,}")
    for file in result.plan.files:
        print(f"{file.path}: {file.size:,} bytes")
    print(describe(result))


def describe(result: Result) -> str:
    """One line: the name, type and size of what was written, or would be."""
    plan = result.plan
    bits = 8 * plan.size / max(1, plan.n_weights)
    parts = [path for path in result.paths if path != result.head]
    files = parts[0].name if len(parts) == 1 else f"{len(parts)} files"
    if result.head:
        files += f" and {result.head.name}"
    verb = "would be"
    if result.written:
        verb = "written"
    return f"{files} {verb}: {result.file_type.name}, {decimal(plan.size)}, {bits:.2f} bits per weight"
