"""Whatever comes in, no answer is a 500, nothing hangs, and the server answers afterwards.

EXAONE4_CASES is the number of malformed bodies, 80 without it; the bar is at 10,000.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.demo.conversations import ROLL_DICE
from exaone4_gguf.runtime.server.serve import Server
from tests.runtime.server.running import chat, connection, running

CASES = int(os.environ.get("EXAONE4_CASES", "80"))
MANY = 1000
HELLO = [{"role": "user", "content": "Hello!"}]
SMALL = {"n_ctx": 320}
"""A context that is soon full, whatever a body asks for."""

GOOD: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {
        "messages": [*HELLO, {"role": "assistant", "content": "Hi", "reasoning_content": "Hm"}, *HELLO],
        "tools": [ROLL_DICE],
        "tool_choice": "auto",
        "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}},
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 2,
        "max_completion_tokens": 2,
        "temperature": 0.5,
        "top_p": 0.5,
        "top_k": 3,
        "min_p": 0.1,
        "seed": 1,
        "n": 2,
        "stop": ["x"],
        "logprobs": True,
        "top_logprobs": 2,
        "presence_penalty": 1,
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "reasoning": {"effort": "low"},
        "reasoning_budget": 3,
        "reasoning_minimum": 1,
        "reasoning_message": "so",
        "chat_template_kwargs": {"enable_thinking": True, "other": [1]},
        "thought_switching_penalty": 1.5,
        "thought_switching_words": ["But"],
        "preset": "greedy",
        "json_schema": {"type": "object"},
        "n_predict": 2,
        "thinking_budget_tokens": 3,
    },
    "/v1/completions": {"prompt": [3, 4], "max_tokens": 2, "logprobs": 1, "n": 2, "stop": "a", "stream": True},
    "/tokenize": {"content": "Hello!", "with_pieces": True, "parse_special": True},
    "/apply-template": {"messages": HELLO, "tools": [ROLL_DICE], "chat_template_kwargs": {"a": 1}},
}
JUNK: list[Any] = [
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**70), 0.5, -1e308, 1e-320, "", "a", "auto", "required"),
    *(
        "\ud800",
        "\x00",
        "[|endofturn|]",
        "<think>",
        "가" * 500,
        "9" * 400,
        [],
        {},
        [[]],
        [{}],
        {"": {}},
        [None],
        [1, 2],
    ),
    *({"type": "object"}, {"type": "json_object"}, {"$ref": "#"}, {"type": "function", "function": {"name": "a"}}),
    *([{"role": "user", "content": []}], {"a": {"b": {"c": [1.5, {"d": None}]}}}, ["a"] * 300, {"enum": []}),
]


def changed(value: Any, chance: random.Random) -> Any:
    """A value with something in it replaced, added, or left out."""
    if chance.random() < 0.25 or not isinstance(value, dict | list) or not value:
        return chance.choice(JUNK)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = chance.choice(keys)
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    match chance.randrange(8):
        case 0:
            del copy[key]
        case 1 if isinstance(copy, dict):
            copy[chance.choice(("x", "", "messages", "type", "$ref"))] = chance.choice(JUNK)
        case 2:
            copy[key] = [copy[key]] * 2
        case _:
            copy[key] = changed(copy[key], chance)
    return copy


def thinned(body: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """Some of the fields: not all of them go together."""
    needed = ("messages", "prompt", "content")
    return {name: value for name, value in body.items() if name in needed or chance.random() < 0.3}


def in_bytes(body: Any, chance: random.Random) -> bytes:
    """Its JSON, cut, doubled, or with a byte changed, now and then."""
    raw = bytearray(json.dumps(body).encode())
    match chance.randrange(12):
        case 0:
            return bytes(raw[: chance.randrange(len(raw))])
        case 1:
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        case 2:
            return bytes(raw + raw)
        case 3:
            at = chance.randrange(len(raw))
            return bytes(raw[:at] + b'[{"a":' * chance.choice((1, 70, 5000)) + raw[at:])
    return bytes(raw)


@pytest.fixture(scope="module")
def small(demo_gguf: Path) -> Iterator[Server]:
    with running(demo_gguf, loading=SMALL, timeout=60) as server:
        yield server


def answered(made: http.client.HTTPConnection, path: str, raw: bytes) -> tuple[int, bytes]:
    made.request("POST", path, raw, {"Content-Type": "application/json"})
    response = made.getresponse()
    return response.status, response.read()


def test_malformed_bodies(small: Server) -> None:
    chance, statuses = random.Random(7), set()
    made = connection(small)
    for i in range(CASES):
        path = chance.choice(list(GOOD))
        body: Any = thinned(GOOD[path], chance)
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            body = changed(body, chance)
        raw = in_bytes(body, chance)
        status, told = answered(made, path, raw)
        statuses.add(status)
        assert status in (200, 400), (i, path, raw[:2000], told)
        assert b"Traceback" not in told
        assert b".py" not in told
        if status == 400:
            assert set(json.loads(told)["error"]) == {"message", "type", "param", "code"}
        elif b"server_error" in told:
            raise AssertionError((i, path, raw[:2000], told[-500:]))
    made.close()
    assert statuses == {200, 400}
    assert chat(small).json["choices"][0]["finish_reason"] == "stop"


def test_the_description_holds(small: Server, tmp_path: Path) -> None:
    """Schemathesis asks all that it describes, and looks at the status and type of every answer."""
    phases = "fuzzing" if CASES < MANY else "examples,coverage,fuzzing"
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    examples = str(min(50, max(2, CASES // 50)))
    options = ["--checks", checks, "--phases", phases, "--max-examples", examples, "--seed", "1"]
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{small.url}/openapi.json", "--no-color", *options]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert found.returncode == 0, found.stdout + found.stderr


def test_after_all_that_it_answers(small: Server) -> None:
    assert chat(small).json["choices"][0]["finish_reason"] == "stop"
