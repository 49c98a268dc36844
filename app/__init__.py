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
    from exaone4_gguf.runtime.answer.reply import Reply
    from exaone4_gguf.runtime.answer.voting import Vote
    from exaone4_gguf.runtime.encode.encoder import Classified, Encoder
    from exaone4_gguf.runtime.encode.spans import Answer, Span, Tagged
    from exaone4_gguf.runtime.events import (
        Content,
        Event,
        Finish,
        Message,
        Reasoning,
        Rethought,
        ToolCall,
        ToolCallArguments,
        ToolCallBegin,
        ToolCallEnd,
        Usage,
        collect,
    )
    from exaone4_gguf.runtime.exaone4 import Exaone4
    from exaone4_gguf.runtime.terminal.turn import Turn, View, run_tools
    from exaone4_gguf.runtime.tools.tool import Tool

_LAZY = {
    "Answer": "runtime.encode.spans",
    "Classified": "runtime.encode.encoder",
    "Content": "runtime.events",
    "Encoder": "runtime.encode.encoder",
    "Event": "runtime.events",
    "Exaone4": "runtime.exaone4",
    "Finish": "runtime.events",
    "Message": "runtime.events",
    "Overrides": "quant.recipes",
    "Reasoning": "runtime.events",
    "Rethought": "runtime.events",
    "Reply": "runtime.answer.reply",
    "Report": "proof.report",
    "Result": "converter.convert",
    "Span": "runtime.encode.spans",
    "Summary": "converter.inspect",
    "Tagged": "runtime.encode.spans",
    "Tool": "runtime.tools.tool",
    "ToolCall": "runtime.events",
    "ToolCallArguments": "runtime.events",
    "ToolCallBegin": "runtime.events",
    "ToolCallEnd": "runtime.events",
    "Turn": "runtime.terminal.turn",
    "Usage": "runtime.events",
    "View": "runtime.terminal.turn",
    "Vote": "runtime.answer.voting",
    "FILE_TYPES": "quant.recipes",
    "collect": "runtime.events",
    "convert": "converter.convert",
    "inspect": "converter.inspect",
    "quantize": "converter.convert",
    "run_tools": "runtime.terminal.turn",
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
    "Content",
    "ContextOverflow",
    "ConversationError",
    "Encoder",
    "Event",
    "Exaone4",
    "Exaone4Error",
    "Finish",
    "GGUFError",
    "Message",
    "MessageError",
    "OutputError",
    "Overrides",
    "PromptError",
    "QuantizeError",
    "Reasoning",
    "Reply",
    "Report",
    "RequestError",
    "Result",
    "Rethought",
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
    "ToolCall",
    "ToolCallArguments",
    "ToolCallBegin",
    "ToolCallEnd",
    "ToolError",
    "Turn",
    "Usage",
    "View",
    "Vote",
    "__version__",
    "collect",
    "convert",
    "inspect",
    "quantize",
    "run_tools",
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
