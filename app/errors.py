"""Every expected failure of the project, and the exit code it ends a command with.

    Exaone4Error                 exit 2: bad usage or bad input
    ├── CheckpointError          a Hugging Face folder: its files, shards, tensors
    │   ├── ConfigError          config.json
    │   └── TokenizerError       tokenizer.json, vocab.json, merges.txt, chat template
    ├── GGUFError                a GGUF file that cannot be read, or is not EXAONE 4
    ├── TensorError              a value that cannot be stored: NaN, infinite, too large for its type
    ├── QuantizeError            a type that is unknown or does not apply
    │   └── ImatrixError         an importance matrix that cannot be read, or is of another model
    ├── TextError                a text to compare or to calibrate on: unreadable, or too short
    ├── OutputError              the target: it exists, its folder is missing, the disk is full
    ├── RuntimeFailure           llama.cpp cannot be loaded, or refuses what it was given
    │   └── ContextOverflow      the prompt is longer than the context
    ├── RequestError             a chat request: an option, or options that do not go together
    │   ├── MessageError         a message, or another part of the conversation: which, and which field
    │   ├── TextTooLong          a text to judge that is longer than the context
    │   ├── ToolError            a tool: its schema, or a function that cannot be described
    │   ├── SchemaError          a JSON schema that cannot be a grammar
    │   ├── ChatError            the terminal: nothing to answer, or no answer
    │   ├── CommandError         a slash command
    │   ├── ConversationError    a saved conversation
    │   └── SamplingError        a sampling value, or a preset
    ├── PromptError              no prompt can be made in which only the template's markers are markers
    │   └── ChatTemplateError    the template does not compile, or fails on the conversation
    ├── BundleError              a bundle for a board: its programs cannot be built, or do not belong together
    └── CheckFailed              exit 1: a check ran and the answer is no

Each message is one line: where, what is wrong, and what to do. The command line prints it without a
traceback; a script catches ``Exaone4Error`` and reads its fields, never the English of its message.
"""

from __future__ import annotations


class Exaone4Error(Exception):
    """Base of all expected failures; its text is ``where: what; hint``, of which a part may be missing.

    ``what`` says what is wrong, ``where`` in which file or part, ``hint`` what to do about it.
    ``field`` names the option or the part of a request that is wrong, which the text says already.
    """

    exit_code = 2

    def __init__(
        self,
        what: str = "",
        *,
        where: str | None = None,
        field: str | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what, self.where, self.field, self.hint = what, where, field, hint

    def __str__(self) -> str:
        text = self.what
        if self.where is not None:
            text = f"{self.where}: {text}"
        if self.hint is not None:
            text = f"{text}; {self.hint}"
        return text


class CheckpointError(Exaone4Error):
    """The Hugging Face folder is not a complete, readable EXAONE 4 checkpoint."""


class ConfigError(CheckpointError):
    """config.json is missing, malformed, or describes a model that llama.cpp would run wrong."""


class TokenizerError(CheckpointError):
    """The tokenizer is missing, malformed, or one that llama.cpp would apply differently."""


class GGUFError(Exaone4Error):
    """A GGUF file is malformed, truncated, or not one of EXAONE 4."""


class TensorError(Exaone4Error):
    """A tensor holds a value that cannot be stored: NaN, infinity, or too large for the type."""


class QuantizeError(Exaone4Error):
    """A quantization type is unknown, or cannot be applied here."""


class ImatrixError(QuantizeError):
    """An importance matrix cannot be read, or does not belong to the model."""


class TextError(Exaone4Error):
    """A text to compare models on, or to calibrate with, cannot be read or is too short."""


class OutputError(Exaone4Error):
    """The target cannot be written."""


class RuntimeFailure(Exaone4Error):
    """llama.cpp could not be loaded, or could not run the model."""


class ContextOverflow(RuntimeFailure):
    """The prompt does not fit the context. ``needed`` and ``available`` are in tokens."""

    def __init__(self, needed: int, available: int) -> None:
        self.needed, self.available = needed, available
        super().__init__(
            f"the prompt has {needed} tokens, {needed - available} more than the context of {available + 1} takes",
            hint="shorten the conversation, or give a larger context (-c, n_ctx)",
        )
        self.args = (needed, available)  # for pickle, which makes it anew of them


class RequestError(Exaone4Error):
    """A request's options do not go together, or have a wrong value."""


class MessageError(RequestError):
    """A message or a tool is not of the form that it must have: which one, which field, and why."""


class TextTooLong(RequestError):
    """A text to judge is longer than what can be evaluated together. ``needed`` and ``available`` are in tokens."""

    def __init__(self, what: str, needed: int, available: int) -> None:
        self.needed, self.available = needed, available
        super().__init__(
            f"{what} has {needed} tokens, and {available} can be evaluated together: give a larger context "
            "(-c, n_ctx), or a stride, to have it judged in windows that share that many tokens"
        )
        self.args = (what, needed, available)


class ToolError(RequestError):
    """A tool is not one: its schema is not valid, or a function cannot be described to the model."""


class SchemaError(RequestError):
    """A JSON schema cannot be turned into a grammar."""


class ChatError(RequestError):
    """There is nothing to answer, or no answer."""


class CommandError(RequestError):
    """A slash command is unknown, or its argument is wrong."""


class ConversationError(RequestError):
    """A file holds no conversation, or none can be saved there."""


class SamplingError(RequestError):
    """A sampling value is out of its range, or there is no such preset."""


class PromptError(Exaone4Error):
    """A prompt cannot be made so that only the template's own markers are markers."""


class ChatTemplateError(PromptError):
    """The chat template does not compile, or fails on the conversation."""


class BundleError(Exaone4Error):
    """A bundle cannot be made: a tool, a source or a program is missing, or is not what it must be."""


class CheckFailed(Exaone4Error):
    """A check ran to its end and did not pass."""

    exit_code = 1
