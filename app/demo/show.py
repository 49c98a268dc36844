"""``exaone4-gguf demo``: the bundled checkpoint, converted and talked to, on any machine in a few seconds."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.demo.conversations import CONVERSATIONS
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.terminal.screen import Screen
from exaone4_gguf.runtime.terminal.turn import run_turn
from exaone4_gguf.runtime.tools.toolbox import Toolbox

CHECKPOINT = Path(__file__).parent / "checkpoint"
SHOWN = ("greeting-ko", "reasoning", "dice")
"""The conversations that the demo holds: a greeting, a reasoned answer, a tool that is really called."""

_N_CTX = 2048


def roll_dice(sides: int) -> int:
    """Roll one die.

    Args:
        sides: How many sides the die has.
    """
    return random.randint(1, sides)  # noqa: S311 - a game


def run_demo(outtype: str = "Q8_0") -> None:
    """Convert the bundled checkpoint into a temporary folder, ask it, and print what it says.

    Raises:
        RuntimeFailure: llama-cpp-python is missing.
    """
    screen = Screen()
    with tempfile.TemporaryDirectory() as folder:
        result = convert(CHECKPOINT, Path(folder, "demo.gguf"), outtype)
        screen.note(f"The bundled checkpoint as {outtype}: {result.plan.size:,} bytes of GGUF.\n")
        with Exaone4(result.paths[0], n_ctx=_N_CTX) as model:
            for name in SHOWN:
                _show(model, name, screen)


def _show(model: Exaone4, name: str, screen: Screen) -> None:
    conversation = CONVERSATIONS[name]
    question = conversation.messages[:1]
    screen.note(f"> {question[0]['content']}")
    tools = Toolbox([roll_dice] if conversation.tools else [])
    run_turn(model, question, tools, view=screen, reasoning=conversation.reasoning, preset="greedy")
    screen.note()
