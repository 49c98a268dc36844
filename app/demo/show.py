"""``exaone4-gguf demo``: the bundled checkpoint, converted and asked, on any machine in a few seconds."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.demo.conversations import CONVERSATIONS, Conversation
from exaone4_gguf.runtime.context import Context
from exaone4_gguf.runtime.model import Model
from exaone4_gguf.runtime.text import Utf8Decoder

CHECKPOINT = Path(__file__).parent / "checkpoint"
SHOWN = "reasoning"
"""The conversation that the demo holds."""

_MOST_TOKENS = 512


def run_demo(outtype: str = "Q8_0") -> Iterator[str]:
    """Convert the bundled checkpoint into a temporary folder and let it answer; yields what to print.

    Raises:
        RuntimeFailure: llama-cpp-python is missing.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = convert(CHECKPOINT, Path(folder, "demo.gguf"), outtype)
        yield f"The bundled checkpoint as {outtype}: {result.plan.size:,} bytes of GGUF. Asked, it answers:\n\n"
        model = Model(result.paths[0])
        context = Context(model, n_ctx=1024, n_threads=1)
        try:
            yield from _shown(model, context, CONVERSATIONS[SHOWN])
        finally:
            context.close()
            model.close()


def _shown(model: Model, context: Context, conversation: Conversation) -> Iterator[str]:
    turn = next(conversation.turns())
    yield f"> {turn.messages[-1]['content']}\n\n"
    context.evaluate(model.tokenize(_rendered(model, conversation, turn.messages)))
    yield from _greedy(model, context)
    yield "\n"


def _rendered(model: Model, conversation: Conversation, messages: object) -> str:
    import jinja2.sandbox

    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(model.metadata["tokenizer.chat_template"])
    return template.render(messages=messages, enable_thinking=conversation.reasoning, add_generation_prompt=True)


def _greedy(model: Model, context: Context) -> Iterator[str]:
    decoder = Utf8Decoder()
    for _ in range(_MOST_TOKENS):
        token = int(context.logits.argmax())
        if token in model.end_tokens:
            break
        yield decoder.decode(model.piece(token))
        context.append([token])
    yield decoder.finish()
