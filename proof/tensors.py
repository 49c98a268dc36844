"""The part ``tensors``: all there, of the right shape, and each with the values of its source."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from exaone4_gguf.converter.pipeline import SLAB_WEIGHTS
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.proof.blocks import Tally, compare
from exaone4_gguf.proof.origin import quantized_before, whose
from exaone4_gguf.proof.reading.names import ROPE_FREQS
from exaone4_gguf.proof.report import ANOTHER_MODEL, Finding, Part, evaluated
from exaone4_gguf.quant.kernels import Floats

NAME = "tensors"

TOLERANCES = {ROPE_FREQS: 1e-5}
"""Not stored in the checkpoint but computed, by transformers in 32 bits: up to this relative difference it is right."""

RATIO = 1.25
RATIO_WITH_IMATRIX = 3.0
"""How many times the error of our blocks a tensor may have. An importance matrix trades it against the error of what
matters: up to 2.5 times was measured, with weights by column that are lognormal with sigma 4."""

NEGLIGIBLE = 0.05
"""An intermediate quantization whose error is below this share of the whole is a note, not a failure."""

UNRELATED = 0.8
"""The relative error from which a tensor has nothing of its source: zeros have 1, other weights 1.4."""

_OUTPUT, _EMBEDDING = "output.weight", "token_embd.weight"
_BLOCK = re.compile(r"blk\.([0-9]{1,6})\.")
_MANY = 8
"""Findings that are too many for a slip of one kind."""
_NOTES = 3
"""Notes on tensors that are written out."""

Progress = Callable[[int], None]


@dataclass(frozen=True)
class _Pair:
    """A tensor of the file with its source."""

    source: SourceTensor
    file: SourceTensor
    importance: Floats | None = None


def check_tensors(
    expected: Sequence[SourceTensor],
    found: Mapping[str, SourceTensor],
    *,
    has_imatrix: bool = False,
    importances: Mapping[str, Floats] | None = None,
    ignored: Sequence[str] = (),
    threads: int = 1,
    progress: Progress = lambda n: None,
) -> Part:
    """Compare every tensor of a file with its source.

    Args:
        expected: the checkpoint's tensors, by their GGUF names.
        has_imatrix: the file says that it was made with an importance matrix.
        importances: the matrix, where it is at hand: by tensor name, one for each column.
        ignored: tensors of the file that the checkpoint need not have, see ``of_next_token_prediction``.
        progress: called with the number of weights just compared, from any thread.
    """
    found = {name: tensor for name, tensor in found.items() if name not in ignored}
    wrong = list(shape_faults(expected, found))
    pairs = _pairs(expected, found, importances or {})
    tallies = _compared(pairs, threads, progress)
    notes: list[str] = []
    rows = []
    for pair in pairs:
        tally = tallies[pair.file.name]
        wrong += _findings(pair, tally, expected, has_imatrix, notes)
        rows.append(
            {
                "name": pair.file.name,
                "type": pair.file.type.name,
                "relative_error": tally.relative_error,
                "expected_error": tally.expected_error,
                "reproduced": 1.0 if tally.all_equal else tally.equal / tally.blocks,
            }
        )
    exact = sum(tally.all_equal for tally in tallies.values())
    summary = f"{len(rows)} of {len(expected)} compared, {exact} of them byte for byte what the checkpoint gives"
    sampled = sum(0 < tally.equal == tally.made < tally.blocks for tally in tallies.values())
    if sampled:
        summary += f", {sampled} as far as some of their rows were made again"
    if len(notes) > _NOTES:
        notes[_NOTES:] = [f"{len(notes) - _NOTES} more tensors are like that"]
    if ignored:
        notes.append(f"not compared: {len(ignored)} tensors for next-token prediction, which llama.cpp does not run")
    unrelated = _of_another_model(wrong, pairs, tallies)
    return evaluated(NAME, summary, [unrelated] if unrelated else wrong, notes, {"tensors": rows})


def of_next_token_prediction(names: Iterable[str], n_layers: int, n_nextn: int) -> list[str]:
    """The tensors of the blocks after a model's layers, where the file says that these are for that."""
    numbered = ((name, _BLOCK.match(name)) for name in names)
    return [name for name, match in numbered if match and 0 <= int(match[1]) - n_layers < n_nextn]


def _of_another_model(wrong: Sequence[Finding], pairs: Sequence[_Pair], tallies: Mapping[str, Tally]) -> Finding | None:
    """One finding in the place of many, where no matrix has the values, or the shape, of its source."""
    matrices = [pair.file.name for pair in pairs if len(pair.source.shape) > 1]
    errors = [tallies[name].relative_error for name in matrices]
    if len(wrong) < _MANY or any(error < UNRELATED for error in errors):
        return None
    if not matrices:
        return Finding(ANOTHER_MODEL, f"no matrix has the checkpoint's shape; {wrong[0].where} {wrong[0].what}")
    values = f"relative errors of {min(errors):.2f} to {max(errors):.2f}, where 1.4 means unrelated"
    return Finding(ANOTHER_MODEL, f"none of {len(matrices)} matrices has the checkpoint's values ({values})")


def shape_faults(expected: Sequence[SourceTensor], found: Mapping[str, SourceTensor]) -> Iterator[Finding]:
    """Tensors that are missing, have another shape, or are none of the model's."""
    for source in expected:
        file = found.get(source.name)
        if file is None:
            yield Finding(source.name, "missing")
        elif file.shape != source.shape:
            yield Finding(source.name, f"has shape {list(file.shape)}; the checkpoint's is {list(source.shape)}")
        elif len(source.shape) == 1 and file.type.name != "F32":
            yield Finding(source.name, f"is {file.type}; llama.cpp needs F32 here")
    known = {source.name for source in expected}
    for name in sorted(found.keys() - known - {_OUTPUT}):
        yield Finding(name, "is not one of the model's tensors")


def _pairs(
    expected: Sequence[SourceTensor], found: Mapping[str, SourceTensor], importances: Mapping[str, Floats]
) -> list[_Pair]:
    """The tensors that can be compared. A tied model's file may hold its output too, if it is the embedding."""
    sources = {source.name: source for source in expected}
    if _OUTPUT in found:
        sources.setdefault(_OUTPUT, sources[_EMBEDDING])
    pairs = []
    for name, source in sources.items():
        if name not in found or found[name].shape != source.shape:
            continue
        importance = importances.get(name)
        if importance is not None and importance.shape != source.shape[-1:]:
            importance = None  # the matrix of another model
        pairs.append(_Pair(source, found[name], importance))
    return pairs


def _compared(pairs: Sequence[_Pair], threads: int, progress: Progress) -> dict[str, Tally]:
    """The blocks of all tensors, on all cores, a slab at a time."""
    tallies = {pair.file.name: Tally() for pair in pairs}
    lock = threading.Lock()

    def work(slab: tuple[_Pair, int, int]) -> None:
        pair, first, last = slab
        tolerance = TOLERANCES.get(pair.file.name, 0.0)
        part = compare(pair.source, pair.file, first, last, tolerance, pair.importance)
        with lock:
            tallies[pair.file.name].add(part)
        progress(pair.source.n_weights * (last - first) // max(1, len(pair.source.rows)))

    slabs = _slabs(pairs)
    with ThreadPoolExecutor(threads, thread_name_prefix="verify") as pool:
        while True:
            batch = list(islice(slabs, 64 * threads))  # the pool would take in all slabs at once
            if not batch:
                break
            list(pool.map(work, batch))
    return tallies


def _slabs(pairs: Sequence[_Pair]) -> Iterator[tuple[_Pair, int, int]]:
    for pair in pairs:
        n_rows = len(pair.source.rows)
        step = max(1, SLAB_WEIGHTS * n_rows // max(1, pair.source.n_weights))
        for first in range(0, n_rows, step):
            yield pair, first, min(first + step, n_rows)


def _findings(
    pair: _Pair, tally: Tally, expected: Sequence[SourceTensor], has_imatrix: bool, notes: list[str]
) -> Iterator[Finding]:
    """What is wrong with a tensor, with its cause where that can be seen; what decides nothing goes to ``notes``."""
    name, type = pair.file.name, pair.file.type
    if tally.all_equal:
        return
    error = f"relative error {tally.relative_error:.3g}, where {type} gives {tally.expected_error:.3g}"
    before = None
    if tally.relative_error < UNRELATED and not type.is_float and not tally.mostly_equal:
        before = quantized_before(pair.source, pair.file)
    if before and (before[1] > NEGLIGIBLE or tally.wrong):
        yield Finding(name, f"its values were {before[0]} before: {error}")
    elif _wrong(tally)[0] > 0:
        yield Finding(name, f"{_wrong_blocks(pair, tally)}: {error}{_whose(pair, expected)}")
    elif _too_far(pair, tally, has_imatrix):
        if type.is_float:
            error = f"its values were not rounded to the nearest: {error}"
        yield Finding(name, error)
    elif before:
        notes.append(f"the values of {name} were {before[0]} before, which costs little")
    elif type.is_float:
        notes.append(f"{name} was rounded another way")
    elif not tally.mostly_equal:
        notes.append(f"{name} is not what this version of ggml makes of the checkpoint, but as near to it")
    elif tally.made > tally.equal:
        other = tally.made - tally.equal
        notes.append(f"{name}: {other:,} of {tally.made:,} blocks have other bytes, and errors as they should be")


def _too_far(pair: _Pair, tally: Tally, has_imatrix: bool) -> bool:
    """Whether the tensor as a whole is worse than its type: BF16 that was cut off, not rounded, has twice the error."""
    if pair.file.name in TOLERANCES:
        return False
    ratio = RATIO_WITH_IMATRIX if has_imatrix and not pair.file.type.is_float else RATIO
    return not tally.error <= ratio * tally.expected + 1e-30


def _wrong(tally: Tally) -> tuple[int, list[tuple[int, int]]]:
    """How many blocks are wrong, and the first: by the strict comparison, where the others could be made again."""
    by_lenient = (tally.wrong, tally.wrong_at)
    if not tally.mostly_equal:
        return by_lenient
    return max((tally.worse, tally.worse_at), by_lenient)


def _wrong_blocks(pair: _Pair, tally: Tally) -> str:
    count, places = _wrong(tally)
    place = list(places[0])[-len(pair.source.shape) :]  # a vector is one row
    unit = "blocks"
    if pair.file.type.is_float:
        unit = "values"
    return f"{count:,} of {tally.blocks:,} {unit} are wrong, the first at {place}"


def _whose(pair: _Pair, expected: Sequence[SourceTensor]) -> str:
    whose_values = whose(pair.file, pair.source, expected)
    if whose_values:
        return f"; {whose_values}"
    return ""
