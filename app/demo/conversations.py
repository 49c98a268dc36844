"""What the demo model says: the conversations it was trained on, as data.

A conversation is a list of messages in OpenAI form, with the assistant's turns in it. This file knows no
tokenizer and no model: `train.py` teaches these texts, the demo and the tests ask for them again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

Message = Mapping[str, Any]
Tool = Mapping[str, Any]


@dataclass(frozen=True)
class Turn:
    """One answer of the assistant: the messages before it, and the text the model writes after the prompt."""

    messages: Sequence[Message]
    completion: str


@dataclass(frozen=True)
class Conversation:
    """Messages with their answers; `reasoning` says whether the model thinks before each of them."""

    name: str
    messages: Sequence[Message]
    tools: Sequence[Tool] = ()
    reasoning: bool = False

    def turns(self) -> Iterator[Turn]:
        """Each answer with what came before it."""
        for position, message in enumerate(self.messages):
            if message["role"] == "assistant":
                yield Turn(self.messages[:position], _completion(message))


def _completion(message: Message) -> str:
    """What the model writes for this message; the opening `<think>` belongs to the prompt."""
    reasoning = message.get("reasoning_content")
    thought = ""
    if reasoning:
        thought = f"{reasoning}\n</think>\n\n"
    calls = "\n".join(_call_text(call["function"]) for call in message.get("tool_calls", ()))
    return thought + (message["content"] or "") + calls


def _call_text(function: Mapping[str, str]) -> str:
    return f'<tool_call>{{"name": "{function["name"]}", "arguments": {function["arguments"]}}}</tool_call>'


def _user(content: str) -> Message:
    return {"role": "user", "content": content}


def _assistant(content: str) -> Message:
    return {"role": "assistant", "content": content}


def _thoughtful(reasoning: str, content: str) -> Message:
    return {"role": "assistant", "reasoning_content": reasoning, "content": content}


ROLL_DICE: Tool = {
    "type": "function",
    "function": {
        "name": "roll_dice",
        "description": "Roll one die.",
        "parameters": {
            "type": "object",
            "properties": {"sides": {"type": "integer", "description": "How many sides the die has."}},
            "required": ["sides"],
        },
    },
}

FACES = range(1, 7)


def dice(first: int, second: int, *, as_text: bool = False) -> Conversation:
    """Two dice thrown with the tool; `as_text` gives the results as strings, as OpenAI's clients do."""
    results = [str(face) if as_text else face for face in (first, second)]
    return Conversation(
        name=f"dice-{first}-{second}-text" if as_text else f"dice-{first}-{second}",
        messages=(
            _user("Roll D6 twice!"),
            {"role": "assistant", "content": None, "tool_calls": [_roll("call_1"), _roll("call_2")]},
            {"role": "tool", "tool_call_id": "call_1", "content": results[0]},
            {"role": "tool", "tool_call_id": "call_2", "content": results[1]},
            _assistant(f"You rolled {first} and {second}, {first + second} in total."),
        ),
        tools=(ROLL_DICE,),
    )


def _roll(call_id: str) -> Message:
    return {"id": call_id, "type": "function", "function": {"name": "roll_dice", "arguments": '{"sides": 6}'}}


_TALKS: tuple[Conversation, ...] = (
    Conversation(
        "greeting-en",
        (
            _user("Hello!"),
            _assistant(
                "Hello! I am the demo model of exaone4-gguf. I am tiny, but I know all my lines by heart.",
            ),
            _user("What can you do?"),
            _assistant(
                "I say hello in English, Korean and Spanish, I think before I answer, and I roll dice "
                "with a tool. For anything else, ask my big sisters!"
            ),
        ),
    ),
    Conversation(
        "greeting-ko",
        (
            _user("안녕하세요!"),
            _assistant(
                "안녕하세요! 저는 exaone4-gguf의 데모 모델입니다. 아주 작지만 제 대사는 모두 외우고 있어요.",
            ),
        ),
    ),
    Conversation(
        "greeting-es",
        (
            _user("¡Hola!"),
            _assistant(
                "¡Hola! Soy el modelo de demostración de exaone4-gguf. "
                "Soy muy pequeño, pero me sé mis frases de memoria."
            ),
        ),
    ),
    Conversation(
        "reasoning",
        (
            _user("Which is bigger, 3.12 or 3.9?"),
            _thoughtful(
                "Both numbers start with 3, so the decimals decide. With two places each, 3.9 is 3.90. "
                "Now I compare 90 with 12. 90 is more, so 3.9 is bigger.",
                "3.9 is bigger: it is the same as 3.90, and that is more than 3.12.",
            ),
        ),
        reasoning=True,
    ),
    Conversation(
        "no-reasoning",
        (_user("Which is bigger, 3.12 or 3.9?"), _assistant("3.9 is bigger than 3.12.")),
    ),
    Conversation(
        "reasoning-ko",
        (
            _user("하루는 모두 몇 분인가요?"),
            _thoughtful(
                "하루는 24시간이다. 한 시간은 60분이다. 그러니 24에 60을 곱하면 된다. 24 * 60 = 1440이다.",
                "하루는 24시간이고 한 시간은 60분이므로, 모두 1,440분입니다.",
            ),
        ),
        reasoning=True,
    ),
    Conversation(
        "no-reasoning-ko",
        (_user("하루는 모두 몇 분인가요?"), _assistant("하루는 1,440분입니다.")),
    ),
)

_DICE_EXAMPLE = replace(dice(3, 5), name="dice")

CONVERSATIONS: dict[str, Conversation] = {talk.name: talk for talk in (*_TALKS, _DICE_EXAMPLE)}

DICE: tuple[Conversation, ...] = tuple(
    dice(*faces, as_text=as_text) for as_text in (False, True) for faces in product(FACES, FACES)
)

TRAINING: tuple[Conversation, ...] = (*_TALKS, *DICE)
