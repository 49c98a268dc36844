"""The command line's ``embed``: it parses, and prints what ``runtime.encode.lines`` gives."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import IO, TYPE_CHECKING, Any

import click

from exaone4_gguf.hints import Hinting
from exaone4_gguf.options import THREADS_OPTION, Command, with_options

if TYPE_CHECKING:
    from exaone4_gguf.runtime.encode.encoder import Encoder

_LOADING = ("n_ctx", "n_threads", "n_gpu_layers", "head")

_OPTIONS = (
    click.option("--jsonl/--lines", "as_json", default=None, help="What IN holds; by default its name tells (.jsonl)."),
    click.option(
        "--stride", type=click.IntRange(min=0), help="Cut long texts into windows that share this many tokens."
    ),
    click.option(
        "--max-length",
        type=click.IntRange(min=1),
        metavar="N",
        help="The most tokens of a window; by default the context.",
    ),
    click.option("--control", is_flag=True, help="Read control tokens in the texts as such, as transformers does."),
    click.option(
        "-c",
        "--ctx-size",
        "n_ctx",
        type=click.IntRange(min=0),
        default=0,
        help="The most tokens of a text; by default what fits memory, up to the trained length.",
    ),
    THREADS_OPTION,
    click.option("-ngl", "--n-gpu-layers", type=int, default=-1, help="Layers on the GPU; by default all that fit."),
)


def reading(command: Command) -> Command:
    """The arguments and options that both commands share."""
    file = click.argument("file", metavar="FILE.gguf", type=click.Path())
    source = click.argument("source", metavar="[IN]", type=click.File("rb"), default="-")
    return with_options(file, source, *_OPTIONS)(command)


@click.command("embed", cls=Hinting)
@reading
@click.option(
    "--pooling",
    type=click.Choice(["mean", "cls", "last"]),
    help="Of hidden states; by default the file's, else the mean.",
)
@click.option("--normalize/--no-normalize", default=True, help="To a length of 1, which is the default.")
def embed_command(
    file: str, source: IO[bytes], as_json: bool | None, pooling: str | None, normalize: bool, **options: Any
) -> None:
    """A vector for each line of IN, or of stdin, as JSON lines.

    A line is a text, or JSON: a text, or an object with "text", whose other keys are kept.
    """
    from exaone4_gguf.runtime.encode.lines import decoded, embed_lines, read_lines

    with encoder_of(file, options) as encoder:
        lines = read_lines(decoded(source), as_json=is_json(source, as_json))
        print_lines(embed_lines(encoder, lines, pooling=pooling, normalize=normalize, **options))


def encoder_of(file: str, options: dict[str, Any]) -> Encoder:
    """The model; what it was loaded with is taken out of the options."""
    from exaone4_gguf.runtime.encode.encoder import Encoder

    return Encoder(file, **{name: options.pop(name) for name in _LOADING if name in options})


def is_json(source: IO[bytes], as_json: bool | None) -> bool:
    """Whether the lines of a source are JSON: as the option says, or as its name has it."""
    if as_json is None:
        return str(source.name).endswith((".jsonl", ".ndjson"))
    return as_json


def print_lines(results: Iterable[dict[str, Any]]) -> None:
    """A JSON line for each result, as it comes."""
    from exaone4_gguf.progress import show_rate

    with show_rate("texts") as advance:
        for result in results:
            click.echo(json.dumps(result, ensure_ascii=False))
            advance(1)
