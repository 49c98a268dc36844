"""OpenAI's own client, asking any server in the same way, once or through a whole conversation.

What llama-server does otherwise than we do, all of it in llama.cpp:

- ``reasoning_content`` keeps the blanks around the thoughts, a newline at the end: ``in_our_form`` takes them off.
- A tool's result that is JSON text is shown to the model as a text, ``"3"`` and not ``3``, so that the prompt has other
  tokens: ``as_llama_server_shows`` gives us results which we show so as well.
- ``parallel_tool_calls: false`` does not keep a second call away, and ``tool_choice: required`` allows any text before
  the call.
- A marker that a user types is a marker, which may end the turn.
- A text to stop at is looked for in calls as well.
- The parts of a message are joined with newlines, by us with nothing.
- A number like ``2.0`` in a past call becomes ``2``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from exaone4_gguf.demo.conversations import CONVERSATIONS, Conversation, Message, dice
from exaone4_gguf.runtime.exaone4 import Exaone4

# llama-server takes results as text alone, which is what OpenAI's clients send.
TALKS = [talk for talk in CONVERSATIONS.values() if talk.name != "dice"] + [dice(2, 2, as_text=True)]

Facts = dict[str, Any]
"""What of an answer is to be the same everywhere; ids are not."""


@dataclass(frozen=True)
class Answer:
    """The assistant's message as it came, and the facts of it."""

    message: Message
    facts: Facts


def asked(address: str, messages: Sequence[Message], talk: Conversation, stream: bool = False, **fields: Any) -> Answer:
    """The answer of a server, greedily, with the tools and the reasoning of a conversation."""
    openai = pytest.importorskip("openai")
    extra = {"chat_template_kwargs": {"enable_thinking": talk.reasoning}, **fields.pop("extra_body", {})}
    request = {"model": "any", "messages": [dict(m) for m in messages], "temperature": 0, "extra_body": extra, **fields}
    if talk.tools:
        request["tools"] = list(talk.tools)
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as client:
        if not stream:
            return _answer(client.chat.completions.create(**request))
        with client.chat.completions.stream(**request, stream_options={"include_usage": True}) as streamed:
            try:
                return _answer(streamed.get_final_completion())
            except openai.LengthFinishReasonError as e:
                return _answer(e.completion)


def _answer(completion: Any) -> Answer:
    (choice,) = completion.choices
    message = choice.message.to_dict()
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    facts = {
        "content": message.get("content") or None,
        "reasoning": message.get("reasoning_content") or None,
        "calls": [(call["name"], call["arguments"]) for call in calls],
        "finish_reason": choice.finish_reason,
        "prompt_tokens": completion.usage.prompt_tokens,
        "completion_tokens": completion.usage.completion_tokens,
    }
    return Answer(message, facts)


def talked_through(address: str, talk: Conversation, stream: bool = False, **fields: Any) -> list[Answer]:
    """Every answer of a conversation in which the server's own messages go back to it, as they came.

    A tool's results are those of the conversation, under the ids that the server gave to its calls.
    """
    messages: list[Message] = []
    answers: list[Answer] = []
    waiting: list[str] = []
    for message in talk.messages:
        if message["role"] == "assistant":
            assert not waiting, "a call has no result"
            answers.append(asked(address, messages, talk, stream, **fields))
            messages.append(answers[-1].message)
            waiting = [call["id"] for call in answers[-1].message.get("tool_calls") or ()]
        elif message["role"] == "tool":
            messages.append({**message, "tool_call_id": waiting.pop(0)})
        else:
            messages.append(message)
    return answers


def of_the_runtime(model: Exaone4, messages: Sequence[Message], talk: Conversation) -> Facts:
    """What the runtime answers, without a server."""
    reply = model.chat(messages, talk.tools, reasoning=talk.reasoning, preset="greedy")
    return {
        "content": reply.content,
        "reasoning": reply.reasoning_content,
        "calls": [(call.name, call.arguments) for call in reply.tool_calls],
        "finish_reason": reply.finish_reason,
        "prompt_tokens": reply.usage.prompt_tokens,
        "completion_tokens": reply.usage.completion_tokens,
    }


def in_our_form(answer: Answer) -> Facts:
    """The facts of llama-server's answer as ours would be."""
    thought = answer.facts["reasoning"]
    return answer.facts | {"reasoning": thought and thought.strip()}


def as_llama_server_shows(messages: Sequence[Message]) -> list[Message]:
    """The messages with results which we show to the model as llama-server shows the given ones."""
    return [{**m, "content": json.dumps(m["content"])} if m["role"] == "tool" else m for m in messages]


def without(facts: Mapping[str, Any], name: str) -> Facts:
    """All facts but one."""
    return {key: value for key, value in facts.items() if key != name}
