"""The command line's ``verify``: it parses, calls ``proof.verify.verify``, and prints the report."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exaone4_gguf.hints import Hinting, check_order

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from exaone4_gguf.proof.report import FileReport, Part, Report

PARTS = ("metadata", "tensors", "head", "tokenizer", "template", "behaviour")
"""As in proof.verify, which is not imported before it is needed; a test compares them."""

_COLOURS = {"passed": "green", "failed": "bold red", "not evaluated": "yellow"}
_WIDE = 200
"""Columns where there is no terminal, so that no table is cut."""
_WIDEST = 10_000
_WORDS = ("file", "type", "verdict")
"""The columns of the table that hold no numbers."""
_MOST = 20
"""Findings of a part that are printed; --json has all."""


@click.command("verify", cls=Hinting)
@click.argument("model_dir")
@click.argument("files", metavar="FILE.gguf...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
@click.option("--plot", metavar="FILE", type=click.Path(path_type=Path), help="A picture of the report: png, svg, pdf.")
@click.option(
    "--only",
    "parts",
    type=click.Choice(PARTS),
    multiple=True,
    help="Only this part: metadata, tensors, tokenizer, template or behaviour. May be repeated.",
)
@click.option("--tokens", default=512, show_default=True, help="Tokens that the model reads for the part behaviour.")
@click.option(
    "--data", metavar="TEXT", type=click.Path(path_type=Path), help="A text file to read instead of the built-in texts."
)
@click.option(
    "--imatrix",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The importance matrix that the files are made with.",
)
@click.option("-t", "--threads", type=click.IntRange(min=1), help="Threads for tensors; by default all processors.")
def verify_command(
    model_dir: str,
    files: tuple[Path, ...],
    as_json: bool,
    plot: Path | None,
    parts: tuple[str, ...],
    tokens: int,
    data: Path | None,
    imatrix: Path | None,
    threads: int | None,
) -> int:
    """Verify that each FILE.gguf means what the checkpoint in MODEL_DIR means.

    Part by part: the metadata that llama.cpp computes with, every tensor, the tokenizer, the chat template, and the
    logits, against EXAONE 4's forward pass streamed from the checkpoint. Of several files, a table tells what their
    types cost. The exit code is 0 if all is right, and 1 if something is wrong or could not be evaluated.
    """
    from exaone4_gguf.progress import show_count
    from exaone4_gguf.proof.verify import verify

    check_order(model_dir, files, "verify {} {}")
    if plot:
        from exaone4_gguf.proof.plot import check_plot

        check_plot(plot)
    tell = functools.partial(click.echo, err=True)
    report = verify(
        model_dir,
        files,
        parts=parts or PARTS,
        tokens=tokens,
        data=data,
        imatrix=imatrix,
        threads=threads,
        show_progress=show_count,
        tell=tell,
    )
    if plot:
        from exaone4_gguf.proof.plot import save_plot

        save_plot(report, plot)
    show(report, as_json)
    return exit_code(report)


def verify_result(model_dir: str, path: Path, imatrix: str | None) -> int:
    """The cheap parts for a file that was just written, on stderr; returns the exit code."""
    from exaone4_gguf.progress import show_count
    from exaone4_gguf.proof.verify import CHEAP, verify

    report = verify(model_dir, path, parts=CHEAP, imatrix=imatrix, show_progress=show_count)
    show(report, err=True)
    return exit_code(report)


def exit_code(report: Report) -> int:
    """0 only if every part of every file passed."""
    return int(report.verdict != "passed")


def show(report: Report, as_json: bool = False, err: bool = False) -> None:
    """Print a report on stdout, readably or as JSON."""
    if as_json:
        import json

        click.echo(json.dumps(report.to_json(), ensure_ascii=False, indent=1))
        return
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, stderr=err)
    if not console.is_terminal:
        console.width = _WIDE
    for file in report.files:
        _show_file(console, file)
    if len(report.files) > 1:
        _show_costs(console, report)


def _show_file(console: Console, file: FileReport) -> None:
    from rich.filesize import decimal
    from rich.text import Text

    size = f" ({file.file_type}, {decimal(file.size)}) "
    console.print(Text(file.path, style="bold") + Text(size) + Text(file.verdict, style=_COLOURS[file.verdict]))
    another = file.another_model
    if another:
        _show_line(console, Text("another model: ", style="bold red"), another)
    for part in file.parts:
        label = Text(f"{part.name:<11}", style="cyan") + Text(f"{part.verdict:<14}", style=_COLOURS[part.verdict])
        _show_line(console, label, part.summary)
        if not another:
            for line in _lines(part):
                _show_line(console, Text(" " * 11), line)
    console.print()


def _show_line(console: Console, label: Text, line: str) -> None:
    """On a terminal, what does not fit goes on under its beginning, between words; in a pipe a line stays one."""
    from rich.table import Table
    from rich.text import Text

    if not console.is_terminal:
        console.print(label + Text(line))
        return
    row = Table.grid()
    row.add_column(width=len(label))
    row.add_column(overflow="fold")
    row.add_row(label, Text(line))
    console.print(row, soft_wrap=False)


def _lines(part: Part) -> list[str]:
    lines = [f"{finding.where}: {finding.what}" for finding in part.findings[:_MOST]]
    if len(part.findings) > _MOST:
        lines.append(f"{len(part.findings) - _MOST:,} more; --json has all")
    return [*lines, *(f"note: {note}" for note in part.notes)]


def _show_costs(console: Console, report: Report) -> None:
    """What each file costs beside the checkpoint; where a terminal is too narrow, its name stands above its row."""
    from rich.text import Text

    table = _costs(report, named=True)
    if console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum <= console.width:
        console.print(table, soft_wrap=False)
        return
    for file in report.files:
        console.print(Text(Path(file.path).name, style="bold"))
        console.print(_costs(replace(report, files=(file,)), named=False), soft_wrap=False)


def _costs(report: Report, *, named: bool) -> Table:
    from rich.filesize import decimal
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1 + named, 0, 0), header_style="cyan")
    columns = ["file"] * named + ["type", "size", "bits", "verdict"]
    if any(file.figures("behaviour") for file in report.files):
        columns += ["mean KL", "99% KL", "same top", "perplexity", "checkpoint's"]
    for heading in columns:
        table.add_column(heading, justify="left" if heading in _WORDS else "right", no_wrap=True)
    for file in report.files:
        row = [Path(file.path).name] * named
        row += [file.file_type, decimal(file.size), f"{file.bits_per_weight:.2f}", file.verdict]
        cost = file.figures("behaviour").get("cost")
        if cost:
            row += [f"{cost['mean_kl']:.2g}", f"{cost['kl_99']:.2g}", f"{cost['same_top']:.1%}"]
            row += [f"{cost['perplexity']:.5g}", f"{cost['reference_perplexity']:.5g}"]
        table.add_row(*row)
    return table
