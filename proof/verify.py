"""``verify``: does a GGUF file mean what its checkpoint means? Part by part, with what is wrong by name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from exaone4_gguf.converter.checkpoint.hub import model_folder
from exaone4_gguf.converter.pipeline import default_threads
from exaone4_gguf.errors import RequestError, TextError
from exaone4_gguf.format.file import GGUFFile, read_gguf
from exaone4_gguf.format.values import Metadata
from exaone4_gguf.proof import behaviour, head, metadata, template, tensors, tokenizer
from exaone4_gguf.proof.reading import converters_reading, quiet, vocabulary
from exaone4_gguf.proof.reading.checkpoint import Checkpoint, read_checkpoint
from exaone4_gguf.proof.reading.configuration import read_configuration
from exaone4_gguf.proof.reading.vocabulary import OwnTokenizer, Vocabulary
from exaone4_gguf.proof.report import FileReport, Part, Report, not_evaluated
from exaone4_gguf.quant.imatrix import read_imatrix
from exaone4_gguf.quant.kernels import Floats
from exaone4_gguf.quant.recipes import FILE_TYPES

PARTS = (metadata.NAME, tensors.NAME, head.NAME, tokenizer.NAME, template.NAME, behaviour.NAME)
CHEAP = PARTS[:-1]
"""The parts that do not run the model."""

TOKENS = 512
_MOST_TOKENS = 1 << 17

ShowProgress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Given a title and a total, a context that counts up to it."""


def silently(title: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """No progress shown."""
    return nullcontext(lambda n: None)


def verify(
    model_dir: str | Path,
    files: str | Path | Sequence[str | Path],
    *,
    parts: Sequence[str] = PARTS,
    tokens: int = TOKENS,
    data: str | Path | None = None,
    imatrix: str | Path | None = None,
    threads: int | None = None,
    show_progress: ShowProgress = silently,
    tell: Callable[[str], None] = lambda line: None,
) -> Report:
    """Compare GGUF files with the checkpoint that they were made from.

    Args:
        model_dir: the Hugging Face folder, or the id of a repository on the Hugging Face Hub.
        files: one file or several; of a split one, any part.
        parts: which of ``PARTS``; the report has no others, and ``head`` only of a class that has no output for text.
        tokens: how many the model reads for the part behaviour.
        data: a text file, compared by the tokenizers and read by the models instead of the built-in texts.
        imatrix: the importance matrix that the files were made with: then their tensors can be compared byte for byte.
        threads: by default as many as processors.
        show_progress: given a title and a total, a context that counts.
        tell: called in advance with a line on what takes much memory.

    Raises:
        Exaone4Error: the checkpoint is not right, a file cannot be read at all, or an argument is wrong.
    """
    paths = [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise RequestError(f"there is no part '{unknown[0]}'; there are {', '.join(PARTS)}")
    if isinstance(tokens, bool) or not 2 <= tokens <= _MOST_TOKENS:
        raise RequestError(f"tokens is {tokens!r}; it must be a whole number from 2 to {_MOST_TOKENS}")
    text = read_text(Path(data)) if data is not None else ""
    ggufs = [read_gguf(path) for path in paths]
    folder = model_folder(model_dir)
    importances = {}
    if imatrix is not None:
        entries = read_imatrix(imatrix).entries
        importances = {name: entry.importance for name, entry in entries.items()}
    with quiet.quietly():
        independent = quiet.has_reference()
        read = read_configuration if independent else converters_reading.read_configuration
        checks = _Checks(
            folder,
            read_checkpoint(folder, read),
            independent,
            parts=[part for part in PARTS if part in parts],
            n_tokens=tokens,
            text=text,
            importances=importances,
            threads=threads or default_threads(),
            show_progress=show_progress,
            tell=tell,
        )
        reports = tuple(checks.report(path, gguf) for path, gguf in zip(paths, ggufs, strict=True))
    return Report(str(model_dir), reports)


def read_text(path: Path) -> str:
    """Read a user's text.

    Raises:
        TextError: it cannot be read, is not UTF-8, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as e:
        raise TextError(f"{path}: {e.strerror or e}") from None
    except UnicodeDecodeError:
        raise TextError(f"{path}: not UTF-8 text") from None
    if not text.strip():
        raise TextError(f"{path}: there is no text in it")
    return text


@dataclass
class _Checks:
    """The checkpoint, read once, and the parts that are compared with it.

    ``independent`` is true where config.json was read by transformers, not by the converter.
    """

    folder: Path
    checkpoint: Checkpoint
    independent: bool
    parts: Sequence[str]
    n_tokens: int
    text: str
    importances: Mapping[str, Floats]
    threads: int
    show_progress: ShowProgress
    tell: Callable[[str], None]

    def report(self, path: Path, gguf: GGUFFile) -> FileReport:
        """The requested parts of one file; without the head where neither side has one, unless it is all there is."""
        names = self.parts
        if self._is_headless(gguf):
            names = [name for name in names if name != head.NAME] or names
        size = sum(part.stat().st_size for part in gguf.parts)
        weights = max(1, sum(t.n_weights for t in gguf.tensors.values()))
        number = gguf.get("general.file_type")
        file_type = next((t.name for t in FILE_TYPES.values() if t.ftype == number), f"file type {number}")
        parts = tuple(self._part(name, gguf) for name in names)
        return FileReport(str(path), file_type, size, 8 * size / weights, parts)

    def _is_headless(self, gguf: GGUFFile) -> bool:
        return self.checkpoint.config.speaks and head.CLASS_KEY not in gguf.metadata

    def _part(self, name: str, gguf: GGUFFile) -> Part:
        checks: Mapping[str, Callable[[GGUFFile], Part]] = {
            metadata.NAME: lambda file: metadata.check_metadata(self.checkpoint.config, file),
            tensors.NAME: self._tensors,
            head.NAME: self._head,
            tokenizer.NAME: self._tokenizer,
            template.NAME: self._template,
            behaviour.NAME: self._behaviour,
        }
        part = checks[name](gguf)
        if self.independent:
            return part
        return replace(part, notes=(*part.notes, converters_reading.NOTE))

    def _tensors(self, gguf: GGUFFile) -> Part:
        with self.show_progress(f"{gguf.path.name}: tensors", self.checkpoint.n_weights) as progress:
            return tensors.check_tensors(
                self.checkpoint.gguf_tensors,
                gguf.tensors,
                has_imatrix=any(key.startswith("quantize.imatrix.") for key in gguf.metadata),
                importances=self.importances,
                ignored=self._ignored(gguf),
                threads=self.threads,
                progress=progress,
            )

    def _ignored(self, gguf: GGUFFile) -> list[str]:
        n_layers = self.checkpoint.config.num_hidden_layers
        return tensors.of_next_token_prediction(gguf.tensors, n_layers, metadata.n_nextn(gguf))

    def _head(self, gguf: GGUFFile) -> Part:
        if self._is_headless(gguf):
            return not_evaluated(head.NAME, f"{self.checkpoint.config.model_class} has none")
        return head.check_head(self.checkpoint, gguf)

    def _tokenizer(self, gguf: GGUFFile) -> Part:
        return tokenizer.check_tokenizer(self._vocabulary, gguf, self._own_tokenizer, self.text)

    def _template(self, gguf: GGUFFile) -> Part:
        own = self._own_tokenizer
        if own is None:
            expected = template.templates(self._metadata_of_converter)
        else:
            expected = template.own_templates(own)
        return template.check_template(expected, gguf, own)

    def _behaviour(self, gguf: GGUFFile) -> Part:
        if self._own_tokenizer is None or not self.independent:
            reason = "it needs torch and transformers: pip install 'exaone4-gguf[reference]'"
            return not_evaluated(behaviour.NAME, reason)
        fault = next(self._shape_faults(gguf), None)
        if fault is not None:
            return not_evaluated(behaviour.NAME, f"llama.cpp is not given a file of other shapes: {fault}")
        needed = self._comparison.memory_needed(gguf)
        self.tell(f"llama.cpp needs {needed / 1e9:.1f} GB of memory for {gguf.path.name}")
        with self.show_progress(f"{gguf.path.name}: behaviour", self._comparison.weights_used()) as progress:
            return self._comparison.check(gguf, progress)

    def _shape_faults(self, gguf: GGUFFile) -> Iterator[str]:
        """Keys and tensors that could make llama.cpp end the process."""
        yield from metadata.shape_faults(self.checkpoint.config, gguf)
        ignored = self._ignored(gguf)
        known = {name: t for name, t in gguf.tensors.items() if name not in ignored}
        yield from (fault.where for fault in tensors.shape_faults(self.checkpoint.gguf_tensors, known))

    @functools.cached_property
    def _own_tokenizer(self) -> OwnTokenizer | None:
        return tokenizer.own_tokenizer(self.folder)

    @functools.cached_property
    def _vocabulary(self) -> Vocabulary:
        if self._own_tokenizer is None:
            return vocabulary.from_metadata(self._metadata_of_converter)
        return vocabulary.read_vocabulary(self._own_tokenizer, self.checkpoint.config, self.folder)

    @functools.cached_property
    def _metadata_of_converter(self) -> Metadata:
        return converters_reading.read_metadata(self.folder)

    @functools.cached_property
    def _comparison(self) -> behaviour.Behaviour:
        tokenize = functools.partial(tokenizer.ids_of, self._own_tokenizer)
        ids = behaviour.choose_tokens(self.n_tokens, tokenize, self.text)
        return behaviour.Behaviour(self.checkpoint, ids)
