"""What the user can type instead of a message: a table of commands that begin with a slash."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from exaone4_gguf.errors import CommandError
from exaone4_gguf.runtime.terminal.markdown_stream import code_blocks
from exaone4_gguf.runtime.terminal.screen import Screen
from exaone4_gguf.runtime.terminal.session import Session
from exaone4_gguf.runtime.tools.tool import Tool

# "/etc/passwd is a file" is a message, and so is what begins with a blank.
_COMMAND = re.compile(r"/([A-Za-z]*!?)(?:\s+(.*))?", re.DOTALL)


class Next(Enum):
    """What follows a command."""

    READ = auto()
    ANSWER_AGAIN = auto()
    LEAVE = auto()


@dataclass(frozen=True)
class Command:
    """One command: what follows its name, what it does, and how. ``run`` gets what was typed after the name."""

    takes: str
    about: str
    run: Callable[[Session, Screen, str], Next]


def run_command(text: str, session: Session, screen: Screen) -> Next | None:
    """Do what was typed; None if it is no command, but a message.

    Raises:
        CommandError: there is no such command, or it cannot take what follows it.
        Exaone4Error: the command failed.
    """
    match = _COMMAND.fullmatch(text)
    if match is None:
        return None
    name = match[1].lower()
    if name not in COMMANDS:
        raise CommandError(f"there is no /{name}; /help lists the commands, and a blank before the slash sends it")
    return COMMANDS[name].run(session, screen, (match[2] or "").strip())


def _help(session: Session, screen: Screen, argument: str) -> Next:
    commands = ((f"/{name} {command.takes}".rstrip(), command.about) for name, command in COMMANDS.items())
    screen.rows((*commands, *_KEYS))
    return Next.READ


_KEYS = (
    ('\\ or """', "a backslash at a line's end continues it; quotes open and close several lines"),
    ("Ctrl-C", "stop the answer, or clear the line"),
    ("Ctrl-D", "leave"),
)


def _reasoning(session: Session, screen: Screen, argument: str) -> Next:
    match argument.lower().split():
        case []:
            pass
        case ["on"]:
            session.options["reasoning"] = True
        case ["off"]:
            session.options["reasoning"] = False
        case ["budget", "off"]:
            session.options["reasoning_budget"] = None
        case ["budget", number] if number.isdecimal():
            session.options |= {"reasoning": True, "reasoning_budget": int(number)}
        case _:
            raise CommandError("write /reasoning on, /reasoning off, /reasoning budget 200, or /reasoning budget off")
    screen.note(_reasoning_state(session))
    return Next.READ


def _reasoning_state(session: Session) -> str:
    if not session.options.get("reasoning"):
        return "reasoning is off"
    budget = session.options.get("reasoning_budget")
    if budget is None:
        return "reasoning is on"
    return f"reasoning is on, for at most {budget:,} tokens"


def _tools(session: Session, screen: Screen, argument: str) -> Next:
    tools = session.toolbox.tools
    screen.rows((_signature(tool), tool.description.partition("\n")[0]) for tool in tools)
    if not tools:
        screen.note("no tools; --tools FILE.py gives the model the functions of a file")
    return Next.READ


def _signature(tool: Tool) -> str:
    required = tool.schema.get("required", ())
    names = [name if name in required else f"[{name}]" for name in tool.properties]
    return f"{tool.name}({', '.join(names)})"


def _system(session: Session, screen: Screen, argument: str) -> Next:
    if argument == "-":
        session.system = None
    elif argument:
        session.system = argument
    if session.system:
        screen.note(f"system: {session.system}")
    else:
        screen.note("no system prompt")
    return Next.READ


def _save(session: Session, screen: Screen, argument: str) -> Next:
    file = _file(argument, "save")
    if file.exists():
        raise CommandError(f"{file}: it is there already; /save! {argument} replaces it")
    return _save_over(session, screen, argument)


def _save_over(session: Session, screen: Screen, argument: str) -> Next:
    session.save(_file(argument, "save!"))
    screen.note(f"{len(session.messages)} messages saved")
    return Next.READ


def _load(session: Session, screen: Screen, argument: str) -> Next:
    session.load(_file(argument, "load"))
    screen.note(f"{len(session.messages)} messages loaded")
    screen.conversation(session.turns[-_SHOWN:])
    return Next.READ


_SHOWN = 6
"""Messages of a loaded conversation that are shown: its last ones."""


def _copy(session: Session, screen: Screen, argument: str) -> Next:
    if argument not in ("", "code"):
        raise CommandError("write /copy for the last answer, or /copy code for its last block of code")
    text, wanted = session.last_answer, "answer"
    if argument == "code":
        text, wanted = next(reversed(code_blocks(text)), ""), "code in the last answer"
    if not text:
        raise CommandError(f"there is no {wanted} to copy")
    screen.copy(text)
    screen.note(f"{len(text):,} characters given to the terminal's clipboard")
    return Next.READ


def _file(argument: str, command: str) -> Path:
    if not argument:
        raise CommandError(f"which file? Write /{command} FILE")
    try:
        return Path(argument).expanduser()
    except RuntimeError as e:
        raise CommandError(f"{argument}: {e}") from None


def _reset(session: Session, screen: Screen, argument: str) -> Next:
    session.turns = []
    screen.note("a new conversation")
    return Next.READ


def _retry(session: Session, screen: Screen, argument: str) -> Next:
    return Next.ANSWER_AGAIN


def _exit(session: Session, screen: Screen, argument: str) -> Next:
    return Next.LEAVE


COMMANDS = {
    "help": Command("", "list the commands", _help),
    "reasoning": Command("[on|off|budget N]", "think before answering, for at most N tokens", _reasoning),
    "tools": Command("", "list the tools that the model may call", _tools),
    "system": Command("[TEXT]", "set the system prompt, or show it; - removes it", _system),
    "copy": Command("[code]", "copy the last answer, or its last block of code", _copy),
    "save": Command("FILE", "save the conversation as JSON", _save),
    "save!": Command("FILE", "the same, and replace the file", _save_over),
    "load": Command("FILE", "go on with a saved conversation", _load),
    "reset": Command("", "forget the conversation, but for the system prompt", _reset),
    "retry": Command("", "answer the last message again", _retry),
    "exit": Command("", "leave", _exit),
}
