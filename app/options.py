"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from exaone4_gguf.hints import check_target, completing

_SIZE = re.compile(r"(\d+)([KMG]?)", re.IGNORECASE)
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


LOADING = (
    *("n_ctx", "n_threads", "n_gpu_layers", "type_k", "type_v", "rpc"),
    *("draft", "draft_max", "draft_gpu_layers", "lookup"),
)


class Size(click.ParamType[int]):
    """A number of bytes, like 50G, as llama.cpp's converter takes it."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The bytes; as in llama.cpp's converter, K, M and G are powers of 1,000."""
        if isinstance(value, int):
            return value
        match = _SIZE.fullmatch(str(value))
        if not match or int(match[1]) == 0:
            self.fail(f"{value!r} is not a size; write it like 500M or 50G", param, ctx)
        if not match[2] and int(match[1]) < _UNITS["M"]:
            self.fail(f"{value} is a size in bytes; write it like {value}M or {value}G", param, ctx)
        return int(match[1]) * _UNITS[match[2].upper()]


class Target(click.ParamType[Path]):
    """A file to write, or a folder that is there."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """As a path; where its folder is missing, or a type stands in its place, this says so."""
        if not value:
            self.fail("the target has no name", param, ctx)
        check_target(ctx, str(value))
        if str(value).endswith("/") and not Path(value).is_dir():
            self.fail(f"{value}: no such folder", param, ctx)
        return Path(value)


class _CacheType(click.ParamType[int]):
    """A type of the KV cache, as llama.cpp names it: f16, q8_0."""

    name = "type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from exaone4_gguf.format.keys import CACHE_TYPES

        if isinstance(value, int):
            return value
        number = CACHE_TYPES.get(str(value).lower())
        if number is None:
            self.fail(f"{value!r} is none of {', '.join(CACHE_TYPES)}", param, ctx)
        return number


def cache_types() -> Iterable[str]:
    """The types of the KV cache, by name."""
    from exaone4_gguf.format.keys import CACHE_TYPES

    return CACHE_TYPES


THREADS_OPTION = click.option(
    "-t", "--threads", "n_threads", type=click.IntRange(min=1), help="Threads; by default the physical cores."
)
LOADING_OPTIONS = (
    click.option(
        "-c",
        "--ctx-size",
        "n_ctx",
        type=click.IntRange(min=0),
        default=0,
        help="Context in tokens; by default what fits memory, up to the trained length.",
    ),
    THREADS_OPTION,
    click.option("-ngl", "--n-gpu-layers", type=int, default=-1, help="Layers on the GPU; by default all."),
    click.option(
        "-ctk",
        "--cache-type-k",
        "type_k",
        type=_CacheType(),
        shell_complete=completing(cache_types),
        help="Type of the cached keys; by default f16.",
    ),
    click.option(
        "-ctv",
        "--cache-type-v",
        "type_v",
        type=_CacheType(),
        shell_complete=completing(cache_types),
        help="Type of the cached values; by default f16.",
    ),
    click.option(
        "-md",
        "--draft",
        "--model-draft",
        "draft",
        metavar="FILE.gguf",
        type=click.Path(path_type=Path),
        help="A smaller model with the same vocabulary, which guesses tokens ahead: the 1.2B for the 32B.",
    ),
    click.option("--lookup", is_flag=True, help="Guess tokens ahead from what was said before."),
    click.option(
        "--draft-max", type=click.IntRange(min=1, max=48), metavar="N", help="The most guesses at a time; at most 48."
    ),
    click.option(
        "-ngld",
        "--n-gpu-layers-draft",
        "draft_gpu_layers",
        type=int,
        help="Layers of the smaller model on the GPU; by default all, and none with --rpc.",
    ),
    click.option("--rpc", metavar="HOST:PORT,...", help="Spread the model over these machines, which run rpc-server."),
    click.option(
        "--chat-template-file", type=click.Path(path_type=Path), help="A Jinja template instead of the file's own."
    ),
)


Command = Callable[..., Any]


def with_options(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """A decorator that gives a command these options, in this order."""

    def decorated(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def template_of(file: Path) -> str:
    """The template in a file. An empty one would be none, and the model's own would be used."""
    template = text_of(file)
    if not template.strip():
        raise click.UsageError(f"{file}: an empty chat template")
    return template


def text_of(file: Path) -> str:
    """A text that an option names the file of."""
    try:
        return file.read_text(encoding="utf-8")
    except OSError as e:
        raise click.UsageError(f"{file}: {e.strerror}") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{file}: not a text file") from None
