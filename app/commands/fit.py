"""The command line's ``fit``: it parses, calls ``edge.fit.fit``, and prints."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from exaone4_gguf.hints import Hinting, completing
from exaone4_gguf.options import cache_types

if TYPE_CHECKING:
    from exaone4_gguf.edge.fit import Fit


def _list_devices(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from exaone4_gguf.edge.boards import BOARDS

        for board in BOARDS.values():
            click.echo(f"{board.name:<12} {board.title}")
        ctx.exit()


def _devices() -> Iterable[str]:
    from exaone4_gguf.edge.boards import BOARDS

    return BOARDS


@click.command("fit", cls=Hinting)
@click.argument("path", metavar="FILE.gguf|MODEL_DIR", type=click.Path(path_type=Path))
@click.option(
    "--device",
    metavar="NAME",
    shell_complete=completing(_devices),
    help="A board; by default this machine, with the memory it has free now.",
)
@click.option(
    "--list-devices", is_flag=True, is_eager=True, expose_value=False, callback=_list_devices, help="List the boards."
)
@click.option(
    "-c", "--ctx-size", "n_ctx", type=click.IntRange(min=1), default=4096, show_default=True, help="Context in tokens."
)
@click.option(
    "-ct",
    "--cache-type",
    default="f16",
    show_default=True,
    metavar="TYPE",
    shell_complete=completing(cache_types),
    help="Type of the KV cache.",
)
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs; sizes in bytes.")
def fit_command(path: Path, device: str | None, n_ctx: int, cache_type: str, as_json: bool) -> None:
    """Tell which types of a model fit a machine, how fast they answer, and the command to run.

    MODEL_DIR needs no weights: its config.json is enough.
    """
    from exaone4_gguf.edge.fit import fit

    found = fit(path, device, n_ctx=n_ctx, cache_type=cache_type)
    if as_json:
        import json

        click.echo(json.dumps(found.to_json(), ensure_ascii=False, indent=1))
    else:
        _show(found)


def _show(found: Fit) -> None:
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    board = found.board
    console.print(Text(found.model, style="bold"), f"on {board.title}: {decimal(board.usable)} to use", soft_wrap=True)
    table = Table(box=None, pad_edge=False, header_style="cyan", caption_justify="left")
    headings = ("GB", "weights", "repacked", "cache", "compute", "memory", "fits", "context", "tokens/s")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "GB" else "right", no_wrap=True)
    for row in found.rows:
        m = row.memory
        sizes = (m.weights, m.repacked, m.kv, m.compute, m.needed)
        context = "none"
        if row.largest_context:
            context = f"{row.largest_context:,}"
        style = "dim"
        if row.fits:
            style = ""
        if row.type == found.proposed:
            style = "bold"
        cells = (
            row.type,
            *(f"{size / 1e9:.2f}" for size in sizes),
            "yes" if row.fits else "no",
            context,
            f"{row.tokens_per_second:.1f}",
        )
        table.add_row(*cells, style=style)
    console.print(table)
    caption = f"cache: {found.n_ctx:,} tokens in {found.cache_type}; context: the most that fits"
    console.print(Text(caption, style="dim"))
    console.print(f"\n{found.command or 'Nothing fits.'}", soft_wrap=True)
