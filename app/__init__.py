"""exaone4-gguf: EXAONE 4 from a Hugging Face folder to a GGUF file that is right.

The public names are imported when they are first used, so that ``import exaone4_gguf`` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from exaone4_gguf.errors import (
    BundleError,
    ChatError,
    ChatTemplateError,
    CheckFailed,
    CheckpointError,
    CommandError,
    ConfigError,
    ContextOverflow,
    ConversationError,
    Exaone4Error,
    GGUFError,
    MessageError,
    OutputError,
    PromptError,
    QuantizeError,
    RequestError,
    RuntimeFailure,
    SamplingError,
    SchemaError,
    TensorError,
    TextError,
    TextTooLong,
    TokenizerError,
    ToolError,
)
from exaone4_gguf.version import __version__

if TYPE_CHECKING:
    from exaone4_gguf.converter.convert import Result, convert, quantize
    from exaone4_gguf.converter.inspect import Summary, inspect
    from exaone4_gguf.proof.report import Report
    from exaone4_gguf.proof.verify import verify
    from exaone4_gguf.quant.recipes import FILE_TYPES, Overrides
    from exaone4_gguf.runtime.chat import Exaone4
    from exaone4_gguf.runtime.encoder import Classified, Encoder
    from exaone4_gguf.runtime.reply import Reply, Usage
    from exaone4_gguf.runtime.spans import Answer, Span, Tagged
    from exaone4_gguf.runtime.tools import Tool

_LAZY = {
    "Answer": "runtime.spans",
    "Classified": "runtime.encoder",
    "Encoder": "runtime.encoder",
    "Exaone4": "runtime.chat",
    "Reply": "runtime.reply",
    "Report": "proof.report",
    "Span": "runtime.spans",
    "Tagged": "runtime.spans",
    "Tool": "runtime.tools",
    "Usage": "runtime.reply",
    "FILE_TYPES": "quant.recipes",
    "Overrides": "quant.recipes",
    "Result": "converter.convert",
    "Summary": "converter.inspect",
    "convert": "converter.convert",
    "inspect": "converter.inspect",
    "quantize": "converter.convert",
    "verify": "proof.verify",
}

__all__ = [
    "FILE_TYPES",
    "Answer",
    "BundleError",
    "ChatError",
    "ChatTemplateError",
    "CheckFailed",
    "CheckpointError",
    "Classified",
    "CommandError",
    "ConfigError",
    "ContextOverflow",
    "ConversationError",
    "Encoder",
    "Exaone4",
    "Exaone4Error",
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
    "Span",
    "Summary",
    "Tagged",
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
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
