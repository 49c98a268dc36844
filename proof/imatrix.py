"""``imatrix``: what each column of each linear layer's input matters, from the streamed reference.

As llama-imatrix does it (tools/imatrix/imatrix.cpp): the text is cut into chunks of equal length, which do not see each
other; what does not fill a chunk is left out; every token of a chunk counts; the blocks' linear layers are covered, and
the output is not. It needs no GGUF file, and memory for one slab of a matrix beside the activations.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from exaone4_gguf.converter.checkpoint.hub import model_folder
from exaone4_gguf.converter.output import followed
from exaone4_gguf.errors import OutputError, RequestError, RuntimeFailure, TextError
from exaone4_gguf.format.atomic import replacing
from exaone4_gguf.proof.reading.checkpoint import Checkpoint, read_checkpoint
from exaone4_gguf.proof.reading.names import gguf_names
from exaone4_gguf.proof.reading.quiet import has_reference, quietly
from exaone4_gguf.proof.reading.vocabulary import read_vocabulary
from exaone4_gguf.proof.tokenizer import ids_of, own_tokenizer
from exaone4_gguf.proof.verify import ShowProgress, read_text, silently
from exaone4_gguf.quant.imatrix import Entry, ImportanceMatrix, write_imatrix

if TYPE_CHECKING:
    from torch import Tensor

CTX_SIZE = 512
"""Tokens of a chunk, as llama-imatrix has it."""

TOKENS_AT_ONCE = 4096
"""Tokens that go through the layers together; after them, the state is saved."""

_MOST_CTX = 1 << 17


def imatrix(
    model_dir: str | Path,
    outfile: str | Path,
    data: str | Path,
    *,
    ctx_size: int = CTX_SIZE,
    chunks: int | None = None,
    force: bool = False,
    show_progress: ShowProgress = silently,
    tell: Callable[[str], None] = lambda line: None,
) -> ImportanceMatrix:
    """Compute the importance matrix of a checkpoint over a text, and write it in llama.cpp's GGUF form.

    A run that was stopped goes on where it was, if it is started with the same arguments again.

    Args:
        model_dir: the Hugging Face folder, or the id of a repository on the Hugging Face Hub.
        data: the text file; markers in it are the tokens that they name.
        ctx_size: tokens of a chunk.
        chunks: the most that are read; by default all.
        force: replace an existing file.
        show_progress: given a title and a total, a context that counts.
        tell: is told of a run that goes on.

    Raises:
        Exaone4Error: the checkpoint is not right, the text is too short, or the target cannot be written.
    """
    target = Path(outfile)
    _check(target, ctx_size, chunks, force)
    folder = model_folder(model_dir)
    with quietly():
        checkpoint = read_checkpoint(folder)
        tokens = _chunks(_tokens(checkpoint, read_text(Path(data)), ctx_size), ctx_size, chunks, data)
    names = gguf_names(checkpoint.config.num_hidden_layers)
    state = _State(_state_path(target), _fingerprint(checkpoint, tokens), names)
    state.load()
    if state.done:
        tell(f"going on after {state.done} of {len(tokens)} chunks")
    _collect(checkpoint, tokens, state, target.name, show_progress)
    matrix = ImportanceMatrix(state.entries(ctx_size), (str(data),), len(tokens), ctx_size, str(target))
    write_imatrix(followed(target), matrix)
    state.remove()
    return matrix


def _check(target: Path, ctx_size: int, chunks: int | None, force: bool) -> None:
    if isinstance(ctx_size, bool) or not 2 <= ctx_size <= _MOST_CTX:
        raise RequestError(f"ctx_size is {ctx_size!r}; it must be a whole number from 2 to {_MOST_CTX}")
    if chunks is not None and chunks < 1:
        raise RequestError(f"chunks is {chunks!r}; it must be a whole number above 0")
    if target.is_dir() or not followed(target).absolute().parent.is_dir():
        raise OutputError(f"{target}: {'it is a folder' if target.is_dir() else 'no such folder'}")
    if target.exists() and not force:
        raise OutputError(f"{target}: it exists already; --force replaces it")
    if not has_reference():
        raise RuntimeFailure("the reference needs torch and transformers: pip install 'exaone4-gguf[reference]'")


def _tokens(checkpoint: Checkpoint, text: str, ctx_size: int) -> npt.NDArray[np.int64]:
    """The text's ids. Where the tokenizer begins texts with BOS, each chunk does, in place of its first token."""
    own = own_tokenizer(checkpoint.folder)
    adds_bos = read_vocabulary(own, checkpoint.config, checkpoint.folder).adds_bos
    bos = [own.bos_token_id] if adds_bos else []
    ids = np.array([*bos, *ids_of(own, text)], np.int64)
    if bos:
        ids[::ctx_size] = bos[0]
    return ids


def _chunks(ids: npt.NDArray[np.int64], ctx_size: int, most: int | None, data: str | Path) -> npt.NDArray[np.int64]:
    """As rows of ``ctx_size`` tokens."""
    n = len(ids) // ctx_size
    if n == 0:
        raise TextError(
            f"{data}: its {len(ids):,} tokens do not fill a chunk of {ctx_size}; give more text, or a smaller -c"
        )
    n = min(n, most or n)
    return ids[: n * ctx_size].reshape(n, ctx_size)


def _collect(
    checkpoint: Checkpoint,
    tokens: npt.NDArray[np.int64],
    state: _State,
    title: str,
    show_progress: ShowProgress,
) -> None:
    """Send the chunks that are not done yet through the reference, and save the state after each group of them."""
    import torch

    from exaone4_gguf.proof.reference import Reference, Weights

    step = max(1, TOKENS_AT_ONCE // tokens.shape[1])
    starts = range(state.done, len(tokens), step)
    tensors = checkpoint.tensors
    matrices = sum(t.n_weights for name, t in tensors.items() if ".layers." in name and len(t.shape) == 2)
    with show_progress(title, matrices * len(starts)) as progress:
        reference = Reference(checkpoint.config, Weights(tensors), state.observe, progress)
        for first in starts:
            group = tokens[first : first + step]
            reference.hidden_states(torch.from_numpy(group))
            state.commit(first + len(group))


def _fingerprint(checkpoint: Checkpoint, tokens: npt.NDArray[np.int64]) -> str:
    """Of everything that the sums depend on; a file of the folder is told by its name, size and time."""
    stats = ((path.name, path.stat()) for path in checkpoint.folder.iterdir() if path.suffix != ".gguf")
    files = sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in stats)
    digest = hashlib.sha256(tokens.tobytes())
    digest.update(json.dumps([repr(checkpoint.config), tokens.shape, files]).encode())
    return digest.hexdigest()


def _state_path(target: Path) -> Path:
    return target.with_name(f".{target.name}.exaone4-gguf-imatrix")


@dataclass
class _State:
    """The sums so far, and how many chunks they are of; saved beside the target, so that a run can go on.

    What a group of chunks adds counts only when it is committed. ``names`` are GGUF's, by transformers'.
    """

    path: Path
    fingerprint: str
    names: Mapping[str, str]
    done: int = 0
    sums: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    _added: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    def load(self) -> None:
        """Take up what an earlier run with the same arguments has saved, if there is anything."""
        try:
            with self.path.open("rb") as f, np.load(f, allow_pickle=False) as saved:
                if str(saved["fingerprint"]) == self.fingerprint:
                    names = [name for name in saved.files if name.startswith("blk.")]
                    self.sums = {name: saved[name] for name in names}
                    self.done = int(saved["done"])
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            self.sums, self.done = {}, 0

    def observe(self, name: str, x: Tensor) -> Tensor:
        """Add the squares of a linear layer's input, (sequences, tokens, columns); returns it as it is."""
        gguf_name = self.names[name]
        for sequence in x:
            squares = sequence.square().sum(0).double().numpy()
            self._added[gguf_name] = self._added.get(gguf_name, 0.0) + squares
        return x

    def commit(self, done: int) -> None:
        """Count what was added, and save."""
        self.sums = {name: self.sums.get(name, 0.0) + added for name, added in self._added.items()}
        self._added, self.done = {}, done
        arrays: dict[str, Any] = {"fingerprint": self.fingerprint, "done": done, **self.sums}
        try:
            with replacing(self.path) as partial, partial.open("wb") as f:
                np.savez(f, **arrays)
        except OSError as e:
            raise OutputError(f"{self.path}: the state cannot be saved: {e.strerror or e}") from e

    def entries(self, ctx_size: int) -> dict[str, Entry]:
        """What was found, by tensor."""
        count = float(self.done * ctx_size)
        return {name: Entry(sums.astype(np.float32), count) for name, sums in self.sums.items()}

    def remove(self) -> None:
        """The run came to its end."""
        self.path.unlink(missing_ok=True)
