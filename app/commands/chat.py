"""The command line's ``chat``: it parses, and calls ``runtime.terminal.chat.chat``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exaone4_gguf.hints import Hinting, Text, completing
from exaone4_gguf.options import LOADING, LOADING_OPTIONS, template_of, text_of, with_options
from exaone4_gguf.runtime.generate.sampling import PARAMETERS, PRESETS

if TYPE_CHECKING:
    from exaone4_gguf.runtime.generate.request import ChatOptions


def _sampling_options() -> Iterator[Callable[..., Any]]:
    *names, last = PRESETS
    yield click.option(
        "--preset",
        metavar="NAME",
        shell_complete=completing(lambda: PRESETS),
        help=f"Sampling: {', '.join(names)} or {last}.",
    )
    for name, row in PARAMETERS.items():
        option = row.option or f"--{name.replace('_', '-')}"
        yield click.option(option, name, type=row.kind, help=row.help)


_ANSWER_OPTIONS = (
    click.option("--reasoning/--no-reasoning", default=None, help="Think before answering; off by default."),
    click.option("--reasoning-budget", type=int, metavar="N", help="The most tokens of thought."),
    click.option("--reasoning-minimum", type=click.IntRange(min=0), metavar="N", help="The least tokens of thought."),
    click.option("-n", "--predict", "max_tokens", type=int, metavar="N", help="The most tokens of an answer."),
    *_sampling_options(),
    click.option(
        "-j", "--json-schema", type=Text(), metavar="SCHEMA", help="Answer with JSON of this schema; {} for any object."
    ),
    click.option(
        "-jf", "--json-schema-file", type=click.Path(path_type=Path), help="The schema, in a file.", metavar="FILE"
    ),
)


@click.command("chat", cls=Hinting)
@click.argument("file", metavar="FILE.gguf", type=click.Path(path_type=Path))
@click.option(
    "-p",
    "--prompt",
    type=Text(),
    metavar="PROMPT",
    help="Answer this and end; a text that is piped in comes before it. Without either, talk.",
)
@click.option("-sys", "--system", "--system-prompt", type=Text(), metavar="TEXT", help="The system prompt.")
@click.option("--tools", metavar="FILE.py", type=click.Path(path_type=Path), help="Functions that the model may call.")
@click.option("-y", "--yes", is_flag=True, help="Run the functions without asking.")
@click.option(
    "--max-rounds", type=click.IntRange(min=1), default=8, show_default=True, help="Rounds of calls in an answer."
)
@click.option(
    "--history/--no-history", default=True, help="Keep what is typed for the next talk, which is the default."
)
@with_options(*_ANSWER_OPTIONS, *LOADING_OPTIONS)
def chat_command(
    file: Path,
    prompt: str | None,
    system: str | None,
    tools: Path | None,
    yes: bool,
    max_rounds: int,
    history: bool,
    chat_template_file: Path | None,
    **options: Any,
) -> int:
    """Talk with the model in FILE.gguf.

    The answer goes to stdout, thoughts and everything else to stderr. In a talk, /help lists the commands.
    """
    from exaone4_gguf.runtime.terminal.chat import chat

    loading = {name: options.pop(name) for name in LOADING}
    if chat_template_file:
        loading["chat_template"] = template_of(chat_template_file)
    return chat(
        file,
        prompt,
        options=_chat_options(options, has_tools=tools is not None),
        loading=loading,
        tools=tools,
        ask_before_calls=not yes,
        max_rounds=max_rounds,
        system=system,
        keep_history=history,
    )


def _chat_options(options: dict[str, Any], has_tools: bool) -> ChatOptions:
    """What was given, by the names of requests; llama.cpp's -1 means that nothing was."""
    schema = _schema(options.pop("json_schema"), options.pop("json_schema_file"))
    if schema is not None and has_tools:
        raise click.UsageError("--json-schema and --tools do not go together: the answer could be no call")
    for name in ("max_tokens", "seed", "reasoning_budget"):
        if (options[name] or 0) < 0:
            options[name] = None
    if options["reasoning"] is None:
        options["reasoning"] = any(options[name] is not None for name in ("reasoning_budget", "reasoning_minimum"))
    given = {name: value for name, value in options.items() if value is not None}
    chosen: ChatOptions = {**given, "response_format": schema}  # type: ignore[typeddict-item]
    return chosen


def _schema(text: str | None, file: Path | None) -> dict[str, Any] | None:
    """The schema as a request's response_format."""
    import json

    where = "--json-schema"
    if file is not None:
        where, text = str(file), text_of(file)
    if text is None:
        return None
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise click.UsageError(f"{where}: not JSON: {e}") from None
    if not isinstance(schema, dict):
        raise click.UsageError(f"{where}: a schema is an object")
    if not schema:
        return {"type": "json_object"}
    return {"type": "json_schema", "json_schema": {"schema": schema}}
