"""The command line's ``classify``: it parses, and prints what ``runtime.encode.lines`` gives."""

from __future__ import annotations

from typing import IO, Any

import click

from exaone4_gguf.commands.embed import encoder_of, is_json, print_lines, reading
from exaone4_gguf.hints import Hinting


@click.command("classify", cls=Hinting)
@reading
@click.option("--head", type=click.Path(), metavar="FILE", help="The head's file; by default FILE.head.gguf.")
def classify_command(file: str, source: IO[bytes], as_json: bool | None, **options: Any) -> None:
    """What the model's head makes of each line of IN, or of stdin, as JSON lines: a label, entities, or an answer.

    A line is a text, or JSON: a text, or an object with "text", and "text_pair" for a pair, or "question" and
    "context". Other keys are kept.
    """
    from exaone4_gguf.runtime.encode.lines import classify_lines, decoded, read_lines

    with encoder_of(file, options) as encoder:
        lines = read_lines(decoded(source), as_json=is_json(source, as_json))
        print_lines(classify_lines(encoder, lines, **options))
