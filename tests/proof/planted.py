"""Mistakes planted in the converter: a file is made, and verified, with each of them in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from exaone4_gguf.converter import config, metadata, model, names, weights
from exaone4_gguf.converter.tokenizer import tokenizer
from exaone4_gguf.format import values
from exaone4_gguf.format.tensor import SourceTensor
from tests.checkpoints import full_config, hybrid_config

Plant = Callable[[pytest.MonkeyPatch], None]


def patched(place: Any, name: str, wrong: Callable[[Any], Any]) -> Plant:
    """What a function of the converter returns, through another."""
    right = getattr(place, name)
    return lambda patch: patch.setattr(place, name, lambda *args, **kwargs: wrong(right(*args, **kwargs)))


def told(**changes: Any) -> Plant:
    """Another reading of config.json."""
    return patched(model, "read_config", lambda c: replace(c, **changes))


def tokenized(**changes: Callable[[Any], Any]) -> Plant:
    """Another reading of the tokenizer, field by field."""
    return patched(
        model, "read_tokenizer", lambda t: replace(t, **{key: f(getattr(t, key)) for key, f in changes.items()})
    )


def key(name: str, value: Any) -> Plant:
    """Another value of a hyperparameter; None leaves it out."""

    def wrong(right: Iterator[tuple[str, Any]]) -> list[tuple[str, Any]]:
        keys = dict(right) | {f"exaone4.{name}": value}
        return [(key, value) for key, value in keys.items() if value is not None]

    return patched(metadata, "_hyperparameters", wrong)


def scaling(f: Callable[[Any], Any]) -> Plant:
    """Another reading of RoPE's scaling."""
    return patched(config, "read_rope", lambda read: (read[0], f(read[1])))


def swapped(a: str, b: str) -> Plant:
    """Two rows of a table of names, each with the other's source."""

    def wrong(patch: pytest.MonkeyPatch) -> None:
        for table in ("BLOCK_TENSORS", "MODEL_TENSORS"):
            rows = {row[1]: row for row in getattr(names, table)}
            if a in rows:
                rows[a], rows[b] = (rows[b][0], a, rows[a][2]), (rows[a][0], b, rows[b][2])
                patch.setattr(names, table, tuple(rows.values()))

    return wrong


def stored(name: str, f: Callable[[Any], Any]) -> Plant:
    """A tensor's values through a function, as 16-bit numbers of shape (rows, columns)."""

    def wrong(tensor: SourceTensor) -> SourceTensor:
        if tensor.name != name:
            return tensor
        bits = f(tensor.rows.view(np.uint16))
        return replace(tensor, rows=np.ascontiguousarray(bits).view(np.uint8))

    return patched(weights, "_renamed", wrong)


def taken_from(names_of: Callable[[str], str]) -> Plant:
    """Tensors read from other places of the checkpoint."""

    def wrong(patch: pytest.MonkeyPatch) -> None:
        patched(weights, "expected_tensors", lambda every: [replace(e, hf_name=names_of(e.hf_name)) for e in every])(
            patch
        )
        patch.setattr(weights, "_check_left_over", lambda *args: None)

    return wrong


def both(*plants: Plant) -> Plant:
    def wrong(patch: pytest.MonkeyPatch) -> None:
        for plant in plants:
            plant(patch)

    return wrong


def left_unchecked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(weights, "_check_left_over", lambda *args: None)


def rotated_left(items: Any) -> Any:
    return (*items[1:], *items[:1])


def exchanged(items: Any, i: int, j: int) -> Any:
    changed = list(items)
    changed[i], changed[j] = changed[j], changed[i]
    return tuple(changed)


def retyped(change: dict[int, int]) -> Callable[[Any], Any]:
    """Token types, some of them as others."""
    kinds = {tokenizer.TokenType(a): tokenizer.TokenType(b) for a, b in change.items()}
    return lambda types: tuple(kinds.get(t, t) for t in types)


def interleaved(rows: Any) -> Any:
    """The rows of each head as another kind of RoPE wants them."""
    return rows.reshape(-1, 2, 8, rows.shape[-1]).swapaxes(1, 2).reshape(rows.shape)


def heads_permuted(rows: Any) -> Any:
    return np.roll(rows.reshape(4, -1, rows.shape[-1]), 1, axis=0).reshape(rows.shape)


SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
MODELS: dict[str, Callable[[], dict[str, Any]]] = {
    "tied": lambda: full_config(**SMALL),
    "untied": lambda: full_config(**SMALL, tie_word_embeddings=False),
    "hybrid": lambda: hybrid_config(),
    "two ends": lambda: full_config(**SMALL, eos_token_id=[689, 684]),
    "padded": lambda: full_config(**SMALL, vocab_size=768),
    "classifier": lambda: full_config(
        **SMALL,
        architectures=["Exaone4ForSequenceClassification"],
        id2label={"0": "아니요", "1": "예", "2": "no", "3": "sí", "4": "yes"},
        pad_token_id=680,
    ),
}


@dataclass(frozen=True)
class Mistake:
    """A mistake, the model of ``MODELS`` that shows it, and the finding that must name it."""

    plant: Plant
    part: str
    where: str
    model: str = "tied"
    says: str = ""
    outtype: str = field(default="auto")


A, T = "exaone4.", "tokenizer.ggml."
Q, UP = "blk.1.attn_q.weight", "blk.1.ffn_up.weight"

MISTAKES = {
    # what config.json says
    "theta doubled": Mistake(
        patched(config, "read_rope", lambda read: (2 * read[0], read[1])), "metadata", f"{A}rope.freq_base"
    ),
    "theta not written": Mistake(key("rope.freq_base", None), "metadata", f"{A}rope.freq_base", says="10000"),
    "epsilon": Mistake(told(rms_norm_eps=1e-6), "metadata", f"{A}attention.layer_norm_rms_epsilon"),
    "context length": Mistake(told(max_position_embeddings=2048), "metadata", f"{A}context_length"),
    "width of the feed-forward": Mistake(
        key("feed_forward_length", values.u32(64)), "metadata", f"{A}feed_forward_length"
    ),
    "heads": Mistake(key("attention.head_count", values.u32(8)), "metadata", f"{A}attention.head_count"),
    "key heads": Mistake(key("attention.head_count_kv", values.u32(4)), "metadata", f"{A}attention.head_count_kv"),
    "key heads left out": Mistake(key("attention.head_count_kv", None), "metadata", f"{A}attention.head_count_kv"),
    "key length": Mistake(key("attention.key_length", values.u32(32)), "metadata", f"{A}attention.key_length"),
    "half of a head rotated": Mistake(
        key("rope.dimension_count", values.u32(8)), "metadata", f"{A}rope.dimension_count"
    ),
    "scaling in two places": Mistake(
        key("rope.scaling.factor", values.f32(16.0)), "metadata", f"{A}rope.scaling.factor"
    ),
    "not causal": Mistake(key("attention.causal", values.boolean(False)), "metadata", f"{A}attention.causal"),
    "a layer too few": Mistake(key("block_count", values.u32(3)), "metadata", f"{A}block_count"),
    "size of the vocabulary": Mistake(key("vocab_size", values.u32(700)), "metadata", f"{A}vocab_size"),
    "window": Mistake(told(sliding_window=33), "metadata", f"{A}attention.sliding_window", "hybrid"),
    "window not written": Mistake(
        key("attention.sliding_window", None), "metadata", f"{A}attention.sliding_window", "hybrid", says="4096"
    ),
    "pattern shifted": Mistake(
        patched(model, "read_config", lambda c: replace(c, sliding_layers=rotated_left(c.sliding_layers))),
        "metadata",
        f"{A}attention.sliding_window_pattern",
        "hybrid",
        says="layer 2",
    ),
    "pattern inverted": Mistake(
        patched(model, "read_config", lambda c: replace(c, sliding_layers=tuple(not s for s in c.sliding_layers))),
        "metadata",
        f"{A}attention.sliding_window_pattern",
        "hybrid",
    ),
    "RoPE in the full layers": Mistake(
        key("attention.rope_pattern", values.array(values.ValueType.UINT32, [1] * 64)),
        "metadata",
        f"{A}attention.rope_pattern",
        "hybrid",
    ),
    # RoPE's factors
    "factors of one": Mistake(patched(weights, "frequency_factors", np.ones_like), "tensors", "rope_freqs.weight"),
    "factors inverted": Mistake(patched(weights, "frequency_factors", lambda f: 1 / f), "tensors", "rope_freqs.weight"),
    "factors reversed": Mistake(
        patched(weights, "frequency_factors", lambda f: f[::-1].copy()), "tensors", "rope_freqs.weight"
    ),
    "factor halved": Mistake(scaling(lambda s: replace(s, factor=s.factor / 2)), "tensors", "rope_freqs.weight"),
    "low and high exchanged": Mistake(
        scaling(lambda s: replace(s, low_freq_factor=s.high_freq_factor, high_freq_factor=s.low_freq_factor)),
        "tensors",
        "rope_freqs.weight",
    ),
    "the original context": Mistake(
        scaling(lambda s: replace(s, original_context=65536.0)), "tensors", "rope_freqs.weight"
    ),
    "scaling left out": Mistake(scaling(lambda s: None), "tensors", "rope_freqs.weight", says="missing"),
    # tensors
    "embedding for output": Mistake(
        taken_from(lambda n: "lm_head.weight" if n == "model.embed_tokens.weight" else n),
        "tensors",
        "token_embd.weight",
        "untied",
        says="it holds the values of output.weight",
    ),
    "untied as tied": Mistake(
        both(told(tie_word_embeddings=True), left_unchecked), "tensors", "output.weight", "untied", says="missing"
    ),
    "transposed": Mistake(stored(Q, lambda x: x.T), "tensors", Q),
    "rows shifted": Mistake(stored(UP, lambda x: np.roll(x, 1, 0)), "tensors", UP, says="in another order"),
    "rows reversed": Mistake(stored(UP, lambda x: x[::-1]), "tensors", UP, says="in another order"),
    "columns shifted": Mistake(stored(UP, lambda x: np.roll(x, 1, 1)), "tensors", UP),
    "heads permuted": Mistake(stored(Q, heads_permuted), "tensors", Q, says="in another order"),
    "rows for another RoPE": Mistake(stored(Q, interleaved), "tensors", Q, says="in another order"),
    "heads permuted, quantized": Mistake(stored(Q, heads_permuted), "tensors", Q, outtype="Q8_0"),
    "zeros": Mistake(stored(UP, np.zeros_like), "tensors", UP),
    "negated": Mistake(stored(UP, lambda x: x ^ 0x8000), "tensors", UP),
    "the last bit cut off": Mistake(stored(UP, lambda x: x & 0xFFFE), "tensors", UP),
    "norms of another layer": Mistake(
        taken_from(lambda n: n.replace("layers.2.post_attention", "layers.1.post_attention")),
        "tensors",
        "blk.2.post_attention_norm.weight",
    ),
    "a layer twice": Mistake(
        taken_from(lambda n: n.replace("layers.2.", "layers.1.")),
        "tensors",
        "blk.2.ffn_up.weight",
        says="it holds the values of blk.1.ffn_up.weight",
    ),
    "one matrix of another layer": Mistake(
        taken_from(lambda n: n.replace("layers.3.self_attn.q_proj", "layers.0.self_attn.q_proj")),
        "tensors",
        "blk.3.attn_q.weight",
        says="it holds the values of blk.0.attn_q.weight",
    ),
    "all layers in reverse": Mistake(
        taken_from(lambda n: "".join(str(3 - int(c)) if c.isdecimal() and "layers." in n else c for c in n)),
        "tensors",
        "blk.0.attn_q.weight",
        says="it holds the values of blk.3.attn_q.weight",
    ),
    # the tokenizer
    "the end of turn": Mistake(
        tokenized(special_ids=lambda ids: ids | {"eos": 5}), "tokenizer", f"{T}eos_token_id", "untied"
    ),
    "padding": Mistake(tokenized(special_ids=lambda ids: ids | {"pad": 5}), "tokenizer", f"{T}padding_token_id"),
    "the unknown token": Mistake(
        tokenized(special_ids=lambda ids: ids | {"unk": ids["pad"]}), "tokenizer", f"{T}unknown_token_id"
    ),
    "the beginning": Mistake(tokenized(special_ids=lambda ids: ids | {"bos": 5}), "tokenizer", f"{T}bos_token_id"),
    "the beginning left out": Mistake(
        tokenized(special_ids=lambda ids: {role: i for role, i in ids.items() if role != "bos"}),
        "tokenizer",
        f"{T}bos_token_id",
        says="which llama.cpp takes for 11",
    ),
    "an end left out": Mistake(
        lambda patch: patch.setattr(metadata, "_EOS_KEYS", metadata._EOS_KEYS[:1]),
        "tokenizer",
        f"{T}eos_token_id",
        "two ends",
        says="no key says that an answer ends at 684",
    ),
    "an end of models that fill gaps in code": Mistake(
        patched(metadata, "_tokenizer", lambda keys: [*keys, (f"{T}fim_pad_token_id", values.u32(300))]),
        "tokenizer",
        f"{T}fim_pad_token_id",
        says="ends no answer",
    ),
    "markers as control tokens": Mistake(tokenized(types=retyped({4: 3})), "tokenizer", f"{T}token_type"),
    "control tokens as markers": Mistake(tokenized(types=retyped({3: 4})), "tokenizer", f"{T}token_type"),
    "added tokens as others": Mistake(tokenized(types=retyped({3: 1, 4: 1})), "tokenizer", f"{T}token_type"),
    "a merge left out": Mistake(tokenized(merges=lambda m: m[:40] + m[41:]), "tokenizer", f"{T}merges"),
    "the last merge left out": Mistake(tokenized(merges=lambda m: m[:-1]), "tokenizer", f"{T}merges"),
    "two merges exchanged": Mistake(tokenized(merges=lambda m: exchanged(m, 3, 30)), "tokenizer", f"{T}merges"),
    "merges reversed": Mistake(tokenized(merges=lambda m: m[::-1]), "tokenizer", f"{T}merges"),
    "two tokens exchanged": Mistake(tokenized(tokens=lambda t: exchanged(t, 400, 500)), "tokenizer", f"{T}tokens"),
    "ids off by one": Mistake(tokenized(tokens=rotated_left), "tokenizer", f"{T}tokens"),
    "a vocabulary that is not filled up": Mistake(
        lambda patch: patch.setattr(tokenizer.Tokenizer, "padded", lambda self, size: self),
        "tokenizer",
        f"{T}tokens",
        "padded",
    ),
    "filled up with tokens that are used": Mistake(
        patched(tokenizer.Tokenizer, "padded", lambda t: replace(t, types=retyped({5: 1})(t.types))),
        "tokenizer",
        f"{T}token_type",
        "padded",
    ),
    "a token before each text": Mistake(tokenized(adds_bos=lambda adds: True), "tokenizer", f"{T}add_bos_token"),
    "a token after each text": Mistake(tokenized(adds_eos=lambda adds: True), "tokenizer", f"{T}add_eos_token"),
    # the template
    "template stripped": Mistake(
        patched(model, "read_chat_templates", lambda t: {name: text.strip() for name, text in t.items()}),
        "template",
        "tokenizer.chat_template",
    ),
    "template edited": Mistake(
        patched(model, "read_chat_templates", lambda t: {name: x.replace("<think>", "") for name, x in t.items()}),
        "template",
        "tokenizer.chat_template",
    ),
    "template left out": Mistake(
        lambda patch: patch.setattr(model, "read_chat_templates", lambda folder: {}),
        "template",
        "tokenizer.chat_template",
    ),
    # a classifier's head
    "labels in another order": Mistake(
        patched(model, "read_config", lambda c: replace(c, head=replace(c.head, labels=c.head.labels[::-1]))),
        "head",
        "exaone4-head.classifier.output_labels",
        "classifier",
    ),
    "sigmoid for softmax": Mistake(
        patched(model, "read_config", lambda c: replace(c, head=replace(c.head, activation="sigmoid"))),
        "head",
        "exaone4-head.activation",
        "classifier",
    ),
    "the pad of a classifier": Mistake(
        patched(model, "read_config", lambda c: replace(c, head=replace(c.head, pad_token_id=None))),
        "head",
        "exaone4-head.padding_token_id",
        "classifier",
    ),
    "a head upside down": Mistake(
        patched(model, "head_tensors", lambda ts: [replace(t, rows=np.ascontiguousarray(t.rows[::-1])) for t in ts]),
        "head",
        "cls.output.weight",
        "classifier",
    ),
    "the class not named": Mistake(
        patched(model, "_class_keys", lambda keys: {k: v for k, v in keys.items() if k != "exaone4_gguf.class"}),
        "head",
        "exaone4_gguf.class",
        "classifier",
    ),
}
"""More than 25 kinds; every pair of tensors of the same shape comes on top of them."""


def square_config() -> dict[str, Any]:
    """All matrices of a layer have one shape, and so have all norms that can."""
    return full_config(**SMALL | {"num_key_value_heads": 4, "intermediate_size": 64}, tie_word_embeddings=False)


def same_shape() -> Iterator[tuple[str, str]]:
    """Pairs of tensors that a table of names could exchange without an error."""
    c = config.parse_config(square_config())
    rows = [(row[1], c.sizes(row[2])) for row in names.BLOCK_TENSORS]
    yield from ((a, b) for i, (a, shape) in enumerate(rows) for b, other in rows[:i] if shape == other)
