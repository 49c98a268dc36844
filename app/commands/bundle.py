"""The command line's ``bundle``: it parses, and calls ``edge.bundle.bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from exaone4_gguf.hints import Hinting


@click.command("bundle", cls=Hinting)
@click.argument("file", metavar="FILE.gguf", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--target", required=True, type=click.Choice(["rpi", "android"]), help="What it is to run on.")
@click.option(
    "--llama-cpp",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="llama.cpp's sources, or its static arm64 programs; by default they are fetched and built, once.",
)
@click.option(
    "-c", "--ctx-size", "n_ctx", type=click.IntRange(min=1), help="Context in tokens; by default what fits the board."
)
@click.option("-ctk", "--cache-type-k", default="f16", metavar="TYPE", help="Type of the cached keys; by default f16.")
@click.option("-ctv", "--cache-type-v", default="f16", metavar="TYPE", help="Type of the cached values.")
@click.option("--license-file", type=click.Path(path_type=Path), help="The model's licence, where FILE has it not.")
@click.option("--keep-template", is_flag=True, help="The chat template as it is, not as llama-server understands it.")
@click.option("--tar", is_flag=True, help="OUT is an archive instead of a folder.")
@click.option("--force", is_flag=True, help="Replace a bundle that is there.")
@click.option("-j", "--jobs", type=click.IntRange(min=1), help="Compilers at a time; by default all processors.")
def bundle_command(file: Path, out: Path, target: str, **options: Any) -> None:
    """Put FILE.gguf into the folder OUT with all that runs it on a Raspberry Pi or on Android.

    The programs are llama.cpp's, cross-built with zig (pip install 'exaone4-gguf[bundle]'): that takes a while the
    first time. OUT has a README.md.
    """
    from exaone4_gguf.edge.bundle import bundle
    from exaone4_gguf.progress import show_steps

    click.echo(bundle(file, out, target, show_progress=show_steps, **options))
