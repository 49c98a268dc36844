"""A chat template: Jinja source from a GGUF file, compiled once, with the settings of transformers.

The source comes from strangers. It runs in Jinja's sandbox, its loops and its text are limited, and whatever goes
wrong in it is one typed error. What the messages look like, and what becomes of the text, is not known here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence, Sized
from contextvars import ContextVar
from datetime import datetime
from typing import Any, NoReturn

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from exaone4_gguf.errors import ChatTemplateError
from exaone4_gguf.runtime.prompt.plain import Fields

# No conversation that fits a context comes near these.
MAX_STEPS = 10_000_000
MAX_CHARACTERS = 1 << 24
MAX_BITS = 1 << 16

_LOOPS = "counted"
_steps: ContextVar[list[int]] = ContextVar("steps")


class ChatTemplate:
    """A compiled template. `variables` are the ones that every rendering has, such as `eos_token`.

    Raises:
        ChatTemplateError: the source does not compile.
    """

    def __init__(self, source: str, variables: Fields | None = None) -> None:
        self.source = source
        self._variables = {"documents": None, **(variables or {})}
        try:
            self._template = _compiled(source)
        except jinja2.TemplateSyntaxError as e:
            raise ChatTemplateError(
                f"the chat template does not compile: line {e.lineno}: {_shortened(e.message or '')}"
            ) from e
        except Exception as e:
            raise ChatTemplateError(f"the chat template does not compile: {_reason(e)}") from e

    def render(
        self,
        messages: Sequence[Fields],
        tools: Sequence[Fields] | None = None,
        add_generation_prompt: bool = True,
        enable_thinking: bool = False,
        **kwargs: object,
    ) -> str:
        """The text of the conversation, as transformers' `apply_chat_template` gives it for the same messages.

        Raises:
            ChatTemplateError: the template raises, by itself or by a mistake, or loops or prints without end.
        """
        given = {
            "messages": messages,
            "tools": tools,
            "add_generation_prompt": add_generation_prompt,
            "enable_thinking": enable_thinking,
        }
        before = _steps.set([MAX_STEPS])
        try:
            return "".join(_limited(self._template.generate(self._variables | kwargs | given)))
        except Exception as e:  # foreign code: it may raise anything
            raise ChatTemplateError(f"the chat template fails: {_reason(e)}") from e
        finally:
            _steps.reset(before)


class _Generation(Extension):
    """`{% generation %}`, which marks the assistant's text for training: a block with names of its own."""

    tags = {"generation"}  # noqa: RUF012

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with a limit on what one multiplication or power may make."""

    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if _is_large(operator, left, right):
            raise OverflowError(f"the result of {operator} is too large")
        return super().call_binop(context, operator, left, right)


def _is_large(operator: str, left: object, right: object) -> bool:
    if isinstance(left, int) and isinstance(right, int):
        if operator == "**":
            return left.bit_length() * abs(right) > MAX_BITS
        return left.bit_length() + right.bit_length() > MAX_BITS
    if isinstance(right, int):
        left, right = right, left
    return isinstance(left, int) and isinstance(right, Sized) and left * len(right) > MAX_CHARACTERS


def _compiled(source: str) -> jinja2.Template:
    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters |= {"tojson": _tojson, _LOOPS: _counted}
    environment.globals |= {"raise_exception": _raise_exception, "strftime_now": _strftime_now}
    tree = environment.parse(source)
    for loop in tree.find_all(nodes.For):
        loop.iter = nodes.Filter(loop.iter, _LOOPS, [], [], None, None, lineno=loop.lineno)
    return environment.from_string(tree)


def _tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Unlike Jinja's own, it does not escape HTML."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: object) -> NoReturn:
    raise jinja2.TemplateError(str(message))


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _counted(items: Iterable[object]) -> Iterable[object]:
    """What a loop runs over, paid for in steps: at once where the length is known."""
    if not isinstance(items, Sized):
        return _counted_one_by_one(items)
    _pay(len(items))
    return items


def _counted_one_by_one(items: Iterable[object]) -> Iterator[object]:
    for item in items:
        _pay(1)
        yield item


def _pay(steps: int) -> None:
    left = _steps.get()
    left[0] -= steps
    if left[0] < 0:
        raise OverflowError(f"it loops more than {MAX_STEPS} times")


def _limited(pieces: Iterable[str]) -> Iterator[str]:
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > MAX_CHARACTERS:
            raise OverflowError(f"it prints more than {MAX_CHARACTERS} characters")
        yield piece


def _reason(error: Exception) -> str:
    """What went wrong, on one line: the template's own words, or Python's with the kind of the error."""
    if type(error) is jinja2.TemplateError:
        return _shortened(str(error))
    return _shortened(f"{type(error).__name__}: {error}")


def _shortened(text: str) -> str:
    words = " ".join(text.split())
    if len(words) <= 300:
        return words
    return words[:297] + "..."
