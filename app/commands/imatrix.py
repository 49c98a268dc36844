"""The command line's ``imatrix``: it parses, and calls ``proof.imatrix.imatrix``."""

from __future__ import annotations

import functools
from pathlib import Path

import click

from exaone4_gguf.hints import Hinting, check_order


@click.command("imatrix", cls=Hinting)
@click.argument("model_dir")
@click.argument("out", metavar="OUT.gguf", type=click.Path(path_type=Path))
@click.option(
    "--data", required=True, metavar="TEXT", type=click.Path(path_type=Path), help="The text to calibrate on."
)
@click.option("-c", "--ctx-size", default=512, show_default=True, help="Tokens of a chunk.")
@click.option(
    "--chunks", type=click.IntRange(min=1), metavar="N", help="The most chunks that are read; by default all."
)
@click.option("--force", is_flag=True, help="Replace OUT.gguf if it exists.")
def imatrix_command(model_dir: str, out: Path, data: Path, ctx_size: int, chunks: int | None, force: bool) -> None:
    """Compute the importance matrix of the checkpoint in MODEL_DIR over a text.

    OUT.gguf is in llama.cpp's form: --imatrix of convert and quantize takes it, and so does llama-quantize. Memory
    holds one layer at most. If the run is stopped, the same command goes on where it was.
    """
    from exaone4_gguf.progress import show_count
    from exaone4_gguf.proof.imatrix import imatrix

    check_order(model_dir, (out,), "imatrix {} {}")
    tell = functools.partial(click.echo, err=True)
    matrix = imatrix(
        model_dir, out, data, ctx_size=ctx_size, chunks=chunks, force=force, show_progress=show_count, tell=tell
    )
    click.echo(f"{out.name} written: {len(matrix.entries)} layers over {matrix.chunk_count} chunks of text", err=True)
    click.echo(out)
