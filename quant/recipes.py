"""File types and their recipes: which tensor gets which type.

The rules are llama.cpp's for this architecture (src/llama-quant.cpp, llama_tensor_get_type), read as a
table: a file type has a base type, a type for the tensor that makes the logits, and rows of exceptions.
To add a file type, add a row to ``FILE_TYPES``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from exaone4_gguf.errors import QuantizeError
from exaone4_gguf.format.types import TYPES, TensorType


@dataclass(frozen=True)
class Place:
    """Where a tensor stands: the i-th of its role, of n; and what of the model and the run the rules ask for.

    ``gqa`` is the number of query heads for each key head.
    """

    i: int
    n: int
    gqa: int = 1
    has_imatrix: bool = False


Rule = Callable[[Place], bool]
"""Does the tensor at this place get the rule's type?"""


def always(p: Place) -> bool:
    """Every one."""
    return True


def more(p: Place) -> bool:
    """The first and last eighth of the layers, and every third between them."""
    return p.i < p.n // 8 or p.i >= 7 * p.n // 8 or (p.i - p.n // 8) % 3 == 2


def first_eighth(p: Place) -> bool:
    """The first eighth of the layers."""
    return p.i < p.n // 8


def first_sixteenth(p: Place) -> bool:
    """The first sixteenth of the layers."""
    return p.i < p.n // 16


def first_four(p: Place) -> bool:
    """The first four."""
    return p.i < 4


def first_two(p: Place) -> bool:
    """The first two."""
    return p.i < 2


def small_v(p: Place) -> bool:
    """Four query heads or more share a value head, so that more bits for it cost little."""
    return p.gqa >= 4


def guarded_by_imatrix(p: Place) -> bool:
    """The first eighth, if there is an importance matrix."""
    return p.has_imatrix and first_eighth(p)


def unguarded(p: Place) -> bool:
    """The first eighth, if there is no importance matrix."""
    return not p.has_imatrix and first_eighth(p)


Cases = tuple[tuple[Rule, str], ...]
"""The type of the first rule that holds; where none does, the base type."""


@dataclass(frozen=True)
class FileType:
    """A file type: ``ftype`` is llama.cpp's number for it (general.file_type).

    ``better`` has, by role, the rules that say which tensors leave the base type, and for which type.
    """

    name: str
    ftype: int
    base: str
    output: str
    better: Mapping[str, Cases] = field(default_factory=dict)


_MORE_Q6_K = {"attn_v": ((more, "Q6_K"),), "ffn_down": ((more, "Q6_K"),)}
_IQ4 = {"attn_v": ((small_v, "Q5_K"),), "ffn_down": ((unguarded, "Q5_K"),)}
_Q3_K_M = {
    "attn_v": ((first_two, "Q5_K"), (always, "Q4_K")),
    "ffn_down": ((first_sixteenth, "Q5_K"), (always, "Q4_K")),
    "attn_output": ((always, "Q4_K"),),
}
_Q2_K = {
    "attn_v": ((small_v, "Q4_K"), (always, "Q3_K")),
    "ffn_down": ((always, "Q3_K"),),
    "attn_output": ((always, "Q3_K"),),
}

_ROWS = (
    FileType("F32", 0, "F32", "F32"),
    FileType("F16", 1, "F16", "F16"),
    FileType("BF16", 32, "BF16", "BF16"),
    FileType("Q8_0", 7, "Q8_0", "Q8_0"),
    FileType("Q6_K", 18, "Q6_K", "Q6_K"),
    FileType("Q5_K_M", 17, "Q5_K", "Q6_K", _MORE_Q6_K),
    FileType("Q5_K_S", 16, "Q5_K", "Q6_K"),
    FileType("Q4_K_M", 15, "Q4_K", "Q6_K", _MORE_Q6_K),
    FileType("Q4_K_S", 14, "Q4_K", "Q6_K", {"attn_v": ((first_four, "Q5_K"),), "ffn_down": ((first_eighth, "Q5_K"),)}),
    FileType("IQ4_NL", 25, "IQ4_NL", "Q6_K", _IQ4),
    FileType("Q4_0", 2, "Q4_0", "Q6_K", {"ffn_down": ((guarded_by_imatrix, "Q4_1"),)}),
    FileType("IQ4_XS", 30, "IQ4_XS", "Q6_K", _IQ4),
    FileType("Q3_K_M", 12, "Q3_K", "Q6_K", _Q3_K_M),
    FileType("Q2_K", 10, "Q2_K", "Q6_K", _Q2_K),
)

FILE_TYPES = {t.name: t for t in _ROWS}
"""All file types, best first: what proposes one tries them in this order."""
ALIASES = {"Q5_K": "Q5_K_M", "Q4_K": "Q4_K_M", "Q3_K": "Q3_K_M"}


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
    tensors: Sequence[TensorShape],
    target: FileType,
    n_blocks: int,
    overrides: Overrides,
    *,
    gqa: int = 1,
    has_imatrix: bool = False,
) -> Iterator[TensorType]:
    """The type of each tensor in a file of type ``target``.

    Args:
        tensors: all tensors of the file, in file order (the rules count them).
        n_blocks: block_count, which the rules for ``ffn_down`` divide by.
        gqa: query heads for each key head.

    Yields:
        One type for each tensor, in the same order.
    """
    tied = all(t.name != "output.weight" for t in tensors)
    counts = {"attn_v": sum(t.role == "attn_v" for t in tensors), "ffn_down": n_blocks}
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
            place = Place(i, counts.get(tensor.role, 0), gqa, has_imatrix)
            chosen = _by_rule(tensor.role, place, target)
            seen[tensor.role] = i + 1
        yield _fitting(tensor, chosen)


def chosen_pattern(tensor: TensorShape, overrides: Overrides) -> tuple[re.Pattern[str], TensorType] | None:
    """The first pattern that is found in the tensor's name, if no option of its own decides on it."""
    if _chosen_by_role(tensor, overrides):
        return None
    return next((pair for pair in overrides.tensor_types if pair[0].search(tensor.name)), None)


def _chosen_by_role(tensor: TensorShape, overrides: Overrides) -> TensorType | None:
    by_role = {"token_embd": overrides.token_embedding, "output": overrides.output}
    return by_role.get(tensor.role)


def _chosen_by_user(tensor: TensorShape, makes_logits: bool, overrides: Overrides) -> TensorType | None:
    wanted = _chosen_by_role(tensor, overrides)
    if wanted:
        return _must_fit(tensor, wanted)
    pair = chosen_pattern(tensor, overrides)
    if pair:
        return pair[1]
    # llama.cpp gives a tied embedding the type of the output, but --pure goes first.
    if makes_logits and not overrides.pure:
        return overrides.output
    return None


def _output_type(tensor: TensorShape, target: FileType) -> TensorType:
    base = TYPES[target.base]
    if tensor.shape[-1] % base.block_size:
        return TYPES["Q8_0"]
    return TYPES[target.output]


def _by_rule(role: str, place: Place, target: FileType) -> TensorType:
    cases = target.better.get(role, ())
    return TYPES[next((type for rule, type in cases if rule(place)), target.base)]


def _fitting(tensor: TensorShape, wanted: TensorType) -> TensorType:
    """``wanted``, or what replaces it where its blocks do not divide the row."""
    columns = tensor.shape[-1]
    if columns % wanted.block_size:
        wanted = TYPES[wanted.fallback or wanted.name]
    if columns % wanted.block_size:
        return TYPES["F16"]
    return wanted


def _must_fit(tensor: TensorShape, wanted: TensorType) -> TensorType:
    if tensor.shape[-1] % wanted.block_size:
        raise QuantizeError(
            f"{tensor.name}: rows of {tensor.shape[-1]} cannot be {wanted}, whose blocks hold {wanted.block_size}"
        )
    return wanted
