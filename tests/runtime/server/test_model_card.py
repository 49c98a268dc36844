"""The examples of EXAONE 4.0's model card, as they stand there, in Python and through the server.

The bundled model answers. It knows other lines by heart, so that what it says is not looked at: whether the prompt
holds what was given is, and whether a call is one of the tool that is offered.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.server.serve import Server
from tests.runtime.tools.test_tool import CARD

# The questions are those of https://huggingface.co/LGAI-EXAONE/EXAONE-4.0-1.2B, as is the tool.
TOOL: Any = CARD
QUESTIONS = ("Explain how wonderful you are", "Explica lo increíble que eres", "너가 얼마나 대단한지 설명해 봐")
THINKING = "Which one is bigger, 3.12 vs 3.9?"
DICE = "Roll D6 twice!"


def user(text: str) -> Any:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def arguments_of(reply: Any) -> list[dict[str, Any]]:
    return [json.loads(getattr(call, "function", call).arguments) for call in reply.tool_calls]


@pytest.mark.parametrize("text", QUESTIONS)
def test_a_question(text: str, talker: Exaone4, client: openai.OpenAI) -> None:
    assert f"[|user|]\n{text}[|endofturn|]" in talker.prompt(user(text)).text
    assert talker.chat(user(text), temperature=0, max_tokens=60).content
    answer = client.chat.completions.create(model="any", messages=user(text), temperature=0, max_tokens=60)
    assert answer.choices[0].message.content


def test_a_question_with_thoughts(talker: Exaone4, client: openai.OpenAI) -> None:
    reply = talker.chat(user(THINKING), reasoning=True, temperature=0.6, top_p=0.95, seed=1, max_tokens=200)
    assert reply.reasoning_content
    body = {"chat_template_kwargs": {"enable_thinking": True}}
    answer = client.chat.completions.create(
        model="any", messages=user(THINKING), temperature=0.6, top_p=0.95, seed=1, max_tokens=200, extra_body=body
    )
    assert answer.choices[0].message.model_extra["reasoning_content"] == reply.reasoning_content  # type: ignore[index]


def test_the_prompt_shows_the_tool_letter_by_letter(talker: Exaone4) -> None:
    assert f"<tool>{json.dumps(TOOL, ensure_ascii=False)}</tool>" in talker.prompt(user(DICE), [TOOL]).text


def test_a_tool(talker: Exaone4, client: openai.OpenAI) -> None:
    """Whether the model calls it is its own affair; where it must, the call is held to the type that is meant."""
    asked: Any = {"model": "any", "messages": user(DICE), "tools": [TOOL], "temperature": 0, "max_tokens": 200}
    assert talker.chat(user(DICE), [TOOL], temperature=0, max_tokens=200).finish_reason
    assert client.chat.completions.create(**asked).choices[0].finish_reason
    for seed in range(3):
        reply = talker.chat(user(DICE), [TOOL], tool_choice="required", temperature=1.5, seed=seed, max_tokens=200)
        asked |= {"tool_choice": "required", "temperature": 1.5, "seed": seed}
        message = client.chat.completions.create(**asked).choices[0].message
        assert arguments_of(message) == arguments_of(reply)
        assert all(isinstance(made["max_num"], int) and len(made) == 1 for made in arguments_of(reply))
        assert reply.tool_calls
