"""The tags in what a model writes: around its thoughts, and around a call."""

from __future__ import annotations

THINK, END_THINK = "<think>", "</think>"
CALL, END_CALL = "<tool_call>", "</tool_call>"


def tag_at(text: str, position: int, tags: tuple[str, ...]) -> str | None:
    """The tag at this "<", "" if there is none, None if the text ends before that can be said."""
    for tag in tags:
        if text.startswith(tag, position):
            return tag
    tail = text[position : position + max(map(len, tags))]
    if position + len(tail) == len(text) and any(tag.startswith(tail) for tag in tags):
        return None
    return ""


def tag_or_text(text: str, position: int, tags: tuple[str, ...]) -> tuple[str | None, int]:
    """The tag at this place, as ``tag_at`` says, and where it ends: what is no tag goes on to the next "<"."""
    tag = tag_at(text, position, tags) if text[position] == "<" else ""
    if tag:
        return tag, position + len(tag)
    end = text.find("<", position + 1)
    return tag, len(text) if end < 0 else end
