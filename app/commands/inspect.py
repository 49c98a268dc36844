"""The command line's ``inspect``: it parses, calls ``converter.inspect.inspect``, and prints."""

from __future__ import annotations

import click

from exaone4_gguf.hints import Hinting


@click.command("inspect", cls=Hinting)
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
def inspect_command(path: str, as_json: bool) -> None:
    """Show what a GGUF file, or a checkpoint, is.

    PATH is a file, a Hugging Face folder, or the id of a repository on the Hugging Face Hub.
    """
    from exaone4_gguf.converter.inspect import inspect

    summary = inspect(path)
    if as_json:
        import json

        click.echo(json.dumps(summary.to_json(), ensure_ascii=False, indent=1))
    else:
        from exaone4_gguf.render import print_summary

        print_summary(summary)
