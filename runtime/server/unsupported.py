"""Fields of other servers' chat bodies that would change the answer and are not supported: each is refused by name.

The names are those of OpenAI, vLLM, SGLang, llama-server, Ollama, OpenRouter, Anthropic, Mistral and transformers. A
field may be there with a value that asks for nothing, as clients send their defaults along. Not in the table, and
ignored, is what says how to compute and not what: ``cache_prompt``, ``id_slot``, ``user``, ``metadata``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from exaone4_gguf.runtime.server.errors import Problem

_SCHEMA = "use response_format with a schema"
_PENALTIES = ("repeat_penalty", "repetition_penalty", "presence_penalty", "frequency_penalty")
_NO_PENALTY = (None, 0, 1)


def _rows(names: str, *idle: Any, use: str = "") -> dict[str, tuple[tuple[Any, ...], str]]:
    """The same for several names."""
    return dict.fromkeys(names.split(), (idle, use))


UNSUPPORTED: dict[str, tuple[tuple[Any, ...], str]] = {
    # the prompt
    **_rows("continue_final_message", False, use="the model begins a new answer; /v1/completions goes on with a text"),
    **_rows("add_generation_prompt", True, use="an answer is always asked for; /v1/completions goes on with a text"),
    **_rows("chat_template", use="give the server --chat-template-file"),
    **_rows("system instructions", "", use="send a message with the role system"),
    **_rows("prompt_mode", "", use="use reasoning_effort"),
    **_rows("safe_prompt add_special_tokens", False),
    **_rows("documents", [], use="put them into a message"),
    **_rows("mm_processor_kwargs audio web_search_options", {}),
    **_rows("truncate_prompt_tokens", -1, use="shorten the messages"),
    **_rows("transforms plugins lora lora_path lora_adapters", [], ""),
    **_rows("modalities", ["text"], []),
    **_rows("verbosity", "medium", use="ask for it in a message"),
    # thoughts in the answer
    **_rows("separate_reasoning stream_reasoning parse_tool_calls", True),
    **_rows("reasoning_format", "auto", "deepseek", "", use="thoughts come as reasoning_content"),
    **_rows("reasoning_in_content", False, use="thoughts come as reasoning_content"),
    # what may be written
    **_rows("grammar ebnf regex structural_tag", "", use=_SCHEMA),
    **_rows("guided_json guided_regex guided_choice guided_grammar guided_whitespace_pattern", "", use=_SCHEMA),
    **_rows("structured_outputs", True, False, {}, use=_SCHEMA),
    **_rows("format", "", use="use response_format"),
    **_rows("logit_bias logit_bias_exp", {}, []),
    **_rows("bad_words allowed_token_ids logits_processors", []),
    # where it ends
    **_rows("stop_token_ids stop_regex stop_sequences", [], "", use="use stop"),
    **_rows("include_stop_str_in_output no_stop_trim", False),
    **_rows("min_tokens min_new_tokens", 0),
    **_rows("max_new_tokens num_predict max_tokens_to_sample", -1, use="use max_tokens"),
    **_rows("t_max_predict_ms", -1, 0, use="give the server --timeout"),
    # sampling
    **_rows("random_seed", use="use seed"),
    **_rows("do_sample", True, use="set temperature to 0"),
    **_rows("use_beam_search", False),
    **_rows("num_beams best_of", 1),
    **_rows("length_penalty typical_p typ_p tfs_z", 1),
    **_rows("top_a dynatemp_range xtc_probability dry_multiplier mirostat mirostat_mode min_keep", 0),
    **_rows("top_n_sigma adaptive_target", -1, 0),
    **_rows("repeat_last_n", -1, use="penalties count the whole answer"),
    **_rows("samplers sampler_order", [], ""),
    **_rows("custom_params vllm_xargs extra_args options", {}, use="send fields at the top level"),
    # what the answer tells
    **_rows("skip_special_tokens", True),
    **_rows("echo return_tokens return_token_ids return_tokens_as_token_ids post_sampling_probs", False),
    **_rows("n_probs prompt_logprobs", 0, use="use logprobs and top_logprobs"),
    **_rows("response_fields", []),
    # OpenAI's old names
    **_rows("functions", use="this is OpenAI's old form; use tools"),
    **_rows("function_call", use="this is OpenAI's old form; use tool_choice"),
}
"""Name: the values that ask for nothing, besides null, and what to do instead."""

_TO_BE_CONTINUED = ("prefix", "partial")
"""Fields of a last message that other servers go on with."""


def check_supported(body: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Raises Problem for a field that would change the answer, and is none of the form's own ``fields``."""
    for name, value in body.items():
        idle, use = UNSUPPORTED.get(name, ((value,), ""))
        if name not in fields and value is not None and not _is_one_of(value, idle):
            _refuse_unless_idle(name, use, body)
    messages = body.get("messages")
    for i, message in enumerate(messages if isinstance(messages, list) else ()):
        for name in _TO_BE_CONTINUED:
            if isinstance(message, Mapping) and message.get(name):
                refuse(f"messages[{i}].{name}", UNSUPPORTED["continue_final_message"][1])


def _is_one_of(value: Any, idle: tuple[Any, ...]) -> bool:
    """Python's True is equal to 1; JSON's is not."""
    return any(value == each and isinstance(value, bool) is isinstance(each, bool) for each in idle)


def _refuse_unless_idle(name: str, use: str, body: Mapping[str, Any]) -> None:
    """How far back penalties look does not matter where there are none."""
    if name == "repeat_last_n" and all(_is_one_of(body.get(penalty), _NO_PENALTY) for penalty in _PENALTIES):
        return
    refuse(name, use)


def refuse(field: str, use: str = "") -> None:
    """Raises Problem: the field is not supported."""
    hint = ""
    if use:
        hint = f": {use}"
    raise Problem(400, f"{field} is not supported{hint}", code="unsupported_parameter", param=field)
