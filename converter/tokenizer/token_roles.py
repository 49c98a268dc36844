"""Which tokens begin, end and pad: what the tokenizer, generation_config.json and config.json say, put together.

``generate`` of transformers ends a turn at generation_config.json's end tokens, or at config.json's where there is no
such file; chats and servers end it at the tokenizer's. Fine-tuning changes one of the three, so each of them counts.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.checkpoint.folder import load_json
from exaone4_gguf.errors import ConfigError

_log = logging.getLogger(__name__)

GENERATION_CONFIG = "generation_config.json"

NOT_WRITTEN = (
    "stop_strings",
    "suppress_tokens",
    "begin_suppress_tokens",
    "bad_words_ids",
    "sequence_bias",
    "forced_bos_token_id",
    "forced_eos_token_id",
)
"""What ``generate`` heeds in generation_config.json, and a GGUF file has no key for."""


@dataclass(frozen=True)
class TokenRoles:
    """Token ids by what they are for; ``ends`` end a turn, the first of them is the usual one."""

    bos: int | None = None
    pad: int | None = None
    ends: tuple[int, ...] = ()


def read_token_roles(raw: Mapping[str, Any]) -> TokenRoles:
    """What a config.json or a generation_config.json says.

    Raises:
        ConfigError: an id is no whole number.
    """
    return TokenRoles(_token_id(raw, "bos_token_id"), _token_id(raw, "pad_token_id"), _end_ids(raw.get("eos_token_id")))


def read_generation_config(model_dir: Path) -> TokenRoles:
    """What generation_config.json says, if there is one.

    Raises:
        ConfigError: it is malformed.
    """
    path = model_dir / GENERATION_CONFIG
    if not path.is_file():
        return TokenRoles()
    raw = load_json(path, ConfigError)
    named = [key for key in NOT_WRITTEN if raw.get(key)]
    if named:
        _log.warning("%s: %s: GGUF has no key for it, and it is not written", path, ", ".join(named))
    try:
        return read_token_roles(raw)
    except ConfigError as e:
        raise ConfigError(f"{path}: {e}") from None


def joined(said: Iterable[TokenRoles]) -> TokenRoles:
    """The first bos and pad that is named, and all end tokens, in the order of those who say so."""
    known = tuple(said)
    return TokenRoles(
        bos=_first(roles.bos for roles in known),
        pad=_first(roles.pad for roles in known),
        ends=tuple(dict.fromkeys(token for roles in known for token in roles.ends)),
    )


def _first(ids: Iterable[int | None]) -> int | None:
    return next((token for token in ids if token is not None), None)


def _token_id(raw: Mapping[str, Any], key: str) -> int | None:
    """An id; as transformers has it, null and -1 are none."""
    value = raw.get(key)
    if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
        raise ConfigError(f"{key} is {value!r}; it may be a token id or null")
    if value is None or value < 0:
        return None
    return value


def _end_ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    ids = value if isinstance(value, list) else [value]
    if not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in ids):
        raise ConfigError(f"eos_token_id is {value!r}; it may be a token id or a list of them")
    return tuple(ids)
