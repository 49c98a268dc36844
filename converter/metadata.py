"""The metadata of the GGUF file: what hubs show, what llama.cpp computes with, the tokenizer, the template."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exaone4_gguf.converter.checkpoint.folder import check_text
from exaone4_gguf.converter.config import Exaone4Config
from exaone4_gguf.converter.tokenizer.chat_template import DEFAULT
from exaone4_gguf.converter.tokenizer.token_roles import TokenRoles, joined, read_generation_config
from exaone4_gguf.converter.tokenizer.tokenizer import Tokenizer
from exaone4_gguf.errors import ConfigError
from exaone4_gguf.format.keys import ARCHITECTURE, END_TOKENS_KEY, LICENSE_TEXT_KEY
from exaone4_gguf.format.values import Metadata, Value, ValueType, array, boolean, f32, string, strings, u32
from exaone4_gguf.quant.imatrix import ImportanceMatrix

if TYPE_CHECKING:
    from gguf.metadata import Metadata as HubMetadata

_log = logging.getLogger(__name__)

PRE_TOKENIZER = "exaone4"

_LICENSE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md")
_EOS_KEYS = ("eos_token_id", "eot_token_id", "eom_token_id")
"""llama.cpp ends a generation at each of these, so that up to three ids fit."""

_ENDS_BY_TEXT = frozenset(
    (
        *("<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|endoftext|>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]"),
        *("[EOS]", "<|end_of_text|>", "<end_of_utterance>", "<eos>"),
    )
)
"""llama.cpp ends a generation at these texts whatever the keys say (llama_vocab::impl::load, src/llama-vocab.cpp)."""

QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION (ggml.h)


def build_metadata(
    model_dir: Path, config: Exaone4Config, tokenizer: Tokenizer, templates: dict[str, str], n_params: int
) -> Metadata:
    """All keys but ``general.file_type`` and ``general.quantization_version``, which the plan adds.

    Args:
        n_params: number of weights, for the size label.

    Raises:
        ConfigError: a token that is to end a turn, say, is not in the vocabulary.
    """
    return dict(
        (
            ("general.architecture", string(ARCHITECTURE)),
            *_general(model_dir, n_params),
            *_hyperparameters(config),
            *_tokenizer(tokenizer, _roles(model_dir, config, tokenizer)),
            *_templates(templates),
        )
    )


def file_type_keys(ftype: int) -> Metadata:
    """The two keys that a quantization sets, in the order in which llama.cpp writes them."""
    return {
        "general.quantization_version": u32(QUANTIZATION_VERSION),
        "general.file_type": u32(ftype),
    }


def imatrix_keys(matrix: ImportanceMatrix) -> Metadata:
    """What llama-quantize says of the importance matrix, in its order; it has room for 127 bytes of a name."""
    keys = {"quantize.imatrix.file": string(_cut(matrix.path))}
    if matrix.datasets:
        keys["quantize.imatrix.dataset"] = string(_cut(matrix.datasets[0]))
    keys["quantize.imatrix.entries_count"] = u32(len(matrix.entries))
    if matrix.chunk_count > 0:
        keys["quantize.imatrix.chunks_count"] = u32(matrix.chunk_count)
    return keys


def _cut(name: str) -> str:
    return name.encode("utf-8", errors="replace")[:127].decode("utf-8", errors="ignore")


def _general(model_dir: Path, n_params: int) -> Iterator[tuple[str, Any]]:
    """Names and licence, by the conventions of gguf-py from the model card and the folder's name."""
    yield "general.type", string("model")
    general = _from_gguf_py(model_dir, n_params)
    yield from general.items()
    license_text = _license_text(model_dir)
    if license_text:
        if "general.license" not in general:
            yield "general.license.name", string(license_text.strip().splitlines()[0].strip())
            yield "general.license.link", string(_LICENSE_FILES[0])
        yield LICENSE_TEXT_KEY, string(license_text)


def _license_text(model_dir: Path) -> str:
    for name in _LICENSE_FILES:
        check_text(model_dir / name)
        if (path := model_dir / name).is_file() and (text := path.read_text("utf-8", errors="replace")).strip():
            return text
    return ""


def _from_gguf_py(model_dir: Path, n_params: int) -> Metadata:
    """gguf-py tells the ``general.*`` keys only to its writer, which keeps them until it is given a file."""
    from gguf import GGUFWriter
    from gguf.utility import size_label

    hub = _hub_metadata(model_dir.resolve(), n_params)
    hub.size_label = hub.size_label or size_label(n_params, n_params, 0, 0)
    hub.name = hub.name or ARCHITECTURE
    hub.set_gguf_meta_model(writer := GGUFWriter(None, ARCHITECTURE))
    told = {key: _value(v.type, v.value) for key, v in writer.kv_data[0].items()}
    del told["general.architecture"]
    return told


def _hub_metadata(model_dir: Path, n_params: int) -> HubMetadata:
    """What gguf-py finds in the model card and the names; a card that cannot be read is none, as on the hubs."""
    import yaml
    from gguf.metadata import Metadata as HubMetadata

    organization, named = _identity(model_dir)
    try:
        hub, card = HubMetadata.load(model_path=model_dir), HubMetadata.load_model_card(model_dir)
        told = HubMetadata.apply_metadata_heuristic(HubMetadata(), card, {}, named, n_params)
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as e:
        _log.warning("%s: what the model card says is skipped: %s", model_dir, str(e).splitlines()[0])
        hub = told = HubMetadata.apply_metadata_heuristic(HubMetadata(), {}, {}, named, n_params)
    for field in ("name", "basename", "finetune", "version", "size_label", "organization"):
        setattr(hub, field, getattr(told, field))
    hub.organization = hub.organization or organization
    return hub


def _identity(model_dir: Path) -> tuple[str | None, Path]:
    """The organization, and a path that ends in the model's name; the Hub's cache has a commit hash there."""
    repo = model_dir.parent.parent.name
    if model_dir.parent.name == "snapshots" and repo.startswith("models--") and repo.count("--") >= 2:
        _, organization, name = repo.split("--", 2)
        return organization, Path(name)
    return None, model_dir


def _value(kind: int, value: Any) -> Value:
    """A value that gguf-py's writer kept. Cards are written by hand: where a text is meant, anything may stand."""
    if kind == ValueType.ARRAY:
        return strings(str(item) for item in value)
    if kind == ValueType.STRING:
        return string(_whole(str(value)))
    return Value(ValueType(kind), value)


def _whole(text: str) -> str:
    """A folder's name need not be UTF-8."""
    return text.encode("utf-8", errors="replace").decode()


def _hyperparameters(c: Exaone4Config) -> Iterator[tuple[str, Any]]:
    for key, value in (
        ("block_count", u32(c.num_hidden_layers)),
        ("context_length", u32(c.max_position_embeddings)),
        ("embedding_length", u32(c.hidden_size)),
        ("feed_forward_length", u32(c.intermediate_size)),
        ("attention.head_count", u32(c.num_attention_heads)),
        ("attention.head_count_kv", u32(c.num_key_value_heads)),
        ("rope.freq_base", f32(c.rope_theta)),
        ("attention.layer_norm_rms_epsilon", f32(c.rms_norm_eps)),
        ("attention.key_length", u32(c.head_dim)),
        ("attention.value_length", u32(c.head_dim)),
        ("vocab_size", u32(c.vocab_size)),
    ):
        yield f"{ARCHITECTURE}.{key}", value
    if c.sliding_window is not None:
        yield f"{ARCHITECTURE}.attention.sliding_window", u32(c.sliding_window)
        pattern = array(ValueType.BOOL, c.sliding_layers)
        yield f"{ARCHITECTURE}.attention.sliding_window_pattern", pattern
    rope_pattern = array(ValueType.UINT32, map(int, c.rope_layers))
    yield f"{ARCHITECTURE}.attention.rope_pattern", rope_pattern


def _tokenizer(t: Tokenizer, roles: TokenRoles) -> Iterator[tuple[str, Any]]:
    yield "tokenizer.ggml.model", string("gpt2")
    yield "tokenizer.ggml.pre", string(PRE_TOKENIZER)
    yield "tokenizer.ggml.tokens", strings(t.texts())
    yield "tokenizer.ggml.token_type", array(ValueType.INT32, map(int, t.types))
    if t.merges:
        yield "tokenizer.ggml.merges", strings(t.merges)
    yield from _role_keys(roles, t)
    yield "tokenizer.ggml.add_bos_token", boolean(t.adds_bos)
    yield "tokenizer.ggml.add_eos_token", boolean(t.adds_eos)


def _role_keys(roles: TokenRoles, t: Tokenizer) -> Iterator[tuple[str, Value]]:
    ids = {"bos_token_id": roles.bos, "unknown_token_id": t.special_ids.get("unk"), "padding_token_id": roles.pad}
    ids |= zip(_EOS_KEYS, roles.ends, strict=False)
    for key, token in ids.items():
        if token is not None:
            yield f"tokenizer.ggml.{key}", u32(token)
    if len(roles.ends) > len(_EOS_KEYS):
        yield END_TOKENS_KEY, array(ValueType.UINT32, roles.ends)


def _roles(model_dir: Path, c: Exaone4Config, t: Tokenizer) -> TokenRoles:
    """Who says which token has which role: the tokenizer first, then generation_config.json, then config.json.

    Raises:
        ConfigError: an id is not in the vocabulary, or nobody names an end token.
    """
    own = TokenRoles(t.special_ids.get("bos"), t.special_ids.get("pad"), _one(t.special_ids.get("eos")))
    roles = joined((own, read_generation_config(model_dir), c.roles))
    for key, ids in (("bos", _one(roles.bos)), ("pad", _one(roles.pad)), ("eos", roles.ends)):
        beyond = [i for i in ids if i >= len(t.tokens)]
        if beyond:
            raise ConfigError(f"{key}_token_id {beyond[0]} is not in the vocabulary of {len(t.tokens)} tokens")
    if not roles.ends and c.model_class.speaks:
        raise ConfigError(
            f"{model_dir}: neither tokenizer_config.json nor generation_config.json nor config.json names an end "
            "token; name one there: llama.cpp would end a turn at token 11"
        )
    return replace(roles, ends=_in_key_order(roles.ends, t))


def _in_key_order(ends: tuple[int, ...], t: Tokenizer) -> tuple[int, ...]:
    """The first stays; at its end are those for which llama.cpp needs no key."""
    ordered = (*ends[:1], *sorted(ends[1:], key=lambda i: t.tokens[i] in _ENDS_BY_TEXT))
    unknown = [t.tokens[i] for i in ordered[len(_EOS_KEYS) :] if t.tokens[i] not in _ENDS_BY_TEXT]
    if unknown:
        _log.warning(
            "there are %d end tokens, and llama.cpp has keys for %d: its own programs go on after %s",
            *(len(ends), len(_EOS_KEYS), ", ".join(map(repr, unknown))),
        )
    return ordered


def _one(token: int | None) -> tuple[int, ...]:
    if token is None:
        return ()
    return (token,)


def _templates(templates: dict[str, str]) -> Iterator[tuple[str, Any]]:
    """The keys are gguf-py's (Keys.Tokenizer.CHAT_TEMPLATE*), and so are the letters that a name may have."""
    safe = {re.sub("[^A-Za-z0-9]", "_", name): template for name, template in templates.items()}
    for name, template in safe.items():
        key = "tokenizer.chat_template" + ("" if name == DEFAULT else f".{name}")
        yield key, string(template)
    extra = sorted(safe.keys() - {DEFAULT})
    if extra:
        yield "tokenizer.chat_templates", strings(extra)
