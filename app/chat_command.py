"""The command line's ``chat``: it parses, and calls ``runtime.terminal.chat``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from exaone4_gguf.hints import Hinting, Text, completing

if TYPE_CHECKING:
    from exaone4_gguf.runtime.request import ChatOptions

LOADING = (
    *("n_ctx", "n_threads", "n_gpu_layers", "type_k", "type_v", "rpc"),
    *("draft", "draft_max", "draft_gpu_layers", "lookup"),
)


class _CacheType(click.ParamType[int]):
    """A type of the KV cache, as llama.cpp names it: f16, q8_0."""

    name = "type"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from exaone4_gguf.runtime.context import CACHE_TYPES

        if isinstance(value, int):
            return value
        if (number := CACHE_TYPES.get(str(value).lower())) is None:
            self.fail(f"{value!r} is none of {', '.join(CACHE_TYPES)}", param, ctx)
        return number


def cache_types() -> Iterable[str]:
    """The types of the KV cache, by name."""
    from exaone4_gguf.runtime.context import CACHE_TYPES

    return CACHE_TYPES


def _presets() -> Iterable[str]:
    from exaone4_gguf.runtime.sampling import PRESETS

    return PRESETS


LOADING_OPTIONS = (
    click.option(
        "-c",
        "--ctx-size",
        "n_ctx",
        type=click.IntRange(min=0),
        default=0,
        help="Context in tokens; by default what fits memory, up to the trained length.",
    ),
    click.option(
        "-t", "--threads", "n_threads", type=click.IntRange(min=1), help="Threads; by default the physical cores."
    ),
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

_ANSWER_OPTIONS = (
    click.option("--reasoning/--no-reasoning", default=None, help="Think before answering; off by default."),
    click.option("--reasoning-budget", type=int, metavar="N", help="The most tokens of thought."),
    click.option("--reasoning-minimum", type=click.IntRange(min=0), metavar="N", help="The least tokens of thought."),
    click.option("-n", "--predict", "max_tokens", type=int, metavar="N", help="The most tokens of an answer."),
    click.option(
        "--preset",
        metavar="NAME",
        shell_complete=completing(_presets),
        help="Sampling: answer, reasoning, steady, korean or greedy.",
    ),
    click.option("--temp", "temperature", type=float, help="Temperature; 0 is greedy."),
    click.option("--top-k", type=int),
    click.option("--top-p", type=float),
    click.option("--min-p", type=float),
    click.option("--seed", type=int, help="For the same answer again."),
    click.option("--presence-penalty", type=float),
    click.option("--frequency-penalty", type=float),
    click.option("--repeat-penalty", type=float),
    click.option(
        "-j", "--json-schema", type=Text(), metavar="SCHEMA", help="Answer with JSON of this schema; {} for any object."
    ),
    click.option(
        "-jf", "--json-schema-file", type=click.Path(path_type=Path), help="The schema, in a file.", metavar="FILE"
    ),
)


def with_options(*options: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator that gives a command these options."""
    return lambda command: functools.reduce(lambda f, option: option(f), reversed(options), command)


@click.command(cls=Hinting)
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
def chat(
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
    from exaone4_gguf.runtime.terminal import chat

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

    if text is None and file is None:
        return None
    where = "--json-schema" if file is None else str(file)
    try:
        schema = json.loads(text if file is None and text is not None else text_of(file or Path()))
    except (ValueError, RecursionError) as e:
        raise click.UsageError(f"{where}: not JSON: {e}") from None
    if not isinstance(schema, dict):
        raise click.UsageError(f"{where}: a schema is an object")
    return {"type": "json_schema", "json_schema": {"schema": schema}} if schema else {"type": "json_object"}


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
