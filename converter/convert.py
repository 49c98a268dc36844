"""The two commands of this room, as functions: ``convert`` a checkpoint, ``quantize`` a GGUF."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, Unpack

from exaone4_gguf.converter import pipeline
from exaone4_gguf.converter.checkpoint.hub import model_folder
from exaone4_gguf.converter.doubts import doubts
from exaone4_gguf.converter.head import is_head, plan_head
from exaone4_gguf.converter.metadata import file_type_keys, imatrix_keys
from exaone4_gguf.converter.model import Model, from_checkpoint, from_gguf
from exaone4_gguf.converter.output import Output, check_target
from exaone4_gguf.converter.plan import Plan, make_plan
from exaone4_gguf.errors import ImatrixError, OutputError, QuantizeError
from exaone4_gguf.format.file import GGUFFile, read_gguf
from exaone4_gguf.format.tensor import SourceTensor
from exaone4_gguf.format.types import TensorType
from exaone4_gguf.format.values import Metadata
from exaone4_gguf.quant.imatrix import ImportanceMatrix, read_imatrix
from exaone4_gguf.quant.kernels import Floats
from exaone4_gguf.quant.recipes import FILE_TYPES, FileType, Overrides, TensorShape, assign_types, file_type

_log = logging.getLogger(__name__)

_EMBEDDING = "token_embd.weight"

AUTO = "auto"
"""The outtype that keeps each matrix in the type it has in the checkpoint."""

ShowProgress = Callable[[Plan], AbstractContextManager[pipeline.Progress]]


def _silently(plan: Plan) -> AbstractContextManager[pipeline.Progress]:
    return nullcontext(lambda n_bytes: None)


class WriteOptions(TypedDict, total=False):
    """How to write; both commands take these.

    ``split_max_size``: the most bytes of tensors in one file; 0 (the default) for one file.
    ``head_type``: of a classifier's head, F32 (the default) or F16.
    ``threads``: by default as many as processors. ``force``: replace an existing target.
    ``dry_run``: plan, and write nothing. ``show_progress``: given the plan, a context that counts bytes.
    """

    split_max_size: int
    head_type: str | None
    threads: int | None
    force: bool
    dry_run: bool
    show_progress: ShowProgress


@dataclass(frozen=True)
class Result:
    """What was written, or would be: ``plan`` has the files and the tensors with their types.

    ``without_importance`` are the names of the layers' tensors that the importance matrix has nothing of.
    """

    plan: Plan
    file_type: FileType
    written: bool
    without_importance: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files, one unless split; a classifier's head is one more, and the last."""
        return tuple(file.path for file in self.plan.files)

    @property
    def head(self) -> Path | None:
        """The file of a classifier's head."""
        return next((file.path for file in self.plan.files if is_head(file)), None)


def convert(
    model_dir: str | Path,
    outfile: str | Path,
    outtype: str = AUTO,
    *,
    overrides: Overrides | None = None,
    imatrix: ImportanceMatrix | str | Path | None = None,
    allow_wrong_in_llama_cpp: bool = False,
    template_for_llama_server: bool = False,
    **options: Unpack[WriteOptions],
) -> Result:
    """Convert a Hugging Face folder to GGUF, quantizing in the same pass.

    Args:
        model_dir: the folder, or the id of a repository on the Hugging Face Hub.
        outfile: the target, or a folder, in which the name is chosen.
        outtype: a file type (see ``quant.recipes.FILE_TYPES``), or "auto" for the checkpoint's own dtype.
        overrides: types of single tensors, as llama-quantize's options of the same names.
        imatrix: an importance matrix, or its file, as llama-imatrix or ``exaone4-gguf imatrix`` wrote it.
        allow_wrong_in_llama_cpp: write files that llama.cpp would load and compute wrong.
        template_for_llama_server: change the chat template so that stock llama-server tells thoughts and answer apart;
            what a server evaluates stays the same.
        options: how to write, see ``WriteOptions``.

    Raises:
        Exaone4Error: the checkpoint is not right, or the target cannot be written. Nothing is left behind.
    """
    wanted = None if outtype.lower() == AUTO else file_type(outtype)
    model = from_checkpoint(
        model_folder(model_dir),
        strict=not allow_wrong_in_llama_cpp,
        template_for_llama_server=template_for_llama_server,
    )
    target = wanted or _own_file_type(model.tensors)
    matrix = _matrix(model, imatrix)
    types = _assigned(model, target, overrides, matrix) if wanted or overrides else model.types
    _tell_doubts(model, types, overrides, matrix)
    return _write(model, types, target, Path(outfile), matrix, **options)


def quantize(
    infile: str | Path,
    outfile: str | Path,
    outtype: str,
    *,
    overrides: Overrides | None = None,
    imatrix: ImportanceMatrix | str | Path | None = None,
    allow_requantize: bool = False,
    allow_wrong_in_llama_cpp: bool = False,
    **options: Unpack[WriteOptions],
) -> Result:
    """Quantize a GGUF file of EXAONE 4 (any part of a split one), keeping all its other keys.

    Args:
        allow_requantize: quantize what is quantized already, which costs more than once from the original.

    The other arguments are those of ``convert``.

    Raises:
        Exaone4Error: the input is not right, or the target cannot be written. Nothing is left behind.
    """
    target = file_type(outtype)
    gguf = read_gguf(Path(infile))
    model = from_gguf(gguf, strict=not allow_wrong_in_llama_cpp)
    matrix = _matrix(model, imatrix)
    types = _assigned(model, target, overrides, matrix)
    if not allow_requantize:
        _refuse_requantizing(gguf, model, types)
    _tell_doubts(model, types, overrides, matrix)
    return _write(model, types, target, Path(outfile), matrix, **options)


def _own_file_type(tensors: Sequence[SourceTensor]) -> FileType:
    """The file type that most weights have: what a lossless file is called."""
    weights: Counter[str] = Counter()
    for t in tensors:
        weights[t.type.name] += t.n_weights
    return FILE_TYPES[weights.most_common(1)[0][0]]


def _assigned(
    model: Model, target: FileType, overrides: Overrides | None, matrix: ImportanceMatrix | None
) -> list[TensorType]:
    shapes, chosen, has = _shapes(model), overrides or Overrides(), matrix is not None
    return list(assign_types(shapes, target, model.n_blocks, chosen, gqa=model.gqa, has_imatrix=has))


def _shapes(model: Model) -> list[TensorShape]:
    return [TensorShape(t.name, t.shape, type) for t, type in zip(model.tensors, model.types, strict=True)]


def _tell_doubts(
    model: Model, types: Sequence[TensorType], overrides: Overrides | None, matrix: ImportanceMatrix | None
) -> None:
    for doubt in doubts(model.metadata, _shapes(model), types, overrides, has_imatrix=matrix is not None):
        _log.warning("%s", doubt)


def _matrix(model: Model, given: ImportanceMatrix | str | Path | None) -> ImportanceMatrix | None:
    """The importance matrix, which must be of this model."""
    if given is None:
        return None
    matrix = given if isinstance(given, ImportanceMatrix) else read_imatrix(given)
    shapes = {t.name: t.shape for t in model.tensors}
    if not matrix.entries.keys() & shapes.keys():
        raise ImatrixError(f"{matrix.path}: none of its {len(matrix.entries)} entries is of a tensor of this model")
    for name, entry in matrix.entries.items():
        if name in shapes and name != _EMBEDDING and len(entry.sums) != shapes[name][-1]:
            raise ImatrixError(
                f"{matrix.path}: {name} has {len(entry.sums)} values for rows of {shapes[name][-1]}; "
                "it is of another model"
            )
    return matrix


def _importances(model: Model, matrix: ImportanceMatrix) -> dict[str, Floats]:
    """By tensor; llama.cpp leaves out a token embedding's of another size without a word, and so do we."""
    fitting = (t for t in model.tensors if t.name in matrix.entries)
    found = {t.name: matrix.entries[t.name].importance for t in fitting}
    return {t.name: found[t.name] for t in model.tensors if t.name in found and len(found[t.name]) == t.shape[-1]}


def _without_importance(plan: Plan, matrix: ImportanceMatrix | None) -> tuple[str, ...]:
    if matrix is None:
        return ()
    linear = (t for t in plan.tensors if t.name.startswith("blk.") and len(t.source.shape) > 1)
    return tuple(t.name for t in linear if t.importance is None)


def _refuse_requantizing(gguf: GGUFFile, model: Model, types: Sequence[TensorType]) -> None:
    for tensor, type in zip(model.tensors, types, strict=True):
        if not tensor.type.is_float and tensor.type != type:
            raise QuantizeError(
                f"{gguf.path}: tensor {tensor.name} is {tensor.type} already; quantize the original, "
                "or pass --allow-requantize"
            )


def _write(
    model: Model,
    types: Sequence[TensorType],
    file_type: FileType,
    outfile: Path,
    matrix: ImportanceMatrix | None,
    *,
    split_max_size: int = 0,
    head_type: str | None = None,
    threads: int | None = None,
    force: bool = False,
    dry_run: bool = False,
    show_progress: ShowProgress = _silently,
) -> Result:
    if split_max_size < 0:
        raise OutputError(f"split_max_size is {split_max_size}; it must be a number of bytes, or 0")
    metadata = _with_keys(model.metadata, file_type_keys(file_type.ftype) | (imatrix_keys(matrix) if matrix else {}))
    target = _target(outfile, metadata, file_type)
    importances = _importances(model, matrix) if matrix else {}
    plan = make_plan(target, metadata, model.tensors, types, split_max_size, importances)
    without = _without_importance(plan, matrix)
    if head_type is not None and not model.head:
        raise QuantizeError(f"{outfile}: the model has no head that could be {head_type}")
    if model.head:
        plan = Plan((*plan.files, *plan_head(model.head, target, head_type).files))
    if dry_run:
        return Result(plan, file_type, False, without)
    check_target(target, plan, model.inputs, force=force)
    with show_progress(plan) as progress, Output(target, plan, force=force) as output:
        pipeline.run(plan, output, max(1, threads or pipeline.default_threads()), progress)
        output.commit()
    return Result(plan, file_type, True, without)


def _with_keys(metadata: Metadata, keys: Metadata) -> Metadata:
    """The keys at the end, as llama.cpp sets them, also those that were there before."""
    return {key: value for key, value in metadata.items() if key not in keys} | keys


def _target(outfile: Path, metadata: Metadata, file_type: FileType) -> Path:
    """The file to write: in a folder, one named after the model and the type."""
    if not outfile.is_dir():
        return outfile
    name: Any = metadata["general.name"].data if "general.name" in metadata else "EXAONE-4.0"
    safe = "".join(c if c.isalnum() or c in "._-" else "-" for c in str(name))
    return outfile / f"{safe.strip('.-') or 'model'}-{file_type.name}.gguf"
