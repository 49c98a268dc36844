"""What a script may import."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import exaone4_gguf
from exaone4_gguf.errors import Exaone4Error

PUBLIC = {
    "Content",
    "Event",
    "Finish",
    "Message",
    "Reasoning",
    "Rethought",
    "ToolCall",
    "ToolCallArguments",
    "ToolCallBegin",
    "ToolCallEnd",
    "Turn",
    "View",
    "Vote",
    "collect",
    "run_tools",
    "Answer",
    "Classified",
    "Encoder",
    "Span",
    "Tagged",
    "BundleError",
    "ChatTemplateError",
    "ChatError",
    "CheckFailed",
    "CheckpointError",
    "CommandError",
    "ConfigError",
    "ContextOverflow",
    "Exaone4",
    "ConversationError",
    "Exaone4Error",
    "FILE_TYPES",
    "GGUFError",
    "MessageError",
    "OutputError",
    "Overrides",
    "PromptError",
    "QuantizeError",
    "Reply",
    "Report",
    "RequestError",
    "Result",
    "RuntimeFailure",
    "SamplingError",
    "SchemaError",
    "Summary",
    "TensorError",
    "TextError",
    "TextTooLong",
    "TokenizerError",
    "Tool",
    "ToolError",
    "Usage",
    "__version__",
    "convert",
    "inspect",
    "quantize",
    "verify",
}


def test_public_names_are_these() -> None:
    assert set(exaone4_gguf.__all__) == PUBLIC
    assert set(dir(exaone4_gguf)) >= PUBLIC
    assert all(getattr(exaone4_gguf, name) for name in PUBLIC)


def test_every_event_is_public() -> None:
    """Whoever reads a stream can tell what comes."""
    assert {kind.__name__ for kind in get_args(exaone4_gguf.Event)} <= PUBLIC


def test_every_error_is_drawn_at_the_top_of_its_file() -> None:
    from exaone4_gguf import errors

    drawn = set(re.findall(r"[A-Z]\w+", (errors.__doc__ or "").split("Each message")[0])) - {
        "Every",
        "GGUF",
        "NaN",
        "JSON",
    }
    classes = {name for name, e in vars(errors).items() if isinstance(e, type) and issubclass(e, Exaone4Error)}
    assert classes <= drawn


def test_the_changelog_names_the_version() -> None:
    changelog = Path(__file__).parent.parent / "CHANGELOG.md"
    assert f"## {exaone4_gguf.__version__}" in changelog.read_text()
