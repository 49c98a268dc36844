"""What was probably meant by arguments that cannot be right."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click


def is_type(text: str) -> bool:
    """Whether it is the name of a file type, and of nothing that is there."""
    from exaone4_gguf.quant.recipes import ALIASES, FILE_TYPES

    return text.upper() in {*FILE_TYPES, *ALIASES} and not Path(text).exists()


def _more_for_convert(extra: str) -> str:
    if is_type(extra):
        return f"; did you mean --outtype {extra}?"
    return ""


def _more_for_chat(extra: str) -> str:
    return f"; did you mean -p {shlex.quote(extra)}?"


_MORE: dict[str, Callable[[str], str]] = {"convert": _more_for_convert, "chat": _more_for_chat}
"""By command, what an argument too many was meant to be."""

_LLAMA_CPP_OPTIONS = {
    "-m": "the file is given without an option",
    "--model": "the file is given without an option",
    "-o": "the target is given without an option, after MODEL_DIR",
    "--outfile": "the target is given without an option, after MODEL_DIR",
}
"""How llama.cpp's programs take what is an argument here."""


class Hinting(click.Command):
    """A command whose complaints about its arguments say what was probably meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does it; what is left over is an error here, unless a shell completes the line."""
        ctx.allow_extra_args = True
        given = tuple(args)  # click takes them out of the list
        try:
            left = super().parse_args(ctx, args)
        except click.NoSuchOption as e:
            hint = _LLAMA_CPP_OPTIONS.get(e.option_name)
            if hint:
                raise click.UsageError(f"No such option: {e.option_name}; {hint}", ctx) from None
            raise
        except click.MissingParameter as e:
            if self.name == "convert" and len(given) == 1 and given[0].endswith(".gguf"):
                hint = f"to quantize a GGUF file: exaone4-gguf quantize {given[0]} OUT.gguf TYPE"
                raise click.UsageError(f"{e.format_message().rstrip('.')}; {hint}", ctx) from None
            raise
        if left and not ctx.resilient_parsing:
            several = ""
            if len(left) > 1:
                several = "s"
            more = _MORE.get(self.name or "")
            hint = more(left[-1]) if more else ""
            ctx.fail(f"Got unexpected extra argument{several} ({' '.join(map(str, left))}){hint}")
        return left


def check_target(ctx: click.Context | None, value: str) -> None:
    """Refuse a type where the target should be.

    Raises:
        click.UsageError: it is one; a file of that name may be written as ./NAME.
    """
    if is_type(value):
        raise click.UsageError(
            f"{value} is a type, and the target's name is missing; write it before: OUT.gguf{_type_of(ctx)} {value}",
            ctx,
        )


def _type_of(ctx: click.Context | None) -> str:
    if ctx is not None and ctx.command.name == "convert":
        return " --outtype"
    return ""


def check_order(first: str, rest: tuple[Any, ...] | list[Any], usage: str) -> None:
    """Refuse a checkpoint that does not come first, where a GGUF file does.

    Raises:
        click.UsageError: they were swapped.
    """
    swapped = next((str(path) for path in rest if (Path(path) / "config.json").is_file()), None)
    if swapped is not None and first.endswith(".gguf"):
        raise click.UsageError(f"MODEL_DIR comes first: exaone4-gguf {usage.format(swapped, first)}")


def completing(names: Callable[[], Iterable[str]]) -> Callable[..., list[str]]:
    """What completes an argument in a shell: those of the names, in any case, that go on with what is typed."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        return [name for name in names() if name.lower().startswith(incomplete.lower())]

    return complete


class Text(click.ParamType[str]):
    """A text on the command line, which is UTF-8, whatever the locale says."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """What the locale did not read (Python keeps such bytes as surrogates) is read again.

        Raises:
            click.BadParameter: it is not UTF-8.
        """
        try:
            str(value).encode("utf-8")
            return str(value)
        except UnicodeEncodeError:
            pass
        try:
            return os.fsencode(value).decode("utf-8")
        except UnicodeError:
            self.fail("it is not UTF-8 text", param, ctx)
