"""The part ``tensors``: all there, of the right shape, and each with the values of its source."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

from exaone4_gguf.converter.pipeline import SLAB_WEIGHTS
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.proof.blocks import Tally, compare
from exaone4_gguf.proof.origin import quantized_before, whose
from exaone4_gguf.proof.reading.names import ROPE_FREQS
from exaone4_gguf.proof.report import ANOTHER_MODEL, Finding, Part, judged
from exaone4_gguf.quant.kernels import Floats

NAME = "tensors"

TOLERANCES = {ROPE_FREQS: 1e-5}
"""Not stored in the checkpoint but computed, by transformers in 32 bits: up to this relative difference it is right."""

RATIO = 1.25
RATIO_WITH_IMATRIX = 3.0
"""How many times the error of our blocks a tensor may have. An importance matrix trades it against the error of what
matters: up to 2.5 times was measured, with weights by column that are lognormal with sigma 4."""

NEGLIGIBLE = 0.05
"""An intermediate quantization whose error is below this share of the whole is told, but is no failure."""

UNRELATED = 0.8
"""The relative error from which a tensor has nothing of its source: zeros have 1, other weights 1.4."""

_OUTPUT, _EMBEDDING = "output.weight", "token_embd.weight"
_BLOCK = re.compile(r"blk\.([0-9]{1,6})\.")
_MANY = 8
"""Findings that are too many for a slip of one kind."""

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
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        tally = tallies[pair.file.name]
        wrong += _judged(pair, tally, expected, has_imatrix, notes)
        rows.append(_row(pair, tally))
    exact = sum(row["reproduced"] == 1 for row in rows)
    summary = f"{len(rows)} of {len(expected)} compared, {exact} of them byte for byte what the checkpoint gives"
    if sampled := sum(0 < tally.equal == tally.made < tally.blocks for tally in tallies.values()):
        summary += f", {sampled} as far as some of their rows were made again"
    if unrelated := _of_another_model(wrong, pairs, tallies):
        wrong = [unrelated]
    notes = _shortened(notes)
    if ignored:
        notes.append(f"not compared: {len(ignored)} tensors for next-token prediction, which llama.cpp does not run")
    return judged(NAME, summary, wrong, notes, {"tensors": rows})


def of_next_token_prediction(names: Iterable[str], n_layers: int, n_nextn: int) -> list[str]:
    """The tensors of the blocks after a model's layers, where the file says that these are for that."""
    numbered = ((name, _BLOCK.match(name)) for name in names)
    return [name for name, match in numbered if match and 0 <= int(match[1]) - n_layers < n_nextn]


def _of_another_model(wrong: Sequence[Finding], pairs: Sequence[_Pair], tallies: Mapping[str, Tally]) -> Finding | None:
    """One finding in the place of many, where no matrix has the values, or the shape, of its source."""
    matrices = [pair.file.name for pair in pairs if len(pair.source.shape) > 1]
    errors = [relative(tallies[name].error, tallies[name].energy) for name in matrices]
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
    """What can be compared. A tied model's output may stand in the file as well, if it is the embedding."""
    sources = {source.name: source for source in expected}
    if _OUTPUT in found:
        sources.setdefault(_OUTPUT, sources[_EMBEDDING])
    both = ((source, found[name]) for name, source in sources.items() if name in found)
    return [_Pair(s, f, _fitting(importances.get(f.name), s)) for s, f in both if s.shape == f.shape]


def _fitting(importance: Floats | None, source: SourceTensor) -> Floats | None:
    return importance if importance is not None and importance.shape == source.shape[-1:] else None


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
        while batch := list(islice(slabs, 64 * threads)):
            list(pool.map(work, batch))
    return tallies


def _slabs(pairs: Sequence[_Pair]) -> Iterator[tuple[_Pair, int, int]]:
    for pair in pairs:
        n_rows = len(pair.source.rows)
        step = max(1, SLAB_WEIGHTS * n_rows // max(1, pair.source.n_weights))
        for first in range(0, n_rows, step):
            yield pair, first, min(first + step, n_rows)


def _judged(
    pair: _Pair, tally: Tally, expected: Sequence[SourceTensor], has_imatrix: bool, notes: list[str]
) -> Iterator[Finding]:
    """What is wrong with a tensor, with its cause where that can be seen; what is only told goes to ``notes``."""
    name = pair.file.name
    if tally.all_equal:
        return
    before = quantized_before(pair.source, pair.file) if _may_have_been_quantized_before(pair, tally) else None
    if before and (before[1] > NEGLIGIBLE or tally.wrong):
        yield Finding(name, f"its values were {before[0]} before: {_error(pair, tally)}")
    elif _wrong(tally)[0] > 0:
        yield Finding(name, _wrong_blocks(pair, tally, whose(pair.file, pair.source, expected)))
    elif _too_far(pair, tally, has_imatrix):
        how = "its values were not rounded to the nearest: " if pair.file.type.is_float else ""
        yield Finding(name, how + _error(pair, tally))
    elif before:
        notes.append(f"the values of {name} were {before[0]} before, which costs little")
    elif pair.file.type.is_float:
        notes.append(f"{name} was rounded another way")
    elif not tally.mostly_equal:
        notes.append(f"{name} is not what this version of ggml makes of the checkpoint, but as near to it")
    elif other := tally.made - tally.equal:
        notes.append(f"{name}: {other:,} of {tally.made:,} blocks have other bytes, and errors as they should be")


def _may_have_been_quantized_before(pair: _Pair, tally: Tally) -> bool:
    related = relative(tally.error, tally.energy) < UNRELATED
    return related and not pair.file.type.is_float and not tally.mostly_equal


def _too_far(pair: _Pair, tally: Tally, has_imatrix: bool) -> bool:
    """Whether the tensor as a whole is worse than its type: BF16 that was cut off, not rounded, has twice the error."""
    if pair.file.name in TOLERANCES:
        return False
    ratio = RATIO_WITH_IMATRIX if has_imatrix and not pair.file.type.is_float else RATIO
    return not tally.error <= ratio * tally.expected + 1e-30


def _wrong(tally: Tally) -> tuple[int, list[tuple[int, int]]]:
    """How many blocks are wrong, and the first: by the strict comparison, where the others could be made again."""
    by_strict, by_lenient = (tally.worse, tally.worse_at), (tally.wrong, tally.wrong_at)
    return max(by_strict, by_lenient) if tally.mostly_equal else by_lenient


def _wrong_blocks(pair: _Pair, tally: Tally, whose_values: str) -> str:
    count, places = _wrong(tally)
    row, column = places[0]
    at = f"[{column}]" if len(pair.source.shape) == 1 else f"[{row}, {column}]"
    unit = "values" if pair.file.type.is_float else "blocks"
    told = f"; {whose_values}" if whose_values else ""
    return f"{count:,} of {tally.blocks:,} {unit} are wrong, the first at {at}: {_error(pair, tally)}{told}"


def _error(pair: _Pair, tally: Tally) -> str:
    found, wanted = relative(tally.error, tally.energy), relative(tally.expected, tally.energy)
    return f"relative error {found:.3g}, where {pair.file.type} gives {wanted:.3g}"


def relative(error: float, energy: float) -> float:
    """Root mean square error over root mean square, of sums of squares."""
    return float((error / energy) ** 0.5) if energy else 0.0


def _row(pair: _Pair, tally: Tally) -> dict[str, Any]:
    return {
        "name": pair.file.name,
        "type": pair.file.type.name,
        "relative_error": relative(tally.error, tally.energy),
        "expected_error": relative(tally.expected, tally.energy),
        "reproduced": tally.equal / tally.blocks if tally.blocks else 1.0,
    }


def _shortened(notes: Sequence[str], most: int = 3) -> list[str]:
    more = [f"{len(notes) - most} more tensors are like that"] if len(notes) > most else []
    return [*notes[:most], *more]
