"""GGUF files that are wrong in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from exaone4_gguf.converter.output import Output
from exaone4_gguf.converter.plan import make_plan
from exaone4_gguf.format import values
from exaone4_gguf.format.file import GGUFFile, read_gguf
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.format.types import TYPES, TensorType
from exaone4_gguf.format.values import Value, ValueType
from exaone4_gguf.quant import kernels

Tensors = dict[str, SourceTensor]
Change = Callable[[Tensors], None]


def rewritten(
    path: Path, target: Path, keys: Mapping[str, Value | None] | None = None, change: Change = lambda tensors: None
) -> Path:
    """A copy of a file with other keys (None removes one) and other tensors."""
    gguf = read_gguf(path)
    metadata = {key: value for key, value in {**gguf.metadata, **(keys or {})}.items() if value is not None}
    tensors = dict(gguf.tensors)
    change(tensors)
    plan = make_plan(target, metadata, list(tensors.values()), [t.type for t in tensors.values()])
    with Output(target, plan, force=True) as output:
        for file in plan.files:
            for tensor in file.tensors:  # not by pipeline.run, which refuses NaN
                output.write(file, tensor.offset, np.ascontiguousarray(tensor.source.rows).data.cast("B"))
        output.commit()
    return target


def with_rows(tensor: SourceTensor, rows: Any, type: TensorType | None = None) -> SourceTensor:
    return replace(tensor, rows=np.ascontiguousarray(rows), type=type or tensor.type)


def floats(tensor: SourceTensor) -> Any:
    return kernels.dequantize(tensor.rows, tensor.type).copy()


def of_floats(tensor: SourceTensor, x: Any, type: TensorType | None = None) -> SourceTensor:
    """The tensor with other values, in its own type or in another."""
    type = type or tensor.type
    x = np.ascontiguousarray(x, np.float32)
    return with_rows(tensor, x.view(np.uint8) if type.name == "F32" else kernels.quantize(x, type), type)


def changed(name: str, f: Callable[[Any], Any]) -> Change:
    """One tensor's values through a function."""

    def change(tensors: Tensors) -> None:
        tensors[name] = of_floats(tensors[name], f(floats(tensors[name])))

    return change


SCALES = {"IQ1_M": set(range(48, 56)), "MXFP4": {0}}
"""Where format.types names none, as they are no F16 numbers: the bytes that scale a block."""


def swapped(a: str, b: str) -> Change:
    def change(tensors: Tensors) -> None:
        tensors[a], tensors[b] = replace(tensors[b], name=a), replace(tensors[a], name=b)

    return change


def removed(name: str) -> Change:
    def change(tensors: Tensors) -> None:
        del tensors[name]

    return change


def flipped(name: str, block: int) -> Change:
    """One block's bytes inverted, but for its scales, so that it stays finite."""

    def change(tensors: Tensors) -> None:
        tensor = tensors[name]
        rows, t = tensor.rows.copy(), tensor.type
        bytes_ = rows.reshape(-1, t.type_size)[block]
        keep = SCALES.get(t.name, {at + i for at in t.scales for i in (0, 1)})
        where = [0] if t.is_float else [i for i in range(t.type_size) if i not in keep]
        bytes_[where] ^= 0x55
        tensors[name] = with_rows(tensor, rows)

    return change


def blocks_swapped(name: str) -> Change:
    def change(tensors: Tensors) -> None:
        rows = tensors[name].rows.copy()
        blocks = rows.reshape(-1, tensors[name].type.type_size)
        blocks[[3, 40]] = blocks[[40, 3]]
        tensors[name] = with_rows(tensors[name], rows)

    return change


def made_from(name: str, intermediate: str) -> Change:
    """Quantized to another type before."""
    t = TYPES[intermediate]

    def change(tensors: Tensors) -> None:
        original = tensors[f"source {name}"]
        first = kernels.quantize(floats(original), t)
        tensors[name] = of_floats(tensors[name], kernels.dequantize(first, t))

    return change


def interleaved(x: Any) -> Any:
    """The rows of each head as another kind of RoPE wants them: (2, 16) becomes (16, 2)."""
    return x.reshape(-1, 2, 16, x.shape[-1]).swapaxes(1, 2).reshape(x.shape)


def another_seed(x: Any) -> Any:
    return np.random.default_rng(7).standard_normal(x.shape).astype(np.float32) * x.std()


def one_nan(x: Any) -> Any:
    x[3, 5] = np.nan
    return x


def output_of_another_model(tensors: Tensors) -> None:
    embedding = tensors["token_embd.weight"]
    tensors["output.weight"] = replace(of_floats(embedding, another_seed(floats(embedding))), name="output.weight")


def one_step(x: Any) -> Any:
    """One BF16 value, by its last bit."""
    x[9, 9] *= 1 + 2**-7
    return x


def items(key: str, f: Callable[[list[Any]], list[Any]]) -> Callable[[GGUFFile], dict[str, Value | None]]:
    """An array of the file's metadata through a function."""

    def changed_keys(gguf: GGUFFile) -> dict[str, Value | None]:
        value = gguf.metadata[key]
        return {key: replace(value, data=f(list(value.data)))}

    return changed_keys


def exchanged(i: int, j: int) -> Callable[[list[Any]], list[Any]]:
    def f(data: list[Any]) -> list[Any]:
        data[i], data[j] = data[j], data[i]
        return data

    return f


def retyped(text: str, type: int) -> Callable[[GGUFFile], dict[str, Value | None]]:
    """The token of that text with another token type."""

    def changed_keys(gguf: GGUFFile) -> dict[str, Value | None]:
        types = list(gguf.get("tokenizer.ggml.token_type"))
        types[gguf.get("tokenizer.ggml.tokens").index(text)] = type
        return {"tokenizer.ggml.token_type": values.array(ValueType.INT32, types)}

    return changed_keys


@dataclass(frozen=True)
class Fault:
    """A wrong file: made from ``base`` ("full" as Q4_K_M, "hybrid" as BF16), and found by ``part`` at ``where``."""

    base: str
    part: str
    where: str
    keys: Mapping[str, Value | None] | Callable[[GGUFFile], Mapping[str, Value | None]] = field(default_factory=dict)
    change: Change = lambda tensors: None
    says: str = ""

    def write(self, right: Path, target: Path) -> Path:
        """The wrong file, made from a right one."""
        keys = self.keys(read_gguf(right)) if callable(self.keys) else self.keys
        return rewritten(right, target, keys, self.change)


A = "exaone4."
T = "tokenizer.ggml."
Q = "blk.1.attn_q.weight"

FAULTS = {
    # what llama.cpp computes with
    "theta 10000": Fault("hybrid", "metadata", f"{A}rope.freq_base", {f"{A}rope.freq_base": values.f32(10000.0)}),
    "theta missing": Fault("full", "metadata", f"{A}rope.freq_base", {f"{A}rope.freq_base": None}, says="10000"),
    "theta of the window": Fault(
        "hybrid", "metadata", f"{A}rope.freq_base_swa", {f"{A}rope.freq_base_swa": values.f32(10000.0)}
    ),
    "eps": Fault(
        "full",
        "metadata",
        f"{A}attention.layer_norm_rms_epsilon",
        {f"{A}attention.layer_norm_rms_epsilon": values.f32(1e-6)},
    ),
    "window one less": Fault(
        "hybrid", "metadata", f"{A}attention.sliding_window", {f"{A}attention.sliding_window": values.u32(31)}
    ),
    "window one more": Fault(
        "hybrid", "metadata", f"{A}attention.sliding_window", {f"{A}attention.sliding_window": values.u32(33)}
    ),
    "window missing": Fault(
        "hybrid", "metadata", f"{A}attention.sliding_window", {f"{A}attention.sliding_window": None}, says="4096"
    ),
    "a window where there is none": Fault(
        "full", "metadata", f"{A}attention.sliding_window", {f"{A}attention.sliding_window": values.u32(4096)}
    ),
    "pattern shifted by a layer": Fault(
        "hybrid",
        "metadata",
        f"{A}attention.sliding_window_pattern",
        items(f"{A}attention.sliding_window_pattern", lambda p: p[-1:] + p[:-1]),
        says="layer 0",
    ),
    "pattern as another number": Fault(
        "hybrid",
        "metadata",
        f"{A}attention.sliding_window_pattern",
        {f"{A}attention.sliding_window_pattern": values.u32(6)},
    ),
    "rope pattern": Fault(
        "hybrid", "metadata", f"{A}attention.rope_pattern", items(f"{A}attention.rope_pattern", lambda p: p[1:] + p[:1])
    ),
    "scaling twice": Fault(
        "full", "metadata", f"{A}rope.scaling.factor", {f"{A}rope.scaling.factor": values.f32(16.0)}
    ),
    "half of a head rotated": Fault(
        "full", "metadata", f"{A}rope.dimension_count", {f"{A}rope.dimension_count": values.u32(16)}
    ),
    "context length": Fault("full", "metadata", f"{A}context_length", {f"{A}context_length": values.u32(4096)}),
    "key heads": Fault(
        "full", "metadata", f"{A}attention.head_count_kv", {f"{A}attention.head_count_kv": values.u32(4)}
    ),
    # the tensors
    "rope_freqs missing": Fault("full", "tensors", "rope_freqs.weight", change=removed("rope_freqs.weight")),
    "rope_freqs doubled": Fault(
        "hybrid", "tensors", "rope_freqs.weight", change=changed("rope_freqs.weight", lambda x: 2 * x)
    ),
    "q and k swapped": Fault("full", "tensors", Q, change=swapped(Q, "blk.1.attn_k.weight"), says="shape"),
    "k and v swapped": Fault(
        "hybrid",
        "tensors",
        "blk.9.attn_k.weight",
        change=swapped("blk.9.attn_k.weight", "blk.9.attn_v.weight"),
        says="it holds the values of blk.9.attn_v.weight",
    ),
    "the norms of q and k swapped": Fault(
        "full",
        "tensors",
        "blk.2.attn_q_norm.weight",
        change=swapped("blk.2.attn_q_norm.weight", "blk.2.attn_k_norm.weight"),
    ),
    "two layers swapped": Fault(
        "full",
        "tensors",
        "blk.1.ffn_up.weight",
        change=swapped("blk.1.ffn_up.weight", "blk.2.ffn_up.weight"),
        says="it holds the values of blk.2.ffn_up.weight",
    ),
    "rows for another RoPE": Fault("full", "tensors", Q, change=changed(Q, interleaved), says="in another order"),
    "transposed": Fault("full", "tensors", Q, change=changed(Q, lambda x: x.T)),
    "a stale tensor": Fault("full", "tensors", Q, change=changed(Q, another_seed)),
    "a stale row": Fault(
        "hybrid",
        "tensors",
        "token_embd.weight",
        change=changed("token_embd.weight", lambda x: np.vstack([x[:600], another_seed(x[600:601]), x[601:]])),
        says="[600, 0]",
    ),
    "zeros": Fault(
        "full", "tensors", "blk.0.ffn_gate.weight", change=changed("blk.0.ffn_gate.weight", lambda x: 0 * x)
    ),
    "negated": Fault("full", "tensors", "blk.0.ffn_gate.weight", change=changed("blk.0.ffn_gate.weight", lambda x: -x)),
    "norms kept as w - 1": Fault(
        "hybrid",
        "tensors",
        "blk.5.post_ffw_norm.weight",
        change=changed("blk.5.post_ffw_norm.weight", lambda x: x - 1),
    ),
    "one flipped block, Q4_K": Fault("full", "tensors", Q, change=flipped(Q, 17), says="1 of 256 blocks"),
    "one flipped block, Q6_K": Fault(
        "full", "tensors", "token_embd.weight", change=flipped("token_embd.weight", 99), says="1 of 704 blocks"
    ),
    "one flipped value, BF16": Fault(
        "hybrid", "tensors", "blk.63.ffn_up.weight", change=flipped("blk.63.ffn_up.weight", 5), says="1 of 8,192 values"
    ),
    "one value, the last bit": Fault(
        "hybrid", "tensors", "blk.0.ffn_up.weight", change=changed("blk.0.ffn_up.weight", one_step), says="[9, 9]"
    ),
    "two blocks swapped": Fault("full", "tensors", Q, change=blocks_swapped(Q), says="2 of 256 blocks"),
    "not a number": Fault(
        "hybrid", "tensors", "blk.0.ffn_up.weight", change=changed("blk.0.ffn_up.weight", one_nan), says="[3, 5]"
    ),
    "the tied flag: no output": Fault("hybrid", "tensors", "output.weight", change=removed("output.weight")),
    "the tied flag: another output": Fault("full", "tensors", "output.weight", change=output_of_another_model),
    # the tokenizer
    "eos id": Fault("full", "tokenizer", f"{T}eos_token_id", {f"{T}eos_token_id": values.u32(5)}),
    "eos missing": Fault("full", "tokenizer", f"{T}eos_token_id", {f"{T}eos_token_id": None}),
    "a merge removed": Fault(
        "full", "tokenizer", f"{T}merges", items(f"{T}merges", lambda m: m[:40] + m[41:]), says="part at item 40"
    ),
    "two merges exchanged": Fault("full", "tokenizer", f"{T}merges", items(f"{T}merges", exchanged(3, 30))),
    "two tokens exchanged": Fault("full", "tokenizer", f"{T}tokens", items(f"{T}tokens", exchanged(400, 500))),
    "a control token demoted": Fault("full", "tokenizer", f"{T}token_type", retyped("[|endofturn|]", 1)),
    "a marker promoted": Fault("full", "tokenizer", f"{T}token_type", retyped("<think>", 3)),
    "another pre-tokenizer": Fault("full", "tokenizer", f"{T}pre", {f"{T}pre": values.string("llama-bpe")}),
    "a BOS added": Fault("full", "tokenizer", f"{T}add_bos_token", {f"{T}add_bos_token": values.boolean(True)}),
    # the template
    "template edited": Fault(
        "full",
        "template",
        "tokenizer.chat_template",
        lambda gguf: {
            "tokenizer.chat_template": values.string(
                gguf.get("tokenizer.chat_template").replace("[|endofturn|]", "[|endofturn|]\n", 1)
            )
        },
    ),
    "template missing": Fault("full", "template", "tokenizer.chat_template", {"tokenizer.chat_template": None}),
}
"""At least 25 kinds, one in each line."""
