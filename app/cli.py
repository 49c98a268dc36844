"""The command line: it parses, calls the functions that anyone can import, and prints.

Nothing heavy is imported before a command needs it, so that --help is quick.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import sys
from typing import NoReturn

import click

from exaone4_gguf.commands.bundle import bundle_command
from exaone4_gguf.commands.chat import chat_command
from exaone4_gguf.commands.classify import classify_command
from exaone4_gguf.commands.convert import convert_command
from exaone4_gguf.commands.demo import demo_command
from exaone4_gguf.commands.embed import embed_command
from exaone4_gguf.commands.fit import fit_command
from exaone4_gguf.commands.imatrix import imatrix_command
from exaone4_gguf.commands.inspect import inspect_command
from exaone4_gguf.commands.quantize import quantize_command
from exaone4_gguf.commands.serve import serve_command
from exaone4_gguf.commands.verify import verify_command
from exaone4_gguf.errors import Exaone4Error
from exaone4_gguf.version import __version__

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

COMMANDS = (
    convert_command,
    quantize_command,
    inspect_command,
    verify_command,
    imatrix_command,
    chat_command,
    serve_command,
    embed_command,
    classify_command,
    fit_command,
    bundle_command,
    demo_command,
)
"""In the order in which people meet them."""


class _Commands(click.Group):
    """Commands in the order of ``COMMANDS``."""

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


for command in COMMANDS:
    cli.add_command(command)


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
        hint = ""
        if isinstance(e, click.UsageError) and e.ctx:
            hint = f" (try '{e.ctx.command_path} --help')"
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
        if where:
            return f"{where}: {e.strerror}"
        return e.strerror
    hint = ""
    if isinstance(e, UnicodeEncodeError):
        hint = "; with PYTHONIOENCODING=utf-8 it can be printed"
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
