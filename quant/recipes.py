"""File types and their recipes: which tensor gets which type.

The rules are llama.cpp's for this architecture (src/llama-quant.cpp, llama_tensor_get_type), read as a
table: a file type has a base type, a type for the tensor that makes the logits, and rows of exceptions.
To add a file type, add a row to ``FILE_TYPES``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from exaone4_gguf.errors import QuantizeError
from exaone4_gguf.quant.types import TYPES, TensorType

Rule = Callable[[int, int], bool]
"""(i, n): does the i-th tensor of its role, of n, get the better type?"""


def more(i: int, n: int) -> bool:
    """The first and last eighth of the layers, and every third between them."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def first_eighth(i: int, n: int) -> bool:
    """The first eighth of the layers."""
    return i < n // 8


def first_four(i: int, n: int) -> bool:
    """The first four."""
    return i < 4


@dataclass(frozen=True)
class FileType:
    """A file type: ``ftype`` is llama.cpp's number for it (general.file_type).

    ``better`` has, by role, the rule that says which tensors leave the base type, and for which type.
    """

    name: str
    ftype: int
    base: str
    output: str
    better: dict[str, tuple[Rule, str]] = field(default_factory=dict)


_ROWS = (
    FileType("F32", 0, "F32", "F32"),
    FileType("F16", 1, "F16", "F16"),
    FileType("BF16", 32, "BF16", "BF16"),
    FileType("Q8_0", 7, "Q8_0", "Q8_0"),
    FileType("Q6_K", 18, "Q6_K", "Q6_K"),
    FileType("Q5_K_M", 17, "Q5_K", "Q6_K", {"attn_v": (more, "Q6_K"), "ffn_down": (more, "Q6_K")}),
    FileType("Q5_K_S", 16, "Q5_K", "Q6_K"),
    FileType("Q4_K_M", 15, "Q4_K", "Q6_K", {"attn_v": (more, "Q6_K"), "ffn_down": (more, "Q6_K")}),
    FileType("Q4_K_S", 14, "Q4_K", "Q6_K", {"attn_v": (first_four, "Q5_K"), "ffn_down": (first_eighth, "Q5_K")}),
    FileType("Q4_0", 2, "Q4_0", "Q6_K"),
)

FILE_TYPES = {t.name: t for t in _ROWS}
ALIASES = {"Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}

# A row length that the block size does not divide: llama.cpp's next best type.
FALLBACKS = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}


def file_type(name: str) -> FileType:
    """The file type of that name (any case; ``Q4_K`` means ``Q4_K_M``).

    Raises:
        QuantizeError: there is none; the message lists them.
    """
    found = FILE_TYPES.get(ALIASES.get(name.upper(), name.upper()))
    if found is None:
        raise QuantizeError(f"unknown type '{name}'; one of: {', '.join(FILE_TYPES)}")
    return found


@dataclass(frozen=True)
class Overrides:
    """What the user wants otherwise: llama-quantize's options of the same names.

    ``tensor_types`` are (regular expression, type) pairs; the first that is found in the tensor's name wins.
    """

    tensor_types: tuple[tuple[re.Pattern[str], TensorType], ...] = ()
    token_embedding: TensorType | None = None
    output: TensorType | None = None
    pure: bool = False


@dataclass(frozen=True)
class TensorShape:
    """A tensor by its GGUF name: shape as in numpy (rows, columns), and the type it has now."""

    name: str
    shape: tuple[int, ...]
    type: TensorType

    @property
    def role(self) -> str:
        """What the tensor does, whatever its layer: ``attn_v`` of ``blk.3.attn_v.weight``."""
        return self.name.removesuffix(".weight").split(".")[-1]


def quantizable(tensor: TensorShape) -> bool:
    """Only matrices change their type; norms, ``rope_freqs`` and single rows keep theirs."""
    is_matrix = math.prod(tensor.shape[:-1]) > 1
    return is_matrix and tensor.name.endswith("weight") and "_norm.weight" not in tensor.name


def assign_types(
    tensors: Sequence[TensorShape], target: FileType, n_layers: int, overrides: Overrides
) -> Iterator[TensorType]:
    """The type of each tensor in a file of type ``target``.

    Args:
        tensors: all tensors of the file, in file order (the rules count them).
        n_layers: block_count, which the rules for ``ffn_down`` divide by.

    Yields:
        One type for each tensor, in the same order.
    """
    tied = all(t.name != "output.weight" for t in tensors)
    counts = {"attn_v": sum(t.role == "attn_v" for t in tensors), "ffn_down": n_layers}
    seen = dict.fromkeys(counts, 0)
    for tensor in tensors:
        if not quantizable(tensor):
            yield tensor.type
            continue
        makes_logits = tensor.role == "output" or (tied and tensor.role == "token_embd")
        chosen = _chosen_by_user(tensor, makes_logits, overrides)
        if chosen is None and overrides.pure:
            chosen = TYPES[target.base]
        if chosen is None and makes_logits:
            chosen = _output_type(tensor, target)
        if chosen is None:
            i = seen.get(tensor.role, 0)
            chosen = _by_rule(tensor.role, i, counts.get(tensor.role, 0), target)
            seen[tensor.role] = i + 1
        yield _fitting(tensor, chosen)


def _chosen_by_user(tensor: TensorShape, makes_logits: bool, overrides: Overrides) -> TensorType | None:
    if tensor.role == "token_embd" and overrides.token_embedding:
        return _must_fit(tensor, overrides.token_embedding)
    if tensor.role == "output" and overrides.output:
        return _must_fit(tensor, overrides.output)
    for pattern, wanted in overrides.tensor_types:
        if pattern.search(tensor.name):
            return wanted
    # llama.cpp gives a tied embedding the type of the output, but --pure goes first.
    return overrides.output if makes_logits and not overrides.pure else None


def _output_type(tensor: TensorShape, target: FileType) -> TensorType:
    base = TYPES[target.base]
    return TYPES["Q8_0"] if tensor.shape[-1] % base.block_size else TYPES[target.output]


def _by_rule(role: str, i: int, n: int, target: FileType) -> TensorType:
    rule, better = target.better.get(role, (None, target.base))
    return TYPES[better if rule and rule(i, n) else target.base]


def _fitting(tensor: TensorShape, wanted: TensorType) -> TensorType:
    """``wanted``, or what replaces it where its blocks do not divide the row."""
    columns = tensor.shape[-1]
    if columns % wanted.block_size:
        wanted = TYPES[FALLBACKS.get(wanted.name, wanted.name)]
    return TYPES["F16"] if columns % wanted.block_size else wanted


def _must_fit(tensor: TensorShape, wanted: TensorType) -> TensorType:
    if tensor.shape[-1] % wanted.block_size:
        raise QuantizeError(
            f"{tensor.name}: rows of {tensor.shape[-1]} cannot be {wanted}, whose blocks hold {wanted.block_size}"
        )
    return wanted
