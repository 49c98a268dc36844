"""Stock llama-server, run as a bundle runs it, answers OpenAI's own client as our server does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exaone4_gguf.converter.tokenizer.chat_template import for_llama_server
from exaone4_gguf.demo.conversations import CONVERSATIONS, ROLL_DICE, Conversation
from exaone4_gguf.edge.bundle import bundle
from exaone4_gguf.runtime.prompt.template import ChatTemplate
from tests.edge.asking import TALKS, as_llama_server_shows, asked, in_our_form, talked_through, without
from tests.edge.peers import free_port, get, program, serving
from tests.edge.test_bundle import programs
from tests.runtime.prompt.test_builder import turns
from tests.runtime.server.running import running

CASES = int(os.environ.get("EXAONE4_CASES", "60"))
GREETING, REASONED, DICE = CONVERSATIONS["greeting-en"], CONVERSATIONS["reasoning"], TALKS[-1]
ROLLING = replace(DICE, messages=DICE.messages[:2])
LIMIT = 40
"""Tokens of an answer to what the model was not taught, which it may never end."""


@pytest.fixture(scope="module")
def stock(demo_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bundle's own script, settings, template and file; only the program is this machine's."""
    native = program("llama-server")
    place = tmp_path_factory.mktemp("bundle")
    bundled = bundle(demo_gguf, place / "bundle", "rpi", llama_cpp=programs(place / "programs"))
    (bundled / "bin" / "native").mkdir()
    (bundled / "bin" / "native" / "llama-server").symlink_to(native)
    port = free_port()
    command: list[str | Path] = ["sh", bundled / "run", "serve", "--port", str(port)]
    with serving(command, port, BUILD="native", THREADS="1", CONTEXT="2048") as address:
        yield address


@pytest.fixture(scope="module")
def own(demo_gguf: Path) -> Iterator[str]:
    """Our server on the same file."""
    with running(demo_gguf) as server:
        yield server.url


def stock_with(template: Path, model: Path) -> Iterator[str]:
    """llama-server with another template."""
    port = free_port()
    options: list[str | Path] = ["--jinja", "--chat-template-file", template, "--reasoning", "off"]
    options += ["-c", "2048", "-t", "1", "-np", "1"]
    with serving([program("llama-server"), "-m", model, "--port", str(port), *options], port) as address:
        yield address


@pytest.fixture(scope="module")
def stock_published(published: Path, demo_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The bundled model with LG's template, changed: without tools the demo's prompts are the same."""
    template = tmp_path_factory.mktemp("template") / "published.jinja"
    template.write_text(for_llama_server((published / "chat_template.jinja").read_text()))
    yield from stock_with(template, demo_gguf)


@pytest.fixture(scope="module")
def own_published(published: Path, demo_gguf: Path) -> Iterator[str]:
    """Our server with LG's template as it is."""
    with running(demo_gguf, loading={"chat_template": (published / "chat_template.jinja").read_text()}) as server:
        yield server.url


def check_the_same(theirs: str, ours: str, talk: Conversation, stream: bool = False, **fields: Any) -> None:
    """Ask both servers for each turn of a conversation."""
    for turn in talk.turns():
        expected = asked(ours, as_llama_server_shows(turn.messages), talk, stream, **fields).facts
        assert in_our_form(asked(theirs, turn.messages, talk, stream, **fields)) == expected


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.name)
def test_every_message_is_that_of_our_server(stock: str, own: str, talk: Conversation, stream: bool) -> None:
    """Reasoning on and off, several calls, three languages: text, calls, why it ended, and tokens."""
    check_the_same(stock, own, talk, stream)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.name)
def test_so_is_every_message_of_a_loop(stock: str, own: str, talk: Conversation, stream: bool) -> None:
    """Each server's own messages go back to it, with the results of the calls that it made."""
    theirs = [in_our_form(answer) for answer in talked_through(stock, talk, stream)]
    shown = replace(talk, messages=as_llama_server_shows(talk.messages))
    assert theirs == [answer.facts for answer in talked_through(own, shown, stream)]
    assert len(theirs) == len(list(talk.turns()))
    # and with the very same results; what it says of numbers is what it says of their texts
    ours = [answer.facts for answer in talked_through(own, talk, stream)]
    assert [without(facts, "prompt_tokens") for facts in ours] == [without(facts, "prompt_tokens") for facts in theirs]


def said(*messages: tuple[str, Any], **options: Any) -> Conversation:
    """A conversation that waits for an answer."""
    told = [{"role": role, "content": content} for role, content in messages]
    return Conversation("said", (*told, {"role": "assistant", "content": ""}), **options)


HELLO, BIGGER, ROLL = "Hello!", "Which is bigger, 3.12 or 3.9?", "Roll D6 twice!"
UNTAUGHT = {
    "system": said(("system", "Be brief."), ("user", HELLO)),
    "system-ko": said(("system", "한국어로 짧게 답하세요."), ("user", "안녕하세요!")),
    "system-es": said(("system", "Responde en español, con ñ y ¿?"), ("user", "¡Hola!")),
    "system-and-tools": said(("system", "Be brief."), ("user", ROLL), tools=(ROLL_DICE,)),
    "system-and-thoughts": said(("system", "Be brief."), ("user", BIGGER), reasoning=True),
    "thoughts-and-tools": said(("user", ROLL), tools=(ROLL_DICE,), reasoning=True),
    "past-thoughts": said(
        ("user", BIGGER),
        ("assistant", REASONED.messages[1]["content"]),
        ("user", HELLO),
        reasoning=True,
    ),
    "parts": said(("user", [{"type": "text", "text": HELLO}])),
    "blanks": said(("user", "  a\n\n  b\t\t c  \n")),
    "an-empty-system": said(("system", ""), ("user", HELLO)),
    "two-users": said(("user", HELLO), ("user", BIGGER)),
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", UNTAUGHT)
def test_so_is_an_answer_to_what_the_model_was_not_taught(name: str, stock: str, own: str, stream: bool) -> None:
    check_the_same(stock, own, UNTAUGHT[name], stream, max_tokens=LIMIT)


FIELDS: dict[str, dict[str, Any]] = {
    "max_tokens": {"max_tokens": 5},
    "no limit": {"max_tokens": -1},
    "n_predict": {"max_tokens": 50, "extra_body": {"n_predict": 5}},
    "stop": {"stop": "model"},
    "stops": {"stop": ["nothing", "model", "bigger:"]},
    "no stop": {"stop": []},
    "seed": {"seed": -1},
    "auto": {"tool_choice": "auto"},
    "off": {"extra_body": {"top_k": -1, "top_p": 1.0, "min_p": 0.0, "repeat_penalty": 1.0}},
    "effort": {"reasoning_effort": "none"},
    "slots": {"extra_body": {"cache_prompt": True, "id_slot": -1, "timings_per_token": True, "return_progress": True}},
    "form": {"extra_body": {"reasoning_format": "auto", "samplers": ["temperature"], "thinking_budget_tokens": -1}},
    "nothing": {"stop": None, "seed": None, "logit_bias": {}, "n": 1, "response_format": {"type": "text"}},
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("talk", [GREETING, REASONED, DICE], ids=lambda talk: talk.name)
def test_fields_that_llama_servers_clients_send(field: str, talk: Conversation, stock: str, own: str) -> None:
    check_the_same(stock, own, talk, **FIELDS[field])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fields", [{"parallel_tool_calls": True}, {"tool_choice": "required"}], ids=str)
def test_fields_of_calls(fields: dict[str, Any], stock: str, own: str, stream: bool) -> None:
    check_the_same(stock, own, ROLLING, stream, **fields)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.name)
def test_the_published_template_too(stock_published: str, own_published: str, talk: Conversation, stream: bool) -> None:
    check_the_same(stock_published, own_published, talk, stream, max_tokens=LIMIT)


def test_one_call_at_most_is_for_our_server_alone(stock: str, own: str) -> None:
    """If this fails, llama.cpp has learnt it, and docs/edge.md may say so."""
    answers = [asked(server, ROLLING.messages[:1], ROLLING, parallel_tool_calls=False) for server in (stock, own)]
    assert [len(answer.facts["calls"]) for answer in answers] == [2, 1]


def test_a_required_call_comes_at_once_from_our_server_alone(stock: str, own: str) -> None:
    """After the results, when the model would rather say what they are."""
    required: dict[str, Any] = {"tool_choice": "required", "max_tokens": LIMIT}
    of_stock, of_own = (asked(server, DICE.messages[:4], DICE, **required).facts for server in (stock, own))
    assert of_stock["content"]
    assert (of_own["content"], of_own["calls"][0][0]) == (None, "roll_dice")


def test_typed_markers_are_text_for_our_server_alone(stock: str, own: str) -> None:
    """The same again: three tokens, where our server has their letters."""
    plain, typed = ([{"role": "user", "content": text}] for text in ("Hello!", "Hello!" + "[|endofturn|]" * 3))
    of_stock, of_own = (
        [asked(server, messages, GREETING, max_tokens=1).facts["prompt_tokens"] for messages in (plain, typed)]
        for server in (stock, own)
    )
    assert of_stock[0] == of_own[0]
    assert of_stock[1] == of_stock[0] + 3
    assert of_own[1] > of_own[0] + 3


def test_results_are_shown_as_texts_by_llama_server(stock: str, own: str) -> None:
    """If this fails, it has learnt that as well."""
    shown = [get(f"{server}/apply-template", {"messages": DICE.messages[:4]})["prompt"] for server in (stock, own)]
    assert ['{"result": "2"}' in prompt for prompt in shown] == [True, False]
    assert shown[1] == shown[0].replace('"2"', "2")


def test_the_template_as_published_leaves_the_thoughts_in_the_answer(published: Path, demo_gguf: Path) -> None:
    """Why it is changed; if this fails, llama.cpp has learnt it, and the change may go."""
    for address in stock_with(published / "chat_template.jinja", demo_gguf):
        facts = asked(address, REASONED.messages[:1], REASONED).facts
        assert facts["reasoning"] is None
        assert "</think>" in str(facts["content"])


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
    address = request.getfixturevalue("stock" if which == "demo" else "stock_published")
    body = {"messages": [*(sent for sent, _ in chat), ending], "chat_template_kwargs": {"enable_thinking": thinking}}
    rendered = get(f"{address}/apply-template", body | ({"tools": tools} if tools else {}))["prompt"]
    template = ChatTemplate((folder / "chat_template.jinja").read_text())
    assert rendered == template.render([*(known for _, known in chat), ending], tools, enable_thinking=thinking)


def test_the_template_as_published_loses_the_system_turn(published: Path, demo_gguf: Path) -> None:
    """Why it is changed, as well."""
    said = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello!"}]
    for address in stock_with(published / "chat_template.jinja", demo_gguf):
        prompt = get(f"{address}/apply-template", {"messages": said, "tools": [ROLL_DICE]})["prompt"]
        assert "Be brief." not in prompt
        assert "roll_dice" not in prompt
