"""A loaded model: weights, vocabulary and metadata, checked to be one that llama.cpp runs right."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from exaone4_gguf.errors import GGUFError
from exaone4_gguf.format.keys import ARCHITECTURE, CLASS_KEY, HEAD_ARCHITECTURE, HEADLESS, WINDOWED_DEPTH
from exaone4_gguf.runtime.llama.api import checked, last_error, load_api
from exaone4_gguf.runtime.llama.header import any_layer_slides, check_blocks, named_end_tokens, read_header
from exaone4_gguf.runtime.llama.interrupts import awaited, checkpoint, untorn

PRE_TOKENIZERS = ("exaone4", "exaone-moe")
"""EXAONE 4.0's, and EXAONE 4.5's."""

DEFAULT, TOOL_USE = "default", "tool_use"
"""The names of the template for a chat, and of that for a chat with tools, where there are several."""
_TEMPLATE = "tokenizer.chat_template"

MARKERS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_result>", "</tool_result>")
"""Not special in the tokenizer, yet they steer the conversation as the special ones do."""


class Loaded:
    """Something of which the best part lies in llama.cpp's memory, where Python can neither pickle nor copy it."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"{type(self).__name__} can be neither pickled nor copied: it lies in llama.cpp's memory; "
            "give its file's path instead, and load that once more where it is needed"
        )


class Model(Loaded):
    """A GGUF file of EXAONE 4, loaded by llama.cpp.

    Args:
        path: the file; any part of a split one is not enough, llama.cpp wants the first.
        n_gpu_layers: how many layers go to the GPU; -1 for all.
        use_mmap: map the weights instead of reading them.
        vocab_only: load the tokenizer alone.
        repack: let llama.cpp copy weights into the layout that its quickest kernels want, which takes memory.

    Raises:
        GGUFError: not a GGUF file, damaged, another architecture, or one that llama.cpp would compute wrong.
        RuntimeFailure: llama-cpp-python is missing.
    """

    @untorn()
    def __init__(
        self,
        path: str | Path,
        *,
        n_gpu_layers: int = 0,
        use_mmap: bool = True,
        vocab_only: bool = False,
        repack: bool = True,
    ) -> None:
        self.path = Path(path)
        check_file(self.path)
        self._header = read_header(self.path)
        if not vocab_only:
            check_blocks(self.path, self._header)
        checked("n_gpu_layers", n_gpu_layers, -1, 1 << 16)
        self._api = load_api()
        params = self._api.llama_model_default_params()
        params.n_gpu_layers = n_gpu_layers
        if use_mmap:
            params.load_mode = self._api.LLAMA_LOAD_MODE_MMAP
        else:
            params.load_mode = self._api.LLAMA_LOAD_MODE_NONE
        params.vocab_only = vocab_only
        params.use_extra_bufts = repack
        params.progress_callback = self._api.llama_progress_callback(lambda progress, data: awaited() == 0)
        self.pointer = self._api.llama_model_load_from_file(str(self.path).encode(), params)
        if not self.pointer:
            checkpoint()
            raise GGUFError(f"{self.path}: {_why(last_error())}")
        self.uses_gpu = bool(n_gpu_layers and self._api.llama_supports_gpu_offload())
        self.vocab = self._api.llama_model_get_vocab(self.pointer)
        self.n_vocab: int = self._api.llama_vocab_n_tokens(self.vocab)
        try:
            self._check_model(vocab_only)
            checkpoint()
        except BaseException:
            self.close()
            raise

    @untorn()
    def close(self) -> None:
        """Free the weights. Contexts made from the model must be closed before."""
        if self.pointer:
            self._api.llama_model_free(self.pointer)
            self.pointer = None

    @functools.cached_property
    def metadata(self) -> dict[str, str]:
        """The file's keys with their values as text; arrays are left out by llama.cpp."""
        count = self._api.llama_model_meta_count(self.pointer)
        key_of, value_of = self._api.llama_model_meta_key_by_index, self._api.llama_model_meta_val_str_by_index
        return {_text(key_of, self.pointer, i): _text(value_of, self.pointer, i) for i in range(count)}

    @property
    def chat_templates(self) -> dict[str, str]:
        """The file's templates by name."""
        named = (key for key in self.metadata if key.startswith(f"{_TEMPLATE}."))
        names = {_TEMPLATE: DEFAULT} | {key: key.removeprefix(f"{_TEMPLATE}.") for key in named}
        return {name: self.metadata[key] for key, name in names.items() if key in self.metadata}

    @property
    def n_embd(self) -> int:
        """Values of a hidden state."""
        return int(self._api.llama_model_n_embd(self.pointer))

    @property
    def n_layers(self) -> int:
        """Layers that are computed: block_count less nextn_predict_layers."""
        return int(self._api.llama_model_n_layer(self.pointer))

    @property
    def context_length(self) -> int:
        """Tokens that the model was trained to attend to."""
        return int(self.metadata[f"{ARCHITECTURE}.context_length"])  # llama.cpp tells none of a vocabulary alone

    @property
    def token_texts(self) -> Iterator[bytes]:
        """The text of each token, as the vocabulary has it."""
        return (self._api.llama_vocab_get_text(self.vocab, i) for i in range(self.n_vocab))

    @functools.cached_property
    def control_texts(self) -> tuple[str, ...]:
        """The texts that steer a conversation: all control tokens, and the six markers."""
        get_text = self._api.llama_vocab_get_text
        controls = filter(self.is_control, range(self.n_vocab))
        texts = [get_text(self.vocab, i).decode("utf-8", errors="replace") for i in controls]
        return (*texts, *MARKERS)

    def tokenize(self, text: str, *, control: bool = True) -> list[int]:
        """Token ids of a text; the markers in it are the tokens that they name.

        Without ``control``, control tokens in it are read as plain text; the other added tokens are matched as ever.
        """
        raw = text.encode("utf-8", errors="replace")
        ids = (self._api.llama_token * (len(raw) + 1))()
        count = self._api.llama_tokenize(self.vocab, raw, len(raw), ids, len(ids), False, control)
        return list(ids[:count])

    @functools.cached_property
    def around(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The tokens that the tokenizer puts before and after a text by itself; EXAONE's puts none."""
        api, vocab = self._api, self.vocab
        before = (api.llama_vocab_bos(vocab),) if api.llama_vocab_get_add_bos(vocab) else ()
        after = (api.llama_vocab_eos(vocab),) if api.llama_vocab_get_add_eos(vocab) else ()
        return before, after

    def piece(self, token: int) -> bytes:
        """The bytes of a token, markers included; a character may be split over several tokens."""
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            count = self._api.llama_token_to_piece(self.vocab, token, buffer, size, 0, True)
            if count >= 0:
                return buffer.raw[:count]
            size = -count

    def text(self, token: int) -> bytes:
        """What the token adds to a text: its bytes, or nothing if it is a control token, whose piece is its name."""
        if self.is_control(token):
            return b""
        return self.piece(token)

    @functools.cached_property
    def end_tokens(self) -> frozenset[int]:
        """The tokens that end a generation: in llama.cpp, and those that the file names beyond."""
        ends = {i for i in range(self.n_vocab) if self._api.llama_vocab_is_eog(self.vocab, i)}
        named = named_end_tokens(self._header)
        return frozenset(ends.union(i for i in named if i < self.n_vocab))

    def is_control(self, token: int) -> bool:
        """Whether it steers the conversation and is never a part of its text."""
        return bool(self._api.llama_vocab_is_control(self.vocab, token))

    def _check_model(self, vocab_only: bool) -> None:
        architecture = self.metadata.get("general.architecture")
        if architecture != ARCHITECTURE:
            raise GGUFError(f"{self.path}: architecture is '{architecture}', not {ARCHITECTURE}")
        tokenizer = (self.metadata.get("tokenizer.ggml.model"), self.metadata.get("tokenizer.ggml.pre"))
        if tokenizer[0] != "gpt2" or tokenizer[1] not in PRE_TOKENIZERS:
            known = " or ".join(PRE_TOKENIZERS)
            raise GGUFError(
                f"{self.path}: its tokenizer is {tokenizer[0]}, {tokenizer[1]}; EXAONE 4's is gpt2, {known}"
            )
        if vocab_only:
            return  # it computes nothing
        n_layers = self.n_layers
        has_window = f"{ARCHITECTURE}.attention.sliding_window" in self.metadata
        if n_layers == WINDOWED_DEPTH and not any_layer_slides(self._header):
            raise GGUFError(f"{self.path}: a sliding window that no layer uses: llama.cpp would end its process on it")
        if has_window != (n_layers == WINDOWED_DEPTH):
            does = "always"
            if has_window:
                does = "never"
            raise GGUFError(
                f"{self.path}: {n_layers} layers {'with' if has_window else 'without'} a sliding window, "
                f"but at that depth llama.cpp {does} uses one: it would compute other logits"
            )


_LFS_POINTER = b"version https://git-lfs"


def check_file(path: Path) -> None:
    """Raises GGUFError for what is no GGUF file, before anything is loaded."""
    if (path / "config.json").is_file():
        raise GGUFError(f"{path}: not a file, but a checkpoint; convert makes a GGUF file of it")
    if path.exists() and not path.is_file():
        raise GGUFError(f"{path}: not a file")
    try:
        with path.open("rb") as f:
            if not (head := f.read(len(_LFS_POINTER))).startswith(b"GGUF"):
                is_pointer = head == _LFS_POINTER
                told = ""
                if is_pointer:
                    told = ", but a Git LFS pointer; git lfs pull fetches the file"
                raise GGUFError(f"{path}: not a GGUF file{told}")
    except OSError as e:
        raise GGUFError(f"{path}: {'no such file' if isinstance(e, FileNotFoundError) else e.strerror}") from e


def _why(error: str) -> str:
    """Why llama.cpp did not load a file."""
    if f"'{HEAD_ARCHITECTURE}'" in error:
        return "it is a classifier's head; give the base that it belongs to"
    return f"llama.cpp cannot load it: {error}"


def _text(get: Any, *args: Any) -> str:
    """A string that the C API writes into a buffer of ours, whatever its length."""
    size = 256
    while True:
        buffer = ctypes.create_string_buffer(size)
        length = get(*args, buffer, size)
        if length < size:
            return buffer.raw[: max(0, length)].decode("utf-8", errors="replace")
        size = length + 1


def why_silent(model: Model) -> str | None:
    """Why a file cannot chat, in one line; None of one that can."""
    name = model.metadata.get(CLASS_KEY)
    if name is None:
        return None
    use = "embed and classify"
    if name == HEADLESS:
        use = "embed"
    return f"{model.path}: it is an {name}, which has no output for text and cannot chat; it is there to {use}"
