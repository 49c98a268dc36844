"""GGUF -> conversation: loading, prompts, sampling, reasoning, tool calls, over llama.cpp.

Imports no other room, so that a Raspberry Pi needs only the runtime's dependencies.
"""
