"""The command line's ``demo``: it calls ``demo.show.run_demo``."""

from __future__ import annotations

import click

from exaone4_gguf.hints import Hinting


@click.command("demo", cls=Hinting)
def demo_command() -> None:
    """Convert the checkpoint that comes with the project, and hold three conversations with it."""
    from exaone4_gguf.demo.show import run_demo

    run_demo()
