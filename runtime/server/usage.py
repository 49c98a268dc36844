"""What a request took: OpenAI's ``usage``, and ``timings`` as llama-server gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exaone4_gguf.runtime.events import Usage


def usage(choices: Sequence[Usage]) -> dict[str, Any]:
    """The tokens of a request; the prompt of several choices counts once."""
    prompt, cached = (choices[0].prompt_tokens, choices[0].cached_tokens) if choices else (0, 0)
    return _usage(prompt, cached, choices)


def usage_of_prompts(choices: Sequence[Usage], n: int) -> dict[str, Any]:
    """The same of several prompts with ``n`` choices each."""
    firsts = choices[::n]
    return _usage(sum(u.prompt_tokens for u in firsts), sum(u.cached_tokens for u in firsts), choices)


def _usage(prompt: int, cached: int, choices: Sequence[Usage]) -> dict[str, Any]:
    completion = sum(u.completion_tokens for u in choices)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": sum(u.reasoning_tokens for u in choices)},
    }


def timings(choices: Sequence[Usage]) -> dict[str, Any]:
    """Tokens and milliseconds: ``prompt_n`` were evaluated, ``cache_n`` were in the cache.

    ``draft_n`` and ``draft_n_accepted`` are there where tokens were guessed, as llama-server has it.
    """
    cached = sum(u.cached_tokens for u in choices)
    evaluated = sum(u.prompt_tokens for u in choices) - cached
    generated = sum(u.completion_tokens for u in choices)
    drafted, accepted = sum(u.drafted_tokens for u in choices), sum(u.accepted_tokens for u in choices)
    return {
        "cache_n": cached,
        **_rate("prompt", evaluated, sum(u.prompt_seconds for u in choices)),
        **_rate("predicted", generated, sum(u.seconds for u in choices)),
        **({"draft_n": drafted, "draft_n_accepted": accepted} if drafted else {}),
    }


def _rate(name: str, tokens: int, seconds: float) -> dict[str, Any]:
    return {
        f"{name}_n": tokens,
        f"{name}_ms": 1000 * seconds,
        f"{name}_per_token_ms": 1000 * seconds / tokens if tokens else 0.0,
        f"{name}_per_second": tokens / seconds if seconds else 0.0,
    }
