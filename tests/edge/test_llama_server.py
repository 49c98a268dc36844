"""Stock llama-server with the changed template says what the runtime says, to OpenAI's own client."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exaone4_gguf.converter.chat_template import for_llama_server
from exaone4_gguf.demo.conversations import CONVERSATIONS, ROLL_DICE, Conversation, dice
from exaone4_gguf.runtime.chat import Exaone4
from exaone4_gguf.runtime.template import ChatTemplate
from tests.edge.peers import free_port, get, program, serving
from tests.runtime.test_prompt import turns

CASES = int(os.environ.get("EXAONE4_CASES", "60"))
# llama-server takes results as text alone
TALKS = [talk for talk in CONVERSATIONS.values() if talk.name != "dice"] + [dice(2, 2, as_text=True)]
REASONED = CONVERSATIONS["reasoning"]


def server(template: Path, model: Path) -> Iterator[str]:
    port = free_port()
    options: list[str | Path] = [
        "--jinja",
        "--chat-template-file",
        template,
        "-c",
        "2048",
        "-t",
        "1",
        "-np",
        "1",
        "--reasoning",
        "off",
    ]
    with serving([program("llama-server"), "-m", model, "--port", str(port), *options], port) as address:
        yield address


@pytest.fixture(scope="module")
def changed(demo: Path, demo_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bundled model with the changed template."""
    template = tmp_path_factory.mktemp("template") / "changed.jinja"
    template.write_text(for_llama_server((demo / "chat_template.jinja").read_text()))
    yield from server(template, demo_gguf)


@pytest.fixture(scope="module")
def changed_published(published: Path, demo_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bundled model with LG's template, changed: without tools the demo's prompts are the same."""
    template = tmp_path_factory.mktemp("template") / "published.jinja"
    template.write_text(for_llama_server((published / "chat_template.jinja").read_text()))
    yield from server(template, demo_gguf)


def asked(address: str, messages: Any, talk: Conversation, stream: bool = False, **options: Any) -> dict[str, Any]:
    """The assistant's message."""
    openai = pytest.importorskip("openai")
    client = openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0)
    extra = {"chat_template_kwargs": {"enable_thinking": talk.reasoning}}
    answer = client.chat.completions.create(
        model="any",
        messages=[dict(m) for m in messages],
        tools=list(talk.tools) or openai.NOT_GIVEN,
        temperature=0,
        stream=stream,
        extra_body=extra,
        **options,
    )
    message = joined(answer) if stream else answer.choices[0].message.to_dict()
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    # llama.cpp leaves the newline before the closing tag in the thoughts (until(trim(end)), analyze_reasoning)
    thought = message.get("reasoning_content")
    return {"content": message["content"] or None, "reasoning": thought and thought.rstrip("\n"), "calls": calls}


def joined(chunks: Any) -> dict[str, Any]:
    """The message that a stream tells, piece by piece."""
    message: dict[str, Any] = {"content": "", "reasoning_content": "", "tool_calls": []}
    for chunk in chunks:
        delta = chunk.choices[0].delta.to_dict() if chunk.choices else {}
        for name in ("content", "reasoning_content"):
            message[name] += delta.get(name) or ""
        for call in delta.get("tool_calls") or ():
            if call["index"] == len(message["tool_calls"]):
                message["tool_calls"].append({"function": {"name": call["function"]["name"], "arguments": ""}})
            message["tool_calls"][call["index"]]["function"]["arguments"] += call["function"].get("arguments", "")
    return message | {"reasoning_content": message["reasoning_content"] or None}


def ours(model: Exaone4, messages: Any, talk: Conversation) -> dict[str, Any]:
    reply = model.chat(messages, talk.tools, reasoning=talk.reasoning, preset="greedy")
    calls = [{"name": call.name, "arguments": call.arguments} for call in reply.tool_calls]
    return {"content": reply.content, "reasoning": reply.reasoning_content, "calls": calls}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.name)
def test_every_message_is_that_of_the_runtime(changed: str, talker: Exaone4, talk: Conversation, stream: bool) -> None:
    """Reasoning on and off, several tool calls, and the turn after their results."""
    for turn in talk.turns():
        assert asked(changed, turn.messages, talk, stream) == ours(talker, turn.messages, talk)


@pytest.mark.parametrize("name", ["reasoning", "no-reasoning", "reasoning-ko", "greeting-es"])
def test_the_published_template_too(changed_published: str, talker: Exaone4, name: str) -> None:
    for turn in CONVERSATIONS[name].turns():
        expected = ours(talker, turn.messages, CONVERSATIONS[name])
        assert asked(changed_published, turn.messages, CONVERSATIONS[name]) == expected


def test_the_template_as_published_leaves_the_thoughts_in_the_answer(published: Path, demo_gguf: Path) -> None:
    """Why it is changed; if this fails, llama.cpp has learnt it, and the change may go."""
    for address in server(published / "chat_template.jinja", demo_gguf):
        message = asked(address, REASONED.messages[:1], REASONED)
        assert message["reasoning"] is None
        assert "</think>" in str(message["content"])


def as_sent(turn: dict[str, Any], known: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A message as a client sends it, and as the template gets it: results stay text, arguments become values."""
    return turn, known | {"content": turn["content"]}


def has_fraction(value: Any) -> bool:
    """llama.cpp prints 1.0 as 1, and large numbers its own way."""
    if isinstance(value, dict | list):
        return any(map(has_fraction, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) or (isinstance(value, int) and abs(value) >= 1 << 63)


SENT = st.lists(
    turns().filter(lambda pair: not has_fraction(pair[1])).map(lambda pair: as_sent(*pair)), min_size=1, max_size=5
)
ENDING = st.sampled_from([{"role": "user", "content": "끝 {{ x }}"}, {"role": "tool", "content": '{"a": "é"}'}])


@pytest.mark.parametrize("which", ["demo", "published"])
@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
@given(chat=SENT, ending=ENDING, tools=st.sampled_from([None, [ROLL_DICE]]), thinking=st.booleans())
def test_prompts_are_those_of_the_template(
    which: str, request: pytest.FixtureRequest, chat: Any, ending: Any, tools: Any, thinking: bool
) -> None:
    """llama.cpp's own Jinja prints the changed template as Jinja prints the published one."""
    folder: Path = request.getfixturevalue(which)
    address = request.getfixturevalue("changed" if which == "demo" else "changed_published")
    body = {"messages": [*(sent for sent, _ in chat), ending], "chat_template_kwargs": {"enable_thinking": thinking}}
    rendered = get(f"{address}/apply-template", body | ({"tools": tools} if tools else {}))["prompt"]
    template = ChatTemplate((folder / "chat_template.jinja").read_text())
    assert rendered == template.render([*(known for _, known in chat), ending], tools, enable_thinking=thinking)


def test_the_template_as_published_loses_the_system_turn(published: Path, demo_gguf: Path) -> None:
    """Why it is changed, as well."""
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]
    for address in server(published / "chat_template.jinja", demo_gguf):
        prompt = get(f"{address}/apply-template", {"messages": said, "tools": [ROLL_DICE]})["prompt"]
        assert "Be brief." not in prompt
        assert "roll_dice" not in prompt
