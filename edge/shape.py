"""What ``fit`` needs to know of a model: the shapes of its tensors and a few sizes, from a GGUF file or a folder.

Of a folder, config.json is enough: nothing of the weights is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from exaone4_gguf.converter.classes import CAUSAL, CLASSES, ModelClass
from exaone4_gguf.converter.config import Exaone4Config, check_llama_cpp_runs_it, read_config
from exaone4_gguf.converter.model import from_gguf
from exaone4_gguf.converter.names import ROPE_FREQS, block_of, expected_tensors, file_order
from exaone4_gguf.errors import CheckpointError, GGUFError
from exaone4_gguf.format.file import GGUFFile, read_gguf
from exaone4_gguf.format.keys import CLASS_KEY
from exaone4_gguf.format.types import TYPES, TensorType
from exaone4_gguf.quant.recipes import FILE_TYPES, FileType, Overrides, TensorShape, assign_types


@dataclass(frozen=True)
class ModelShape:
    """A model by its sizes, in elements and tokens.

    ``tensors`` are in file order, with the types that they have; ``own`` is the file type, None where it is one that
    we do not write. ``sliding_layers`` are those that see ``sliding_window`` tokens.
    """

    path: Path
    name: str
    tensors: tuple[TensorShape, ...]
    own: str | None
    is_checkpoint: bool
    n_vocab: int
    width: int
    ffn_width: int
    kv_width: int
    context_length: int
    sliding_window: int | None
    sliding_layers: tuple[bool, ...]
    n_blocks: int
    model_class: ModelClass = CAUSAL

    @property
    def n_layers(self) -> int:
        """How many layers are computed: all blocks but those for next-token prediction."""
        return len(self.sliding_layers)

    def is_loaded(self, tensor: TensorShape) -> bool:
        """Whether llama.cpp loads it: not of a block that it does not run."""
        return block_of(tensor.name) < self.n_layers

    @property
    def tied(self) -> bool:
        """Whether the embedding also makes the logits."""
        return all(t.name != "output.weight" for t in self.tensors)

    @property
    def can_be_quantized(self) -> bool:
        """Whether its matrices are floats: of these any type can be made."""
        return all(t.type.is_float for t in self.tensors)

    def types_in(self, target: FileType) -> list[TensorType]:
        """The type of each tensor in a file of that type."""
        return list(assign_types(self.tensors, target, self.n_blocks, Overrides()))

    @property
    def types_now(self) -> list[TensorType]:
        """The type of each tensor as it is."""
        return [t.type for t in self.tensors]


def read_shape(path: str | Path) -> ModelShape:
    """The shape of a GGUF file (any part of a split one), or of a checkpoint's folder.

    Raises:
        Exaone4Error: it is neither, it is damaged, or llama.cpp would compute it wrong.
    """
    given = Path(path)
    if not given.is_dir() and (given.exists() or given.suffix == ".gguf"):
        return _of_gguf(given)
    if not given.is_dir():
        raise CheckpointError(f"{given}: no such file or folder")
    return _of_config(given, read_config(given))


def _of_config(folder: Path, c: Exaone4Config) -> ModelShape:
    check_llama_cpp_runs_it(c.num_hidden_layers, c.sliding_window, any(c.sliding_layers))
    shapes = [(t.gguf_name, t.shape) for t in expected_tensors(c)]
    if c.rope_scaling is not None:
        shapes.append((ROPE_FREQS, (c.head_dim // 2,)))
    tensors = [TensorShape(name, shape, TYPES["F32" if len(shape) < 2 else "BF16"]) for name, shape in shapes]
    return ModelShape(
        path=folder,
        name=folder.resolve().name,
        tensors=tuple(sorted(tensors, key=lambda t: file_order(t.name))),
        own="BF16",
        is_checkpoint=True,
        n_vocab=c.vocab_size,
        width=c.hidden_size,
        ffn_width=c.intermediate_size,
        kv_width=c.kv_size,
        context_length=c.max_position_embeddings,
        sliding_window=c.sliding_window,
        sliding_layers=c.sliding_layers,
        n_blocks=c.num_hidden_layers,
        model_class=c.model_class,
    )


def _of_gguf(path: Path) -> ModelShape:
    gguf = read_gguf(path)
    model = from_gguf(gguf)
    tensors = tuple(TensorShape(t.name, t.shape, t.type) for t in model.tensors)
    rows = {t.name: t.shape[0] for t in tensors if len(t.shape) == 2}
    number = gguf.get("general.file_type")
    return ModelShape(
        path=path,
        name=str(gguf.get("general.name", path.stem)),
        tensors=tensors,
        own=next((t.name for t in FILE_TYPES.values() if t.ftype == number), None),
        is_checkpoint=False,
        n_vocab=rows["token_embd.weight"],
        width=_size(gguf, "embedding_length"),
        ffn_width=rows["blk.0.ffn_up.weight"],
        kv_width=rows["blk.0.attn_k.weight"],
        context_length=_size(gguf, "context_length"),
        sliding_window=model.sliding_window,
        sliding_layers=model.sliding_layers,
        n_blocks=model.n_blocks,
        model_class=CLASSES.get(str(gguf.get(CLASS_KEY)), CAUSAL),
    )


def _size(gguf: GGUFFile, key: str) -> int:
    value = gguf.get(f"%s.{key}")
    if not isinstance(value, int) or value < 1:
        raise GGUFError(f"{gguf.path}: exaone4.{key} is {value!r}; it must be a number")
    return value
