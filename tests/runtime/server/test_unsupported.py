"""What other servers' clients may ask for: heeded, or refused by name, never ignored where it changes the answer."""

from __future__ import annotations

from typing import Any

import pytest

from exaone4_gguf.runtime.server.bodies import ChatBody, CompletionBody
from exaone4_gguf.runtime.server.errors import Problem
from exaone4_gguf.runtime.server.serve import Server
from exaone4_gguf.runtime.server.unsupported import UNSUPPORTED, check_supported
from tests.runtime.server.running import chat, post

HELLO = {"role": "user", "content": "Hello!"}


def refused(**body: Any) -> str | None:
    """The field for which the body is refused."""
    try:
        check_supported(body, ChatBody.model_fields)
    except Problem as problem:
        assert (problem.status, problem.code) == (400, "unsupported_parameter")
        assert problem.message.startswith(f"{problem.param} is not supported")
        return problem.param
    return None


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_every_row_of_the_table(name: str) -> None:
    """A value that asks for something is refused; null, and the values that clients send along, are not."""
    assert name not in ChatBody.model_fields
    assert refused(**{name: "SOMETHING", "presence_penalty": 1.5}) == name
    for idle in (None, *UNSUPPORTED[name][0]):
        assert refused(**{name: idle, "presence_penalty": 1.5}) is None


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"continue_final_message": True}, "continue_final_message"),
        ({"continue_final_message": False}, None),
        ({"add_generation_prompt": False}, "add_generation_prompt"),
        ({"min_tokens": 5}, "min_tokens"),
        ({"guided_choice": ["yes", "no"]}, "guided_choice"),
        ({"echo": True}, "echo"),
        ({"best_of": True}, "best_of"),
        ({"use_beam_search": 0}, "use_beam_search"),
        ({"system": "Be brief."}, "system"),
        ({"repeat_last_n": 64}, None),
        ({"repeat_last_n": 64, "repeat_penalty": 1.0, "presence_penalty": 0}, None),
        ({"repeat_last_n": 64, "repeat_penalty": 1.1}, "repeat_last_n"),
        ({"messages": [HELLO, {"role": "assistant", "content": "H", "prefix": True}]}, "messages[1].prefix"),
        ({"messages": [HELLO, {"role": "assistant", "content": "H", "prefix": False}]}, None),
        ({"cache_prompt": True, "id_slot": 1, "user": "me", "timings_per_token": True, "no_such_field": [1]}, None),
    ],
)
def test_what_asks_for_something(fields: dict[str, Any], param: str | None) -> None:
    assert refused(**fields) == param


def test_the_server_refuses_before_it_answers(server: Server) -> None:
    for stream in (True, False):
        answer = chat(server, continue_final_message=True, stream=stream)
        assert (answer.status, answer.error["param"]) == (400, "continue_final_message")
    answer = post(server, "/apply-template", {"messages": [HELLO], "chat_template": "{{ messages }}"})
    assert (answer.status, answer.error["param"]) == (400, "chat_template")
    answer = post(server, "/v1/completions", {"prompt": "a", "min_tokens": 5})
    assert (answer.status, answer.error["param"]) == (400, "min_tokens")


def test_a_form_may_have_a_field_that_others_have_not() -> None:
    check_supported({"echo": True, "best_of": 2}, CompletionBody.model_fields)


def test_what_llama_servers_page_sends_is_taken(server: Server) -> None:
    """All of its defaults, as it sent them in 2025."""
    fields: dict[str, Any] = {
        "cache_prompt": True,
        "reasoning_format": "auto",
        "samplers": [],
        "dynatemp_range": 0,
        "dynatemp_exponent": 1,
        "top_k": 40,
        "top_p": 0.95,
        "min_p": 0.05,
        "typ_p": 1,
        "xtc_probability": 0,
        "xtc_threshold": 0.1,
        "repeat_last_n": 64,
        "repeat_penalty": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "dry_multiplier": 0,
        "dry_base": 1.75,
        "dry_allowed_length": 2,
        "dry_penalty_last_n": -1,
        "max_tokens": -1,
        "timings_per_token": True,
    }
    assert chat(server, **fields).status == 200
