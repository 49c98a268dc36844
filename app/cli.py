"""The command line: it parses, calls the functions that anyone can import, and prints.

Nothing heavy is imported before a command needs it, so that --help is quick.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import functools
import io
import os
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from exaone4_gguf.bundle_command import bundle
from exaone4_gguf.chat_command import chat
from exaone4_gguf.encode_command import classify, embed
from exaone4_gguf.errors import Exaone4Error, QuantizeError
from exaone4_gguf.fit_command import fit
from exaone4_gguf.hints import Hinting, check_order, check_target, completing, is_type
from exaone4_gguf.imatrix_command import imatrix
from exaone4_gguf.serve_command import serve
from exaone4_gguf.verify_command import verify, verify_result
from exaone4_gguf.version import __version__

if TYPE_CHECKING:
    from exaone4_gguf.converter.convert import Result
    from exaone4_gguf.quant.recipes import Overrides

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

_SIZE = re.compile(r"(\d+)([KMG]?)", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


class _Size(click.ParamType[int]):
    """A number of bytes, like 50G, as llama.cpp's converter takes it."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(str(value))
        if not match or int(match[1]) == 0:
            self.fail(f"{value!r} is not a size; write it like 500M or 50G", param, ctx)
        if not match[2] and int(match[1]) < _UNITS["M"]:
            self.fail(f"{value} is a size in bytes; write it like {value}M or {value}G", param, ctx)
        return int(match[1]) * _UNITS[match[2].upper()]


class _Target(click.ParamType[Path]):
    """A file to write, or a folder that is there."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if not value:
            self.fail("the target has no name", param, ctx)
        check_target(ctx, str(value))
        if str(value).endswith("/") and not Path(value).is_dir():
            self.fail(f"{value}: no such folder", param, ctx)
        return Path(value)


class _Commands(click.Group):
    """Commands in the order in which people meet them."""

    command_class = Hinting

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from exaone4_gguf.quant.native import instructions

        click.echo(f"exaone4-gguf {__version__}, quantizing with {instructions()[0]}")
        ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_version,
    help="Show the version and the kernels in use.",
)
def cli() -> None:
    """EXAONE 4 on your own hardware: convert to GGUF, quantize, inspect, verify, chat."""


def main() -> NoReturn:
    """Run the command line; expected failures become one line and their exit code."""
    _open_missing_streams()
    _speak_utf8()
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
    except Exaone4Error as e:
        _fail(str(e), e.exit_code)
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.ctx.get_help() if e.ctx else "")
        sys.exit(2)
    except click.ClickException as e:
        hint = f" (try '{e.ctx.command_path} --help')" if isinstance(e, click.UsageError) and e.ctx else ""
        _fail(e.format_message().rstrip(".") + hint, 2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; nothing was written", INTERRUPTED)
    except (OSError, UnicodeError, MemoryError) as e:
        _abandon_stdout()
        if isinstance(e, BrokenPipeError):
            sys.exit(INTERRUPTED)
        _fail(_system_error(e), 2)
    sys.exit(code if isinstance(code, int) else 0)


_LOST = (errno.EBADF, errno.ENOSPC, errno.EIO, errno.EFBIG)
"""Why writing to a stream fails; files, which have names, are written elsewhere."""


def _system_error(e: OSError | UnicodeError | MemoryError) -> str:
    """What the operating system refused, in one line."""
    if isinstance(e, OSError) and e.strerror:
        where = e.filename or ("stdout" if e.errno in _LOST else "")
        return f"{where}: {e.strerror}" if where else e.strerror
    hint = "; with PYTHONIOENCODING=utf-8 it can be printed" if isinstance(e, UnicodeEncodeError) else ""
    return f"{type(e).__name__}: {e}{hint}"


def _open_missing_streams() -> None:
    """Where the shell closed one (>&-), the next file to be opened would take its place.

    What is written to a stdout that is closed is lost, so that writing must fail: nothing can be written to what is
    opened for reading.
    """
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115 - for as long as the program runs
    sys.stdout = sys.stdout or open(os.open(os.devnull, os.O_RDONLY), "w", encoding="utf-8")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def _speak_utf8() -> None:
    """Where the environment leaves only ASCII (LC_ALL=C with PYTHONUTF8=0), which has no Korean, UTF-8 is meant."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and codecs.lookup(stream.encoding).name == "ascii":
            stream.reconfigure(encoding="utf-8", errors="strict" if stream is sys.stdin else "surrogateescape")


def _abandon_stdout() -> None:
    """Nobody reads it, or its disk is full: what is still in the buffer would fail again at the end."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(message: str, code: int) -> NoReturn:
    click.echo("exaone4-gguf: " + " ".join(message.split("\n")), err=True)
    sys.exit(code)


def _types() -> Iterable[str]:
    from exaone4_gguf.quant.recipes import FILE_TYPES

    return FILE_TYPES


def _tensor_types() -> Iterable[str]:
    from exaone4_gguf.quant.types import WRITABLE

    return WRITABLE


def _quantizing(command: Callable[..., Any]) -> Callable[..., Any]:
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
            type=_Size(),
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


@cli.command()
@click.argument("model_dir")
@click.argument("out", type=_Target())
@click.option(
    "--outtype",
    default="auto",
    metavar="TYPE",
    shell_complete=completing(_types),
    help="File type; by default the checkpoint's own dtype.",
)
@click.option("--verify", "then_verify", is_flag=True, help="Verify what was written, all but its behaviour.")
@click.option(
    "--template-for-llama-server",
    is_flag=True,
    help="Change the chat template so that stock llama-server keeps thoughts and answer apart.",
)
@_quantizing
def convert(model_dir: str, out: Path, outtype: str, then_verify: bool, **options: Any) -> int:
    """Convert the checkpoint in MODEL_DIR to OUT, a GGUF file.

    MODEL_DIR is a Hugging Face folder, or the id of a repository on the Hugging Face Hub. OUT may be a folder,
    in which the file is named after the model and its type. The types, best first:

    F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_K_S, Q4_K_M, Q4_K_S, IQ4_NL, Q4_0, IQ4_XS, Q3_K_M, Q2_K
    """
    from exaone4_gguf.converter.convert import convert

    check_order(model_dir, (out,), "convert {} {}")
    result = convert(model_dir, out, outtype, **_writing(options))
    _report(result)
    return verify_result(model_dir, result.paths[0], options["imatrix"]) if then_verify and result.written else 0


@cli.command()
@click.argument("infile", metavar="IN.gguf", type=click.Path(path_type=Path))
@click.argument("out", metavar="OUT.gguf", type=_Target())
@click.argument("outtype", metavar="TYPE", shell_complete=completing(_types))
@click.option("--allow-requantize", is_flag=True, help="Quantize what is quantized already; it costs quality.")
@_quantizing
def quantize(infile: Path, out: Path, outtype: str, **options: Any) -> None:
    """Quantize IN.gguf to OUT.gguf as TYPE, with llama.cpp's own bytes."""
    from exaone4_gguf.converter.convert import quantize

    if is_type(out.name):
        raise click.UsageError(f"TYPE comes last: exaone4-gguf quantize {infile} {outtype} {out.name}")
    _report(quantize(infile, out, outtype, **_writing(options)))


@cli.command()
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="Everything, for programs.")
def inspect(path: str, as_json: bool) -> None:
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


cli.add_command(verify)
cli.add_command(imatrix)
cli.add_command(chat)
cli.add_command(serve)
cli.add_command(embed)
cli.add_command(classify)
cli.add_command(fit)
cli.add_command(bundle)


@cli.command()
def demo() -> None:
    """Convert the checkpoint that comes with the project, and hold three conversations with it."""
    from exaone4_gguf.demo.show import run_demo

    run_demo()


def _writing(options: dict[str, Any]) -> dict[str, Any]:
    """The functions' arguments from the command line's."""
    from exaone4_gguf.progress import show_progress

    names = ("tensor_types", "token_embedding_type", "output_tensor_type", "pure")
    overrides = _overrides(*(options.pop(name) for name in names))
    return options | {"overrides": overrides, "show_progress": show_progress}


def _overrides(pairs: tuple[str, ...], embedding: str | None, output: str | None, pure: bool) -> Overrides | None:
    from exaone4_gguf.quant.recipes import Overrides
    from exaone4_gguf.quant.types import writable_type

    if not (pairs or embedding or output or pure):
        return None
    return Overrides(
        tensor_types=tuple(_tensor_type(pair) for pair in pairs),
        token_embedding=writable_type(embedding) if embedding else None,
        output=writable_type(output) if output else None,
        pure=pure,
    )


def _tensor_type(pair: str) -> Any:
    from exaone4_gguf.quant.types import writable_type

    pattern, equals, name = pair.rpartition("=")
    if not (pattern and equals and name):
        raise QuantizeError(f"--tensor-type {pair}: write it as REGEX=TYPE, like attn_v=Q8_0")
    try:
        return re.compile(pattern.lower()), writable_type(name)
    except re.error as e:
        raise QuantizeError(f"--tensor-type {pair}: not a regular expression: {e}") from None


def _report(result: Result) -> None:
    from exaone4_gguf.render import describe, print_plan

    if result.written:
        click.echo(describe(result), err=True)
        if lacking := result.without_importance:
            click.echo(f"the importance matrix has nothing of {len(lacking)} layers, {lacking[0]} first", err=True)
        for path in result.paths:
            click.echo(path)
    else:
        print_plan(result)
