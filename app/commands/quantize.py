"""The command line's ``quantize``: it parses, calls ``converter.convert.quantize``, and reports."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exaone4_gguf.errors import QuantizeError
from exaone4_gguf.hints import Hinting, completing, is_type
from exaone4_gguf.options import Size, Target

if TYPE_CHECKING:
    from exaone4_gguf.converter.convert import Result
    from exaone4_gguf.quant.recipes import Overrides


def type_names() -> Iterable[str]:
    """The file types, best first."""
    from exaone4_gguf.quant.recipes import FILE_TYPES

    return FILE_TYPES


def _tensor_types() -> Iterable[str]:
    from exaone4_gguf.format.types import WRITABLE

    return WRITABLE


def quantizing(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that convert and quantize share."""
    options = (
        click.option("-t", "--threads", type=click.IntRange(min=1), help="Threads; by default all processors."),
        click.option("--force", is_flag=True, help="Replace OUT if it exists."),
        click.option("--dry-run", is_flag=True, help="Print the plan and the final size; write nothing."),
        click.option(
            "--tensor-type",
            "tensor_types",
            metavar="REGEX=TYPE",
            multiple=True,
            help="Type of the tensors whose name matches; the first match counts. May be repeated.",
        ),
        click.option(
            "--token-embedding-type",
            metavar="TYPE",
            shell_complete=completing(_tensor_types),
            help="Type of the token embedding.",
        ),
        click.option(
            "--output-tensor-type",
            metavar="TYPE",
            shell_complete=completing(_tensor_types),
            help="Type of the output tensor.",
        ),
        click.option(
            "--imatrix",
            metavar="FILE",
            help="Importance matrix, as llama-imatrix or the imatrix command writes it; it makes small types better.",
        ),
        click.option("--pure", is_flag=True, help="One type for all tensors, without the recipe's exceptions."),
        click.option("--head-type", metavar="TYPE", help="Type of a classifier's head: F32 (the default) or F16."),
        click.option(
            "--split-max-size",
            type=Size(),
            default=0,
            metavar="N(M|G)",
            help="Split into files of at most this size of tensors.",
        ),
        click.option(
            "--allow-wrong-in-llama-cpp",
            is_flag=True,
            help="Write a file even if llama.cpp would load it and compute, or tokenize, differently.",
        ),
    )
    return functools.reduce(lambda f, option: option(f), reversed(options), command)


@click.command("quantize", cls=Hinting)
@click.argument("infile", metavar="IN.gguf", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT.gguf", type=Target())
@click.argument("outtype", metavar="TYPE", shell_complete=completing(type_names))
@click.option("--allow-requantize", is_flag=True, help="Quantize what is quantized already; it costs quality.")
@quantizing
def quantize_command(infile: Path, out: Path, outtype: str, **options: Any) -> None:
    """Quantize IN.gguf to OUT.gguf as TYPE, with llama.cpp's own bytes."""
    from exaone4_gguf.converter.convert import quantize

    if is_type(infile.name):
        raise click.UsageError(f"TYPE comes last: exaone4-gguf quantize {out} {outtype} {infile.name}")
    if is_type(out.name):
        raise click.UsageError(f"TYPE comes last: exaone4-gguf quantize {infile} {outtype} {out.name}")
    report(quantize(infile, out, outtype, **writing(options)))


def writing(options: dict[str, Any]) -> dict[str, Any]:
    """The functions' arguments from the command line's."""
    from exaone4_gguf.progress import show_progress

    names = ("tensor_types", "token_embedding_type", "output_tensor_type", "pure")
    overrides = _overrides(*(options.pop(name) for name in names))
    return options | {"overrides": overrides, "show_progress": show_progress}


def _overrides(pairs: tuple[str, ...], embedding: str | None, output: str | None, pure: bool) -> Overrides | None:
    from exaone4_gguf.format.types import writable_type
    from exaone4_gguf.quant.recipes import Overrides

    if not (pairs or embedding or output or pure):
        return None
    return Overrides(
        tensor_types=tuple(_tensor_type(pair) for pair in pairs),
        token_embedding=writable_type(embedding) if embedding else None,
        output=writable_type(output) if output else None,
        pure=pure,
    )


def _tensor_type(pair: str) -> Any:
    from exaone4_gguf.format.types import writable_type

    pattern, equals, name = pair.rpartition("=")
    if not (pattern and equals and name):
        raise QuantizeError(f"--tensor-type {pair}: write it as REGEX=TYPE, like attn_v=Q8_0")
    try:
        return re.compile(pattern.lower()), writable_type(name)
    except re.error as e:
        raise QuantizeError(f"--tensor-type {pair}: not a regular expression: {e}") from None


def report(result: Result) -> None:
    """What was written, or is planned."""
    from exaone4_gguf.render import describe, print_plan

    if result.written:
        click.echo(describe(result), err=True)
        lacking = result.without_importance
        if lacking:
            click.echo(f"the importance matrix has nothing of {len(lacking)} layers, {lacking[0]} first", err=True)
        for path in result.paths:
            click.echo(path)
    else:
        print_plan(result)
