"""A chat at a terminal: one answer to a prompt, or a conversation until the user leaves."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from exaone4_gguf.errors import ChatError, Exaone4Error, RequestError
from exaone4_gguf.runtime.generate.request import ChatOptions, Request
from exaone4_gguf.runtime.llama.interrupts import ignoring, raising_once
from exaone4_gguf.runtime.llama.model import check_file
from exaone4_gguf.runtime.remote.remote import open_model
from exaone4_gguf.runtime.terminal.commands import COMMANDS, Next, run_command
from exaone4_gguf.runtime.terminal.keyboard import Keyboard, editing, history_file, question
from exaone4_gguf.runtime.terminal.screen import Screen
from exaone4_gguf.runtime.terminal.session import Session
from exaone4_gguf.runtime.terminal.turn import MAX_ROUNDS, OUT_OF_ROUNDS, Turn
from exaone4_gguf.runtime.tools.toolbox import AskFirst, Permit, Toolbox, allow, load_tools, refuse

INTERRUPTED = 130
"""The exit code after Ctrl-C, as shells have it."""

_PATIENCE = 1.0
"""Seconds of silence on stdin after which the user is told that it is being read."""

_READING = "reading a text from stdin, to its end; < /dev/null gives none"

_MOST_PIPED = 10_000_000
"""Characters."""


def chat(
    path: str | Path,
    prompt: str | None = None,
    *,
    options: ChatOptions | None = None,
    loading: Mapping[str, Any] | None = None,
    tools: str | Path | None = None,
    ask_before_calls: bool = True,
    max_rounds: int = MAX_ROUNDS,
    system: str | None = None,
    keep_history: bool = True,
) -> int:
    """Answer what is piped in, the prompt, or both, the text first; without either, talk with the user at the terminal.

    Args:
        path: the GGUF file.
        options: of every answer.
        loading: arguments of ``open_model``.
        tools: a Python file whose functions the model may call.
        keep_history: what is typed can be found again in the next chat: it is kept in ``history_file()``.
        ask_before_calls: the user allows each call; where there is nobody to ask, none is allowed.

    Returns:
        The exit code: 0, or 130 if one answer was asked for and Ctrl-C stopped it.

    Raises:
        Exaone4Error: the file, an option or the tools are wrong; nothing was asked; or the one answer failed.
    """
    check_file(Path(path))
    options = options or {}
    toolbox = Toolbox(load_tools(tools) if tools else (), _permit(ask_before_calls))
    Request(options, toolbox.tools)  # raises now what every answer would
    if not _is_terminal(sys.stdin):
        prompt = "\n\n".join(part for part in (_piped(), prompt) if part and part.strip())
    if prompt is not None and not prompt.strip():
        raise ChatError("nothing to answer: give -p PROMPT, or text on stdin")
    with open_model(path, **(loading or {})) as model:
        if model.silent:
            raise RequestError(model.silent)
        session = Session(model, toolbox, options, system=system, max_rounds=max_rounds)
        if prompt is not None:
            return answer_once(session, prompt, Screen())
        converse(session, Screen(), Keyboard(), history_file() if keep_history else None)
        return 0


def answer_once(session: Session, prompt: str, screen: Screen) -> int:
    """Answer, show it, and return the exit code.

    Raises:
        Exaone4Error: it cannot be answered.
    """
    turn = session.ask(prompt, screen)
    _show_status(session, screen, turn)
    if turn.finish_reason == OUT_OF_ROUNDS:
        raise ChatError(f"no answer: the model still called tools after {session.max_rounds} rounds (--max-rounds)")
    if turn.finish_reason == "cancelled":
        return INTERRUPTED
    return 0


def converse(session: Session, screen: Screen, keyboard: Keyboard, history: Path | None = None) -> None:
    """Talk until the user leaves. Nothing that fails, and no Ctrl-C, ends it. ``history`` keeps what is typed."""
    _greet(session, screen)
    with ignoring(), editing((f"/{name}" for name in COMMANDS), history):
        following = Next.READ
        while following is not Next.LEAVE:
            try:
                with raising_once():
                    text = keyboard.read()
                following = _follow(text, session, screen)
            except KeyboardInterrupt:
                screen.note()
            except Exaone4Error as e:
                screen.error(str(e))


def _follow(text: str | None, session: Session, screen: Screen) -> Next:
    """Do what the user typed: a command, or answering. None is the end."""
    if text is None:
        screen.note()
        return Next.LEAVE
    if not text.strip():
        return Next.READ
    following = run_command(text, session, screen)
    if following in (Next.READ, Next.LEAVE):
        return following
    if following is Next.ANSWER_AGAIN:
        turn = session.retry(screen)
    else:
        turn = session.ask(text.strip(), screen)
    _show_status(session, screen, turn)
    screen.note()
    return Next.READ


def _show_status(session: Session, screen: Screen, turn: Turn) -> None:
    screen.status(turn, session.model.n_ctx)


def _greet(session: Session, screen: Screen) -> None:
    model = session.model
    gpu = ""
    if model.uses_gpu:
        gpu = ", layers on the GPU"
    screen.note(f"{model.name}, a context of {model.n_ctx:,} tokens{gpu}. /help lists the commands, Ctrl-D leaves.")


def _permit(ask: bool) -> Permit:
    if not ask:
        return allow
    if _is_terminal(sys.stdin) and _is_terminal(sys.stderr):
        return AskFirst(question)
    return refuse


def _is_terminal(stream: Any) -> bool:
    """A closed stream is None."""
    return stream is not None and stream.isatty()


def _piped() -> str:
    """What is piped in, to its end. Where nobody writes and nobody closes the pipe, the user is told what is awaited.

    Raises:
        ChatError: it is more than any context holds, or not UTF-8, of which another text would be made in silence.
    """
    if sys.stdin is None:
        return ""
    if isinstance(sys.stdin, TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8", errors="strict")
    waiting = threading.Timer(_PATIENCE, Screen().note, [_READING])
    waiting.daemon = True
    waiting.start()
    try:
        text = sys.stdin.read(_MOST_PIPED + 1)
    except UnicodeDecodeError as e:
        raise ChatError(
            f"stdin: it is not UTF-8 text (byte 0x{e.object[e.start]:02x}); iconv -f ENCODING -t UTF-8 makes it so"
        ) from None
    except OSError:  # opened for writing alone, or lost: there is nothing to read
        return ""
    finally:
        waiting.cancel()
    if len(text) > _MOST_PIPED:
        raise ChatError(f"more than {_MOST_PIPED:,} characters on stdin: no context holds them")
    return text.strip("\r\n")
