"""The command line's ``convert``: it parses, calls ``converter.convert.convert``, and reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from exaone4_gguf.commands.quantize import quantizing, report, type_names, writing
from exaone4_gguf.commands.verify import verify_result
from exaone4_gguf.hints import Hinting, check_order, completing
from exaone4_gguf.options import Target


class _ListingTypes(Hinting):
    """A command whose help lists the file types, which are read only when it is asked for."""

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does it, with the types in their place."""
        self.help = (self.help or "").replace("{types}", ", ".join(type_names()))
        super().format_help_text(ctx, formatter)


@click.command("convert", cls=_ListingTypes)
@click.argument("model_dir")
@click.argument("out", type=Target())
@click.option(
    "--outtype",
    default="auto",
    metavar="TYPE",
    shell_complete=completing(type_names),
    help="File type; by default the checkpoint's own dtype.",
)
@click.option("--verify", "then_verify", is_flag=True, help="Verify what was written, all but its behaviour.")
@click.option(
    "--template-for-llama-server",
    is_flag=True,
    help="Change the chat template so that stock llama-server keeps thoughts and answer apart.",
)
@quantizing
def convert_command(model_dir: str, out: Path, outtype: str, then_verify: bool, **options: Any) -> int:
    """Convert the checkpoint in MODEL_DIR to OUT, a GGUF file.

    MODEL_DIR is a Hugging Face folder, or the id of a repository on the Hugging Face Hub. OUT may be a folder,
    in which the file is named after the model and its type. The types, best first:

    {types}
    """
    from exaone4_gguf.converter.convert import convert

    check_order(model_dir, (out,), "convert {} {}")
    result = convert(model_dir, out, outtype, **writing(options))
    report(result)
    if then_verify and result.written:
        return verify_result(model_dir, result.paths[0], options["imatrix"])
    return 0
