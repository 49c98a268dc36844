"""Added tokens: which there are, with which ids and flags, from every file of a folder that tells of them.

They are read as transformers 5 reads them (tokenization_utils_base.py ``_from_pretrained``,
tokenization_utils_tokenizers.py ``TokenizersBackend``): tokenizer_config.json overrides tokenizer.json, and what it
does not say, special_tokens_map.json and added_tokens.json do.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exaone4_gguf.converter.checkpoint.folder import load_json
from exaone4_gguf.errors import TokenizerError

_log = logging.getLogger(__name__)

ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

# GPT2Tokenizer's own, for what the folder leaves out (transformers 5.23, models/gpt2/tokenization_gpt2.py).
GPT2_ROLES = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")

Settings = dict[str, Any]


@dataclass(frozen=True)
class AddedToken:
    """A token that is matched in the text before BPE. A special one controls the conversation.

    Those that are ``normalized`` are matched in what the others leave of the text.
    """

    content: str
    special: bool = False
    normalized: bool = True
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False


@dataclass
class AddedVocabulary:
    """Added tokens with the ids that the library tokenizers gives them (added_vocabulary.rs).

    The ids in the files are only an order there: a token of the model's vocabulary has its id, any other the next.
    """

    vocab: Mapping[str, int]
    ids: dict[str, int] = field(default_factory=dict)
    _latest: dict[str, AddedToken] = field(default_factory=dict)
    _special: dict[str, AddedToken] = field(default_factory=dict)
    _others: list[AddedToken] = field(default_factory=list)

    def add(self, tokens: Iterable[AddedToken]) -> None:
        """Add tokens, or change the flags of those that are there."""
        fresh = [token for token in tokens if token.content]
        for token in fresh:
            if token.special:
                self._special.setdefault(token.content, token)
        for token in fresh:
            if self._latest.get(token.content) == token:
                continue
            self.ids[token.content] = self._id_of(token.content)
            self._latest[token.content] = token
            if token.content not in self._special:
                self._others.append(token)

    def _id_of(self, content: str) -> int:
        known = self.ids.get(content, self.vocab.get(content))
        if known is not None:
            return known
        return max(len(self.vocab), 1 + max(self.ids.values(), default=-1))

    @property
    def tokens(self) -> list[AddedToken]:
        """Each token as it is matched: one that was added twice keeps a place among those of the first kind."""
        raw = {token.content for token in (*self._special.values(), *self._others) if not token.normalized}
        return [replace(token, normalized=content not in raw) for content, token in self._latest.items()]


@dataclass(frozen=True)
class _Told:
    """What the files beside tokenizer.json tell: tokens by id, those with a role (in order), further special ones."""

    by_id: dict[int, AddedToken]
    named: dict[str, AddedToken]
    extra: list[AddedToken]


def read_added_tokens(
    folder: Path, settings: Settings, vocab: dict[str, int], own: dict[int, AddedToken], *, rebuilt: bool
) -> tuple[AddedVocabulary, dict[str, str]]:
    """The added tokens of a folder, and the texts that have a role (``bos``, ``eos``, ...).

    Args:
        settings: tokenizer_config.json.
        vocab: the BPE model's vocabulary.
        own: those of tokenizer.json.
        rebuilt: transformers makes the tokenizer anew of the vocabulary, as GPT2Tokenizer does: tokenizer.json's added
            tokens count only where no ``added_tokens_decoder`` is.

    Raises:
        TokenizerError: an entry is malformed, or the files disagree on an id.
    """
    told = _told(folder, settings, own, GPT2_ROLES if rebuilt else {})
    added = AddedVocabulary(vocab)
    if not rebuilt:
        added.add(own.values())
    added.add(_still_to_add(added, told))
    _check_ids(added, [*own.items(), *told.by_id.items()])
    return added, {name.removesuffix("_token"): token.content for name, token in told.named.items()}


def _still_to_add(added: AddedVocabulary, told: _Told) -> list[AddedToken]:
    """In transformers' order: by id, then those with a role, then the rest; each with a role is special."""
    tokens = [token for _, token in sorted(told.by_id.items())]
    for token in (*told.named.values(), *told.extra):
        if token.content not in added.ids and all(token.content != t.content for t in tokens):
            tokens.append(token)
    with_role = {token.content for token in told.named.values()}
    return [replace(token, special=token.special or token.content in with_role) for token in tokens]


def _check_ids(added: AddedVocabulary, numbered: Iterable[tuple[int, AddedToken]]) -> None:
    for number, token in numbered:
        has = added.ids.get(token.content, added.vocab.get(token.content))
        if has is None:
            _log.warning("%r is in tokenizer.json alone, so that transformers does not know it", token.content)
        elif has != number:
            raise TokenizerError(f"token {token.content!r} has two ids: {number} in the file, {has} in transformers")


def _told(folder: Path, settings: Settings, file: dict[int, AddedToken], roles: dict[str, str]) -> _Told:
    told = dict(settings)
    if told.get("additional_special_tokens") and not told.get("extra_special_tokens"):
        told["extra_special_tokens"] = told.pop("additional_special_tokens")
    own = {name: told.pop(name) for name, value in settings.items() if _is_role(name) and isinstance(value, str)}
    if "added_tokens_decoder" in told:
        by_id = _by_id((_number(i), entry) for i, entry in told["added_tokens_decoder"].items())
    else:
        told |= _special_tokens_map(folder, told)
        by_id = _added_beside(folder, told) | file
    extra = told.get("extra_special_tokens", told.get("additional_special_tokens"))
    named = {role: told.get(role, roles.get(role)) for role in ROLES}
    named |= {name: value for name, value in told.items() if _is_role(name)} | own
    if isinstance(extra, dict):
        named |= extra
        extra = told.get("additional_special_tokens")
    tokens = {name: _special_token(value) for name, value in named.items() if isinstance(value, str | dict)}
    return _Told(by_id, tokens, [_special_token(value) for value in extra or ()])


def _is_role(name: str) -> bool:
    """Whether it is one that only this model has, such as ``image_token``."""
    return name.endswith("_token") and name not in ROLES


def _special_tokens_map(folder: Path, settings: Settings) -> Settings:
    """special_tokens_map.json, which counts only without an ``added_tokens_decoder``, and then most."""
    told = optional(folder / "special_tokens_map.json")
    extra, known = told.get("extra_special_tokens"), settings.get("extra_special_tokens") or []
    if isinstance(extra, list) and isinstance(known, list):
        told["extra_special_tokens"] = [*known, *(token for token in extra if token not in known)]
    return told


def _added_beside(folder: Path, settings: Settings) -> dict[int, AddedToken]:
    """added_tokens.json: texts with their ids; special are those with a role and the further special ones."""
    extra = settings.get("extra_special_tokens") or ()
    values = [settings.get(role) for role in ROLES]
    special = {_special_token(value).content for value in (*values, *extra) if value}
    texts = optional(folder / "added_tokens.json")
    return _by_id((i, {"content": t, "special": t in special}) for t, i in texts.items())


def optional(path: Path) -> Settings:
    """A JSON object from a file that need not be there."""
    if path.is_file():
        return load_json(path, TokenizerError)
    return {}


def tokens_of_file(entries: Any) -> dict[int, AddedToken]:
    """``added_tokens`` of tokenizer.json."""
    return _by_id((_item(entry, "id"), entry) for entry in entries or ())


def _by_id(entries: Iterable[tuple[Any, Any]]) -> dict[int, AddedToken]:
    found: dict[int, AddedToken] = {}
    for number, entry in entries:
        token = _token(entry)
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise TokenizerError(f"an added token has a wrong id or content: {entry!r}")
        if number in found:
            raise TokenizerError(
                f"added tokens {found[number].content!r} and {token.content!r} have the same id {number}"
            )
        found[number] = token
    for token in _twice(found.values()):
        ids = [i for i, t in found.items() if t.content == token.content]
        raise TokenizerError(f"token {token.content!r} has two ids: {ids[0]} and {ids[1]}")
    return found


def _twice(tokens: Iterable[AddedToken]) -> Iterator[AddedToken]:
    seen: set[str] = set()
    for token in tokens:
        if token.content in seen:
            yield token
        seen.add(token.content)


def _number(text: str) -> int:
    if not text.isdecimal():
        raise TokenizerError(f"added_tokens_decoder has {text!r}, which is no token id")
    return int(text)


def _item(entry: Any, key: str) -> Any:
    if not isinstance(entry, dict) or key not in entry:
        raise TokenizerError(f"an added token lacks id or content: {entry!r}")
    return entry[key]


def _special_token(value: Any) -> AddedToken:
    """A token that stands for itself, or as an object with flags."""
    return _token({"special": True} | (value if isinstance(value, dict) else {"content": value}))


def _token(entry: Any) -> AddedToken:
    """An entry with the defaults of tokenizers: special ones are not normalized."""
    content = _item(entry, "content")
    if not isinstance(content, str) or not content:
        raise TokenizerError(f"an added token has a wrong id or content: {entry!r}")
    special = _flag(entry, "special", False)
    flags = {name: _flag(entry, name, False) for name in ("lstrip", "rstrip", "single_word")}
    return AddedToken(content, special, _flag(entry, "normalized", not special), **flags)


def _flag(entry: dict[str, Any], name: str, default: bool) -> bool:
    value = entry.get(name, default)
    if not isinstance(value, bool):
        raise TokenizerError(f"added token {entry['content']!r} has {name} = {value!r}; it must be true or false")
    return value
