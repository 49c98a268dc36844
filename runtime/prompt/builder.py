"""A conversation as token ids, in which only the template's own markers are markers.

A marker is a token that is matched in the text before anything else: the control tokens, `<think>`, `<tool_call>`
and their like. A message that holds the text of one is read as text. The rendered prompt is tokenized whole,
because pieces tokenized apart have other ids; it is cut only inside the markers that messages hold, where GPT-2's
pattern cuts anyway, so that the ids are those of a tokenizer that has not got these markers.

To know which markers are a message's, a character that occurs nowhere, the seam, is put inside each of them before
the template runs. What is left whole afterwards is the template's.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from exaone4_gguf.errors import MessageError, PromptError
from exaone4_gguf.format.tags import THINK
from exaone4_gguf.runtime.prompt.messages import normalized, offered
from exaone4_gguf.runtime.prompt.plain import Fields, Object, plain
from exaone4_gguf.runtime.prompt.template import ChatTemplate
from exaone4_gguf.runtime.prompt.traps import Message

# Unicode's noncharacters, which no text should hold, then its private ones.
SEAMS = (*map(chr, range(0xFDD0, 0xFDF0)), *map(chr, range(0xE000, 0xF900)))
RESERVED = ("self", "messages", "tools", "add_generation_prompt")

Change = Callable[[str], str]


@dataclass(frozen=True)
class Prompt:
    """A prompt to evaluate: its token ids, their text, and whether it ends inside an open block of thoughts."""

    ids: tuple[int, ...]
    text: str
    reasoning_open: bool


class PromptBuilder:
    """Makes prompts with a template and a tokenizer; `for_tools` is the template where tools are given, if another.

    `tokenize` gives the ids of a text, its markers included, and adds none of its own. `markers` are the texts of
    all control tokens and of the others that structure a conversation, not the runs of blanks. `pre_tokenizer` is
    llama.cpp's name of the pattern that cuts a text into words.

    Raises:
        PromptError: the tokenizer does not take one of the markers as one token.
    """

    def __init__(
        self,
        template: ChatTemplate,
        tokenize: Callable[[str], list[int]],
        markers: Sequence[str],
        for_tools: ChatTemplate | None = None,
        *,
        pre_tokenizer: str = "exaone4",
    ) -> None:
        self._template, self._for_tools = template, for_tools or template
        self._tokenize = tokenize
        self._markers = _Markers(markers, _CUTS[pre_tokenizer])
        self._names = {self._id_of(marker): marker for marker in self._markers.texts}

    def build(
        self,
        messages: Iterable[object],
        tools: Iterable[object] | None = None,
        reasoning: bool = False,
        add_generation_prompt: bool = True,
        template_kwargs: Fields | None = None,
    ) -> Prompt:
        """The prompt for messages in OpenAI's form.

        `template_kwargs` go to the template, as text that is not trusted; `enable_thinking` among them overrides
        `reasoning`.

        Raises:
            MessageError: a message, a tool or a template variable has not the right form.
            ChatTemplateError: the template fails on them.
            PromptError: a marker in the prompt would not be the template's.
        """
        turns = normalized(messages)
        options = {"enable_thinking": reasoning, **_variables(template_kwargs)}
        options |= {"tools": offered(tools), "add_generation_prompt": add_generation_prompt}
        marked, seam = self._marked(turns, options)
        own = self._markers.found(marked, seam)
        pieces = self._markers.pieces(marked, seam)
        ids = [i for piece in pieces if piece for i in self._tokenize(piece)]
        if [self._names[i] for i in ids if i in self._names] != own:
            raise PromptError("the tokenizer finds other markers in the prompt than the template put there")
        is_open = add_generation_prompt and marked.rstrip().endswith(THINK)
        return Prompt(tuple(ids), "".join(pieces), is_open)

    def of_text(self, text: str, markers: bool = False) -> Prompt:
        """A prompt that is no conversation.

        `markers`: those in the text are the tokens that they name. Without it all of the text is text.

        Raises:
            PromptError: a marker would be one all the same.
        """
        ids = self._tokenize(text) if markers else self._plain(text)
        return Prompt(tuple(ids), text, reasoning_open=False)

    def _plain(self, text: str) -> list[int]:
        """The ids of a text in which nothing is a marker."""
        seam = _unused(text)
        pieces = self._markers.pieces(self._markers.broken(text, seam), seam)
        ids = [i for piece in pieces if piece for i in self._tokenize(piece)]
        if not self._names.keys().isdisjoint(ids):
            raise PromptError("the tokenizer finds a marker in the prompt, which is to be text")
        return ids

    def _marked(self, turns: list[Message], options: Object) -> tuple[str, str]:
        """The rendered text with seams in it, and the seam.

        What the template itself prints is known from a rendering in which messages cannot make a marker. If the
        first try has others, they came to be at the borders of messages, which then get seams as well.
        """
        template = self._template
        if options["tools"] is not None:
            template = self._for_tools
        seam = _unused(json.dumps([turns, options], ensure_ascii=False) + template.source)
        own = self._markers.found(self._render(template, turns, options, seam, self._markers.blunt), seam)
        for change in (self._markers.broken, self._markers.fenced):
            marked = self._render(template, turns, options, seam, change)
            if self._markers.found(marked, seam) == own:
                return marked, seam
        raise PromptError("the chat template makes markers out of the text of messages; no prompt is safe with it")

    def _render(
        self,
        template: ChatTemplate,
        turns: list[Message],
        options: Object,
        seam: str,
        change: Callable[[str, str], str],
    ) -> str:
        def value(text: str) -> str:
            return change(text, seam)

        def key(text: str) -> str:
            return self._markers.broken(text, seam)

        guarded = []
        for turn in turns:
            others = {name: _mapped(item, value, key) for name, item in turn.items() if name != "role"}
            guarded.append({"role": turn["role"], **others})
        variables = {name: _mapped(v, value, key) for name, v in options.items()}
        # JSON that is kept to ASCII has the seam escaped
        escaped = rf"\\+u{ord(seam):04x}"
        return re.sub(escaped, seam, template.render(guarded, **variables), flags=re.IGNORECASE)

    def _id_of(self, marker: str) -> int:
        ids = self._tokenize(marker)
        if len(ids) != 1:
            raise PromptError(f"the tokenizer reads the marker {marker!r} as {len(ids)} tokens, not as one")
        return ids[0]


class _Markers:
    """The texts of the markers: where a text holds them, and how it is kept from being read as one."""

    def __init__(self, markers: Sequence[str], is_cut: Callable[[str, str], bool]) -> None:
        self._is_cut = is_cut
        self.texts = sorted({m for m in markers if m}, key=lambda m: (-len(m), m))
        whole = "|".join(map(re.escape, self.texts)) or "(?!)"
        self._pattern = re.compile(whole)
        self._overlapping = re.compile(f"(?=({whole}))")
        self._longest = max(map(len, self.texts), default=0)
        self._starts = {m[:i] for m in self.texts for i in range(1, len(m))}
        self._ends = {m[i:] for m in self.texts for i in range(1, len(m))}
        self._signs = re.compile("|".join(map(re.escape, _signs("".join(self.texts)))) or "(?!)")

    def found(self, text: str, seam: str) -> list[str]:
        """The markers that no seam interrupts."""
        return [marker for piece in text.split(seam) for marker in self._pattern.findall(piece)]

    def broken(self, text: str, seam: str) -> str:
        """The text with a seam in every marker; again, because markers may overlap."""
        while self._pattern.search(text):
            text = self._pattern.sub(lambda match: self._broken(match.group(), seam), text)
        return text

    def fenced(self, text: str, seam: str) -> str:
        """Broken, and with seams at the ends that may be a part of a marker, with what stands beside them."""
        reach = range(1, min(len(text), self._longest) + 1)
        inside = bool(text) and any(text in marker for marker in self.texts)
        fenced = self.broken(text, seam)
        if inside or any(text[:n] in self._ends for n in reach):
            fenced = seam + fenced
        if inside or any(text[-n:] in self._starts for n in reach):
            fenced += seam
        return fenced

    def blunt(self, text: str, seam: str) -> str:
        """Fenced, and without the signs that markers are made of: no filter of a template makes one of it."""
        return self._signs.sub(seam, self.fenced(text, seam))

    def pieces(self, marked: str, seam: str) -> list[str]:
        """The text, cut at the seams that are inside a marker; the other seams are dropped."""
        first, *rest = marked.split(seam)
        text = first + "".join(rest)
        pieces, position = [first], len(first)
        for part in rest:
            if self._is_inside(text, position):
                pieces.append(part)
            else:
                pieces[-1] += part
            position += len(part)
        return pieces

    def _broken(self, marker: str, seam: str) -> str:
        if len(marker) == 1:
            raise PromptError(f"a message holds {marker!r}, which this tokenizer can only read as a control token")
        cuts = (i for i in range(1, len(marker)) if self._is_cut(marker[i - 1], marker[i]))
        i = next(cuts, 1)
        return marker[:i] + seam + marker[i:]

    def _is_inside(self, text: str, position: int) -> bool:
        start = max(position - self._longest, 0)
        window = text[start : position + self._longest]
        spans = (match.span(1) for match in self._overlapping.finditer(window))
        return any(a < position - start < b for a, b in spans)


def _signs(characters: str) -> list[str]:
    """Those that are no part of words, and that JSON does not escape."""
    return sorted({c for c in characters if not c.isalnum() and not c.isspace() and c not in '_"\\'})


def _is_cut_by_gpt2(left: str, right: str) -> bool:
    """Whether GPT-2's pattern cuts here, whatever else stands around."""
    may_join = left.isspace() or left == "'"
    return not may_join and _class(left) != _class(right)


def _is_cut_by_exaone_moe(left: str, right: str) -> bool:
    """The same of EXAONE 4.5's: digits stand alone, and a word may begin with a sign, but not end with one."""
    if "N" in (_class(left), _class(right)):
        return True
    return _class(left) == "L" and _class(right) == "other" and not unicodedata.category(right).startswith("M")


_CUTS = {"exaone4": _is_cut_by_gpt2, "exaone-moe": _is_cut_by_exaone_moe}
"""By ``tokenizer.ggml.pre`` (the patterns are in llama-vocab.cpp)."""


def _class(character: str) -> str:
    """What the patterns tell apart: L for letters, N for digits, blanks, and all others."""
    if character.isspace():
        return "blank"
    category = unicodedata.category(character)[0]
    if category in ("L", "N"):
        return category
    return "other"


def _mapped(value: object, change: Change, key: Change) -> Any:
    """A copy of plain data with its texts changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key(name): _mapped(item, change, key) for name, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, change, key) for item in value]
    return value


def _variables(given: Fields | None) -> Object:
    if given is None:
        return {}
    values = plain(given, "template_kwargs")
    if not isinstance(values, dict):
        raise MessageError(
            f"expected an object, got {type(given).__name__}",
            where="template_kwargs",
            field="template_kwargs",
        )
    for name in RESERVED:
        if name in values:
            where = f"template_kwargs.{name}"
            raise MessageError("cannot be given here", where=where, field=where)
    return values


def _unused(text: str) -> str:
    """A character that does not occur in the text, as itself or escaped."""
    escaped = {chr(int(digits, 16)) for digits in re.findall(r"\\u([0-9a-fA-F]{4})", text)}
    taken = {*text, *escaped}
    free = next((c for c in SEAMS if c not in taken), None)
    if free is None:
        raise PromptError("the messages hold every private character of Unicode; one is needed to tell them apart")
    return free
