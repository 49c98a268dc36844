"""OpenAI's own Python client against the server: everything that it can ask for."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel

from exaone4_gguf.demo.conversations import CONVERSATIONS, ROLL_DICE
from exaone4_gguf.runtime.server.serve import Server
from tests.dictation import dictating
from tests.runtime.server.running import post, running

HELLO: Any = [{"role": "user", "content": "Hello!"}]
DICE: Any = [{"role": "user", "content": "Roll D6 twice!"}]
BIGGER: Any = [{"role": "user", "content": "Which is bigger, 3.12 or 3.9?"}]
TOOLS: Any = [ROLL_DICE]
GREETING = CONVERSATIONS["greeting-en"].messages[1]["content"]
THOUGHT, ANSWER = (CONVERSATIONS["reasoning"].messages[1][key] for key in ("reasoning_content", "content"))
THINKING = {"chat_template_kwargs": {"enable_thinking": True}}


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def ask(client: Any) -> Any:
    """Greedy answers."""
    return lambda messages, **fields: client.chat.completions.create(
        model="any", messages=messages, **{"temperature": 0, **fields}
    )


def test_chat(ask: Any) -> None:
    answer = ask(HELLO)
    assert answer.object == "chat.completion"
    assert (answer.choices[0].message.role, answer.choices[0].message.content) == ("assistant", GREETING)
    assert answer.choices[0].finish_reason == "stop"
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert usage.completion_tokens_details.reasoning_tokens == 0


def test_a_conversation_keeps_its_cache(ask: Any) -> None:
    talk = [dict(message) for message in CONVERSATIONS["greeting-en"].messages]
    first = ask(talk[:1])
    second = ask(talk[:3])
    assert second.choices[0].message.content == talk[3]["content"]
    assert second.usage.prompt_tokens_details.cached_tokens > first.usage.prompt_tokens - 3
    timings = second.model_extra["timings"]
    assert timings["cache_n"] + timings["prompt_n"] == second.usage.prompt_tokens
    assert timings["predicted_n"] == second.usage.completion_tokens
    assert timings["predicted_per_second"] > 0
    assert "draft_n" not in timings


def test_a_stream(ask: Any) -> None:
    chunks = list(ask(HELLO, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == GREETING
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices[0].finish_reason] == ["stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert len(chunks) > 10
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_with_its_usage(ask: Any) -> None:
    *chunks, last = ask(HELLO, stream=True, stream_options={"include_usage": True})
    assert last.choices == []
    assert last.usage.completion_tokens == 27
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)


def test_reasoning(ask: Any) -> None:
    message = ask(BIGGER, extra_body=THINKING).choices[0].message
    assert (message.reasoning_content, message.content) == (THOUGHT, ANSWER)
    assert not hasattr(message, "reasoning")  # clients that read both names show thoughts twice
    without = ask(BIGGER)
    assert "reasoning_content" not in without.choices[0].message.model_extra
    assert without.choices[0].message.content == "3.9 is bigger than 3.12."


@pytest.mark.parametrize(
    ("fields", "thinks"),
    [
        ({"reasoning_effort": "high"}, True),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "none", "extra_body": THINKING}, True),
        ({"reasoning_effort": "high", "extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}, False),
        ({"extra_body": {"reasoning": True}}, True),
        ({"extra_body": {"reasoning": {"effort": "low"}}}, True),
        ({"extra_body": {"reasoning": {"enabled": False}}}, False),
        ({"extra_body": {"reasoning_budget": 0}}, False),
        ({"extra_body": {**THINKING, "reasoning_budget": 0}}, False),
        ({"extra_body": {**THINKING, "thinking_budget_tokens": 0}}, False),
        ({"extra_body": {"enable_thinking": True}}, True),
        ({"extra_body": {"enable_thinking": False, "thinking": True}}, False),
        ({"extra_body": {**THINKING, "enable_thinking": False}}, True),
        ({"extra_body": {"thinking": True}}, True),
        ({"extra_body": {"thinking": {"type": "enabled", "budget_tokens": 2000}}}, True),
        ({"extra_body": {"thinking": {"type": "disabled"}}, "reasoning_effort": "high"}, False),
        ({"extra_body": {"think": True}}, True),
        ({"extra_body": {"think": "low"}}, True),
        ({"extra_body": {"think": False}, "reasoning_effort": "high"}, False),
        ({"extra_body": {**THINKING, "thinking_budget": 0}}, False),
        ({"extra_body": {"thinking_token_budget": 100}}, True),
    ],
)
def test_every_way_to_say_whether_to_think(ask: Any, fields: dict[str, Any], thinks: bool) -> None:
    usage = ask(BIGGER, **fields).usage
    assert (usage.completion_tokens_details.reasoning_tokens > 0) is thinks


def test_a_budget_of_thought(ask: Any) -> None:
    """It is closed at the next end of a sentence."""
    free = ask(BIGGER, extra_body=THINKING).usage.completion_tokens_details.reasoning_tokens
    for extra in ({**THINKING, "reasoning_budget": 5}, {**THINKING, "reasoning_budget_tokens": 5}):
        usage = ask(BIGGER, extra_body=extra, max_tokens=60).usage
        assert 5 <= usage.completion_tokens_details.reasoning_tokens < free


def test_streamed_reasoning_comes_before_the_answer(ask: Any) -> None:
    deltas = [chunk.choices[0].delta for chunk in ask(BIGGER, stream=True, extra_body=THINKING)]
    thoughts = [(delta.model_extra or {}).get("reasoning_content") or "" for delta in deltas]
    assert "".join(thoughts) == THOUGHT
    assert "".join(delta.content or "" for delta in deltas) == ANSWER
    first_answer = next(i for i, delta in enumerate(deltas) if delta.content)
    assert not any(thoughts[first_answer:])


def called(message: Any) -> list[tuple[str, str]]:
    return [(call.function.name, call.function.arguments) for call in message.tool_calls or ()]


def test_a_tool_loop(ask: Any) -> None:
    """What the client gives goes back as it is."""
    answer = ask(DICE, tools=TOOLS)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls"
    assert called(message) == [("roll_dice", '{"sides": 6}')] * 2
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": str(face)}
        for call, face in zip(message.tool_calls, (3, 5), strict=True)
    ]
    final = ask([*DICE, message, *results[::-1]], tools=TOOLS)
    assert final.choices[0].message.content == "You rolled 3 and 5, 8 in total."


def test_streamed_calls_name_themselves_once_and_then_give_arguments(ask: Any) -> None:
    chunks = list(ask(DICE, tools=TOOLS, stream=True))
    pieces = [piece for chunk in chunks for piece in chunk.choices[0].delta.tool_calls or ()]
    for index in (0, 1):
        first, *rest = [piece for piece in pieces if piece.index == index]
        assert (first.type, first.function.name) == ("function", "roll_dice")
        assert first.id.startswith("call_")
        assert all(piece.id is None and piece.function.name is None for piece in rest)
        assert len(rest) > 1
        assert "".join(piece.function.arguments for piece in (first, *rest)) == '{"sides": 6}'
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_the_clients_own_helper_for_streams(client: Any) -> None:
    with client.chat.completions.stream(model="any", messages=DICE, tools=TOOLS, temperature=0) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_completion()
    assert kinds.count("tool_calls.function.arguments.done") == 2
    assert called(final.choices[0].message) == [("roll_dice", '{"sides": 6}')] * 2


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "roll_dice"}}])
def test_a_call_that_must_come(ask: Any, choice: Any) -> None:
    """To a greeting, which the model would answer in words."""
    answer = ask(HELLO, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False, max_tokens=200)
    assert [name for name, _ in called(answer.choices[0].message)] == ["roll_dice"]
    assert answer.choices[0].finish_reason == "tool_calls"


def test_no_call_may_come(ask: Any) -> None:
    assert called(ask(DICE, tools=TOOLS, tool_choice="none", max_tokens=30).choices[0].message) == []


def test_at_most_one_call(ask: Any) -> None:
    answer = ask(DICE, tools=TOOLS, parallel_tool_calls=False)
    assert called(answer.choices[0].message) == [("roll_dice", '{"sides": 6}')]


def test_a_strict_tool_is_held_to_its_schema(ask: Any) -> None:
    sides = {"type": "object", "properties": {"sides": {"enum": [20]}}, "required": ["sides"]}
    strict = {"type": "function", "function": {**ROLL_DICE["function"], "parameters": sides, "strict": True}}
    message = ask(DICE, tools=[strict], max_tokens=200).choices[0].message
    assert {arguments for _, arguments in called(message)} == {'{"sides": 20}'}


class Verdict(BaseModel):
    bigger: bool
    which: Literal["3.9", "3.12"]


def test_json_by_schema(client: Any) -> None:
    answer = client.chat.completions.parse(model="any", messages=BIGGER, response_format=Verdict, temperature=0)
    assert isinstance(answer.choices[0].message.parsed, Verdict)
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("form", ["json_schema", "response_format"])
def test_json_in_the_forms_of_llama_server(ask: Any, form: str) -> None:
    schema = {"type": "object", "properties": {"bigger": {"const": 3.9}}, "required": ["bigger"]}
    extra = {"json_schema": schema, "response_format": {"type": "json_object", "schema": schema}}[form]
    assert ask(BIGGER, extra_body={form: extra}).choices[0].message.content == '{"bigger": 3.9}'


def test_any_json(ask: Any) -> None:
    answer = ask(HELLO, response_format={"type": "json_object"}, max_tokens=5)
    assert answer.choices[0].message.content.startswith("{")


def test_logprobs(ask: Any) -> None:
    choice = ask(HELLO, logprobs=True, top_logprobs=3).choices[0]
    tokens = choice.logprobs.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode() == GREETING
    for token in tokens:
        best = token.top_logprobs
        assert len(best) == 3
        assert (best[0].token, best[0].logprob) == (token.token, token.logprob)
        assert [other.logprob for other in best] == sorted((other.logprob for other in best), reverse=True)
        assert sum(math.exp(other.logprob) for other in best) <= 1 + 1e-6


def test_streamed_logprobs_are_those_of_the_whole_answer(ask: Any) -> None:
    whole = ask(BIGGER, logprobs=True, extra_body=THINKING).choices[0].logprobs.content
    chunks = ask(BIGGER, logprobs=True, stream=True, extra_body=THINKING)
    streamed = [t for c in chunks if c.choices[0].logprobs for t in c.choices[0].logprobs.content]
    assert [token.token for token in streamed] == [token.token for token in whole]
    assert b"".join(bytes(token.bytes) for token in whole).decode().strip() == ANSWER
    assert whole[0].top_logprobs == []


def test_several_answers(ask: Any) -> None:
    answer = ask(HELLO, n=3, temperature=2, seed=5, max_tokens=8, extra_body={"top_k": 0})
    contents = [choice.message.content for choice in answer.choices]
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len(set(contents)) == 3
    assert answer.usage.completion_tokens <= 24
    again = ask(HELLO, n=3, temperature=2, seed=5, max_tokens=8, extra_body={"top_k": -1}, stream=True)
    streamed = ["", "", ""]
    for chunk in again:
        streamed[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert streamed == contents


def test_a_seed_repeats(ask: Any) -> None:
    one, two, other = (ask(HELLO, temperature=2, seed=seed, max_tokens=20).choices[0] for seed in (1, 1, 2))
    assert one.message.content == two.message.content != other.message.content


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n_predict"])
def test_a_limit(ask: Any, name: str) -> None:
    answer = ask(HELLO, extra_body={name: 3})
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 3)


def test_a_stop_string(ask: Any) -> None:
    for stop in ("model", ["nothing", "model"]):
        choice = ask(HELLO, stop=stop).choices[0]
        assert (choice.message.content, choice.finish_reason) == ("Hello! I am the demo ", "stop")


def test_penalties_change_the_answer(ask: Any) -> None:
    for name in ("presence_penalty", "frequency_penalty"):
        assert ask(HELLO, **{name: 50}, max_tokens=40).choices[0].message.content != GREETING
    for name in ("repeat_penalty", "repetition_penalty"):
        assert ask(HELLO, max_tokens=40, extra_body={name: 50}).choices[0].message.content != GREETING


def test_unknown_fields_are_ignored(ask: Any) -> None:
    answer = ask(HELLO, user="me", store=True, metadata={"a": "b"}, extra_body={"no_such_field": [1]})
    assert answer.choices[0].message.content == GREETING


def test_plain_completions(client: Any, server: Server) -> None:
    model = server.service.engine.model
    prompt = model.prompt(HELLO)
    for given in (list(prompt.ids), prompt.text):
        extra = {} if isinstance(given, list) else {"parse_special": True}
        answer = client.completions.create(model="any", prompt=given, temperature=0, max_tokens=100, extra_body=extra)
        assert (answer.choices[0].text, answer.choices[0].finish_reason) == (GREETING, "stop")
    chunks = list(
        client.completions.create(model="any", prompt=list(prompt.ids), temperature=0, max_tokens=100, stream=True)
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == GREETING
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_text_prompt_is_text(client: Any, server: Server) -> None:
    """A marker in it is no control token, unless asked for; either way the tokens are told."""
    prompt, model = "Hi[|endofturn|]", server.service.engine.model
    plain = client.completions.create(model="any", prompt=prompt, max_tokens=1)
    special = client.completions.create(model="any", prompt=prompt, max_tokens=1, extra_body={"parse_special": True})
    assert special.usage.prompt_tokens == len(model.model.tokenize(prompt))
    assert plain.usage.prompt_tokens > special.usage.prompt_tokens


def test_several_prompts_with_echo_and_several_answers(client: Any) -> None:
    answer = client.completions.create(model="any", prompt=["one", "two"], n=2, echo=True, max_tokens=2, seed=1)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert [choice.text[:3] for choice in answer.choices] == ["one", "one", "two", "two"]
    assert answer.usage.completion_tokens == 8


def test_logprobs_of_plain_completions(client: Any) -> None:
    told = client.completions.create(model="any", prompt="one", max_tokens=4, logprobs=2, temperature=0).choices[0]
    assert len(told.logprobs.tokens) == len(told.logprobs.token_logprobs) == len(told.logprobs.text_offset) == 4
    assert all(len(best) == 2 for best in told.logprobs.top_logprobs)
    assert told.logprobs.text_offset[1] == len(told.logprobs.tokens[0])


def test_models(client: Any) -> None:
    (model,) = client.models.list().data
    assert model.id == "demo"
    assert client.models.retrieve("demo") == model
    with pytest.raises(openai.NotFoundError, match="there is no model 'other'"):
        client.models.retrieve("other")


@pytest.mark.parametrize(
    ("fields", "param", "code", "message"),
    [
        ({"temperature": -1}, "temperature", "invalid_value", "must be a number from 0 to 100"),
        ({"temperature": "hot"}, "temperature", "invalid_type", "valid number"),
        ({"messages": []}, "messages", "invalid_value", "the list is empty"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_value", "is missing"),
        ({"messages": [{"role": "nobody", "content": ""}]}, "messages[0].role", "invalid_value", "is none of"),
        ({"messages": [{"role": "user", "content": "a " * 4000}]}, "messages", "context_length_exceeded", "tokens"),
        ({"tools": [{"type": "function"}]}, None, "invalid_value", "tool's name"),
        ({"tool_choice": "required"}, "tool_choice", "invalid_value", "no tools are offered"),
        ({"n": 1000}, "n", "invalid_type", "less than or equal to 128"),
        ({"top_logprobs": 3}, "top_logprobs", "unsupported_parameter", "needs logprobs"),
        ({"logit_bias": {"1": 5}}, "logit_bias", "unsupported_parameter", "not supported"),
        ({"extra_body": {"grammar": "root ::= [a-z]"}}, "grammar", "unsupported_parameter", "use response_format"),
        ({"response_format": {"type": "json_object", "schema": [1]}}, "response_format", "invalid_value", "must be"),
        ({"functions": [{"name": "f"}]}, "functions", "unsupported_parameter", "use tools"),
        ({"reasoning_effort": "wild"}, "reasoning_effort", "invalid_value", "one of: none"),
        ({"response_format": {"type": "xml"}}, "response_format", "invalid_value", "must be json_object"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value", "from 1"),
        ({"extra_body": {"enable_thinking": "yes"}}, "enable_thinking", "invalid_type", "valid boolean"),
        ({"extra_body": {"thinking": {"type": "adaptive"}}}, "thinking", "invalid_type", "'enabled' or 'disabled'"),
        ({"extra_body": {"think": "wild"}}, "reasoning_effort", "invalid_value", "one of: none"),
        ({"extra_body": {"reasoning": {"exclude": True}}}, "reasoning.exclude", "unsupported_parameter", "thoughts"),
        ({"extra_body": {"reasoning": {"type": "enabled"}}}, "reasoning.type", "unsupported_parameter", "use enabled"),
        ({"stop": [""]}, "stop", "invalid_value", "list of texts"),
    ],
)
def test_wrong_requests(ask: Any, fields: Any, param: str | None, code: str, message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message) as caught:
        ask(**{"messages": HELLO, **fields})
    error = caught.value
    assert (error.status_code, error.param, error.code, error.type) == (400, param, code, "invalid_request_error")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": ""}, "the prompt is empty"),
        ({"prompt": [1, 10**6]}, "from 0 to 703"),
        ({"prompt": [-1]}, "from 0 to 703"),
        ({"prompt": []}, "prompt: "),
        ({"prompt": "a", "suffix": "b"}, "suffix is not supported"),
        ({"prompt": "a", "best_of": 3}, "best_of is not supported"),
        ({"prompt": "a", "echo": True, "logprobs": 1}, "not supported together with logprobs"),
        ({"prompt": "a " * 4000}, "more than the context"),
    ],
)
def test_wrong_completions(client: Any, fields: Any, message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        client.completions.create(model="any", **fields)


LONG = "a " * 4000
TOO_LONG = re.compile(
    r"This model's maximum context length is (\d+) tokens. However, your (\w+) resulted in (\d+) tokens"
)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        ("/v1/chat/completions", "messages", [{"role": "user", "content": LONG}]),
        ("/v1/completions", "prompt", LONG),
        ("/v1/completions", "prompt", ["short", LONG]),
        ("/v1/completions", "prompt", [5] * 2048),
        ("/v1/embeddings", "input", LONG),
        ("/v1/embeddings", "input", ["short", LONG]),
    ],
)
def test_what_is_too_long_is_told_in_openais_words(
    server: Server, path: str, field: str, value: Any, stream: bool
) -> None:
    """Agents look for these words, and shorten what they send by the numbers."""
    answer = post(server, path, {field: value, "stream": stream})
    error = answer.error
    assert (answer.status, error["code"], error["param"]) == (400, "context_length_exceeded", field)
    found = TOO_LONG.match(error["message"])
    assert found
    assert (int(found[1]), found[2]) == (server.service.engine.model.n_ctx, field)
    assert int(found[3]) >= int(found[1])


def test_keys(demo_gguf: Path) -> None:
    with running(demo_gguf, api_keys=("one", "other")) as server:
        for key, right in (("one", True), ("other", True), ("on", False), ("onee", False)):
            with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
                if right:
                    assert client.models.list().data
                else:
                    with pytest.raises(openai.AuthenticationError, match="missing or wrong"):
                        client.models.list()


ROLL = '<tool_call>{"name": "roll_dice", "arguments": {"sides": 6}}</tool_call>'


@pytest.mark.parametrize("last", ["Three.", ROLL])
@pytest.mark.parametrize("include", [None, True, False])
def test_thoughts_that_go_on(ask: Any, last: str, include: bool | None) -> None:
    """The last chunk of a stream tells what the whole answer has, where the deltas do not."""
    extra = {**THINKING, "include_reasoning": include}
    with dictating(f"One.\n</think>\n\nTwo {ROLL}\n</think>\n\n{last}"):
        whole = ask(DICE, tools=TOOLS, extra_body=extra, logprobs=True).choices[0]
        chunks = [chunk.choices[0] for chunk in ask(DICE, tools=TOOLS, extra_body=extra, stream=True)]
    thoughts = dict.fromkeys(NAMES[include], f"One.\n\nTwo {ROLL}")
    assert {name: whole.message.model_extra[name] for name in ALL_NAMES & whole.message.model_extra.keys()} == thoughts
    assert whole.message.content == (None if last == ROLL else last)
    assert called(whole.message) == ([("roll_dice", '{"sides": 6}')] if last == ROLL else [])
    text = "".join(token.token for token in (whole.logprobs.content or ()))
    assert text.strip() == (whole.message.content or "")

    told = [chunk.model_extra["exaone4"]["message"] for chunk in chunks if chunk.model_extra]
    assert told[0] == {"role": "assistant", "content": None, **thoughts}
    assert chunks[-1].finish_reason == whole.finish_reason == ("tool_calls" if last == ROLL else "stop")
    expected = whole.message.model_dump(exclude_none=True)
    assert without_ids(told[-1]) == without_ids({"content": None, **expected})
    assert len(told) == 2
    assert chunks[-1].model_extra
    for delta in (chunk.delta for chunk in chunks):
        assert "</think>" not in (delta.content or "")
        assert set(delta.model_extra or {}) <= set(NAMES[include])
    pieces = [piece for chunk in chunks for piece in chunk.delta.tool_calls or ()]
    assert {piece.index for piece in pieces} == ({0, 1} if last == ROLL else {0})


NAMES = {None: ["reasoning_content"], True: ["reasoning_content", "reasoning"], False: []}
ALL_NAMES = {"reasoning_content", "reasoning"}


def without_ids(message: dict[str, Any]) -> dict[str, Any]:
    calls = [{**call, "id": ""} for call in message.get("tool_calls", ())]
    return {**message, "tool_calls": calls}


def test_a_stream_without_a_second_block_says_nothing_of_it(ask: Any) -> None:
    with dictating("One.\n</think></think>\n\nTwo."):
        chunks = [chunk.choices[0] for chunk in ask(BIGGER, extra_body=THINKING, stream=True)]
    assert "".join(chunk.delta.content or "" for chunk in chunks) == "Two."
    assert not any(chunk.model_extra for chunk in chunks)


def test_a_call_that_ends_open_thoughts(ask: Any) -> None:
    with dictating(f"I should roll.\n{ROLL}"):
        whole = ask(DICE, tools=TOOLS, extra_body=THINKING).choices[0]
        chunks = [chunk.choices[0] for chunk in ask(DICE, tools=TOOLS, extra_body=THINKING, stream=True)]
    assert (whole.message.content, whole.message.reasoning_content) == (None, "I should roll.")
    assert (called(whole.message), whole.finish_reason) == ([("roll_dice", '{"sides": 6}')], "tool_calls")
    assert chunks[-1].finish_reason == "tool_calls"
    pieces = [piece for chunk in chunks for piece in chunk.delta.tool_calls or ()]
    assert "".join(piece.function.arguments or "" for piece in pieces) == '{"sides": 6}'
