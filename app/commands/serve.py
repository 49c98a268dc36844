"""The command line's ``serve``: it parses, and calls ``runtime.server.serve``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from exaone4_gguf.errors import RuntimeFailure
from exaone4_gguf.hints import Hinting, Text
from exaone4_gguf.options import LOADING, LOADING_OPTIONS, template_of, text_of, with_options

_MEGABYTE = 1_000_000

_ACCESS_OPTIONS = (
    click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on."),
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=8080,
        show_default=True,
        help="Port to listen on; 0 for any that is free.",
    ),
    click.option(
        "--api-key",
        "api_keys",
        metavar="KEY",
        multiple=True,
        envvar="EXAONE4_GGUF_API_KEY",
        help="Key that clients must give; may be repeated. Other users of this machine see it; the environment "
        "variable EXAONE4_GGUF_API_KEY, or a file, hides it.",
    ),
    click.option("--api-key-file", type=click.Path(path_type=Path), metavar="FILE", help="Keys, one in a line."),
    click.option("--no-api-key", "open_to_all", is_flag=True, help="Let everyone who reaches --host use the model."),
    click.option(
        "--cors", metavar="ORIGIN", multiple=True, help="Origin whose pages may call; may be repeated, * for all."
    ),
    click.option("--allow-host", "hosts", metavar="NAME", multiple=True, help="Name that a proxy calls the server by."),
)

_WORK_OPTIONS = (
    click.option("--head", type=click.Path(), metavar="FILE", help="A classifier's head; by default FILE.head.gguf."),
    click.option("-a", "--alias", type=Text(), metavar="NAME", help="The model's name; by default the file's."),
    click.option("--reasoning/--no-reasoning", default=False, help="Think before answers to requests that do not say."),
    click.option("--reasoning-budget", type=click.IntRange(min=-1), metavar="N", help="The most tokens of thought."),
    click.option(
        "--max-queue", type=click.IntRange(min=1), default=128, show_default=True, help="Requests that may wait."
    ),
    click.option(
        "-to",
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=600,
        show_default=True,
        help="Seconds that a request may take, its wait included.",
    ),
    click.option(
        "--max-body",
        type=click.IntRange(1, 1000),
        default=10,
        show_default=True,
        metavar="MB",
        help="The largest body of a request, in megabytes.",
    ),
)


@click.command("serve", cls=Hinting)
@click.argument("file", metavar="FILE.gguf", type=click.Path(path_type=Path))
@with_options(*_ACCESS_OPTIONS, *_WORK_OPTIONS, *LOADING_OPTIONS)
def serve_command(
    file: Path,
    api_keys: tuple[str, ...],
    api_key_file: Path | None,
    chat_template_file: Path | None,
    max_body: int,
    timeout: float,
    **options: Any,
) -> None:
    """Serve the model in FILE.gguf to OpenAI's clients, and a page to chat on.

    It listens on this machine only, unless told otherwise. SIGTERM and Ctrl-C finish what runs, a second one stops at
    once.
    """
    try:
        from exaone4_gguf.runtime.server.serve import serve
        from exaone4_gguf.runtime.server.settings import Settings
    except ImportError as e:
        raise RuntimeFailure(f"{e.name} is missing; pip install 'exaone4-gguf[server]'") from None

    if not math.isfinite(timeout):
        raise click.UsageError("--timeout must be a number of seconds")
    loading = {name: options.pop(name) for name in (*LOADING, "head")}
    if chat_template_file:
        loading["chat_template"] = template_of(chat_template_file)
    keys = (*api_keys, *_keys_of(api_key_file))
    settings = Settings(api_keys=keys, max_body=max_body * _MEGABYTE, timeout=timeout, **options)
    serve(file, settings, loading=loading)


def _keys_of(file: Path | None) -> tuple[str, ...]:
    if file is None:
        return ()
    keys = tuple(line.strip() for line in text_of(file).splitlines() if line.strip())
    if not keys:
        raise click.UsageError(f"{file}: it holds no key")
    return keys
