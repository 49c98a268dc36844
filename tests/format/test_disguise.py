"""What a file really is, told in place of a parser's error; the programs that write such files make them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from exaone4_gguf.converter.checkpoint.folder import load_json, load_text, read_tensors
from exaone4_gguf.converter.convert import convert
from exaone4_gguf.errors import CheckpointError
from exaone4_gguf.format.disguise import disguise
from tests.checkpoints import full_config, write_checkpoint

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32\nsize 2558\n"
)
PAGE = b"\n<!DOCTYPE html>\n<html class=''><head><title>EXAONE</title></head></html>"


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.safetensors", b"weights")


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pointer": (lambda p: p.write_bytes(POINTER), "a Git LFS pointer, not the file itself: git lfs pull"),
    "page": (lambda p: p.write_bytes(PAGE), "a web page, not the file; download it again"),
    "page after a mark": (lambda p: p.write_bytes(b"\xef\xbb\xbf<HTML><body>"), "a web page"),
    "xml": (
        lambda p: p.write_bytes(b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>'),
        "an XML document",
    ),
    "annex": (lambda p: p.write_bytes(b"/annex/objects/MD5E-s5--8b1a99.safetensors\n"), "git annex get"),
    "gguf": (lambda p: p.write_bytes(b"GGUF\3\0\0\0" + bytes(100)), "a GGUF file"),
    "torch": (lambda p: torch.save({"a": torch.ones(2)}, p), "in torch's format; its name must end in .bin"),
    "old torch": (
        lambda p: torch.save({"a": torch.ones(2)}, p, _use_new_zipfile_serialization=False),
        "in torch's format; its name must end in .bin",
    ),
    "zip": (zipped, "a zip archive"),
    "gzip": (lambda p: p.write_bytes(gzip.compress(b"weights")), "a gzip archive"),
    "bzip2": (lambda p: p.write_bytes(bz2.compress(b"weights")), "a bzip2 archive"),
    "xz": (lambda p: p.write_bytes(lzma.compress(b"weights")), "an xz archive"),
    "zeros": (lambda p: p.write_bytes(bytes(100_000)), "nothing but zeros at its beginning"),
    "empty": (lambda p: p.write_bytes(b""), "empty"),
    "words": (lambda p: p.write_bytes(b"Entry not found\n"), "a text, which begins with 'Entry not found'"),
    "error": (lambda p: p.write_bytes(b'{"error": "Invalid username"}'), 'a text, which begins with \'{"error"'),
}


@pytest.mark.parametrize("kind", KINDS)
def test_weights_that_are_something_else_are_named(kind: str, tmp_path: Path) -> None:
    write, told = KINDS[kind]
    write(tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.safetensors: (it is|the file is) ") as raised:
        read_tensors(tmp_path)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("torch", "old torch")])
def test_so_are_those_in_torchs_format(kind: str, tmp_path: Path) -> None:
    write, told = KINDS[kind]
    write(tmp_path / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin: it is ") as raised:
        read_tensors(tmp_path)
    assert told in str(raised.value)


def test_what_its_name_says_is_no_disguise(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "a.bin")
    save_file({"a": torch.ones(2)}, tmp_path / "a.safetensors")
    assert disguise(tmp_path / "a.bin") is None
    assert disguise(tmp_path / "a.safetensors") is None
    (tmp_path / "a.safetensors").rename(tmp_path / "b.bin")
    assert disguise(tmp_path / "b.bin") == "a safetensors file; its name must end in .safetensors"


SMALL = (
    "model.safetensors.index.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "config.json",
    "chat_template.jinja",
)


@pytest.mark.parametrize("content", [POINTER, PAGE], ids=["pointer", "page"])
@pytest.mark.parametrize("name", [*SMALL, "model-00002-of-00002.safetensors", "LICENSE"])
def test_any_file_of_a_checkpoint_that_is_something_else_is_named(name: str, content: bytes, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", full_config(), shards=2)
    (folder / name).write_bytes(content)
    told = "a Git LFS pointer" if content is POINTER else "a web page"
    with pytest.raises(CheckpointError, match=f"{name}: it is {told}"):
        convert(folder, tmp_path / "out.gguf")


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt"])
def test_so_is_a_tokenizer_in_two_files(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(CheckpointError, match=f"{name}: it is a Git LFS pointer"):
        load_json(tmp_path / name) if name.endswith("json") else load_text(tmp_path / name)


@pytest.mark.parametrize("kind", ["empty", "zeros", "gzip"])
def test_json_that_is_something_else_is_named(kind: str, tmp_path: Path) -> None:
    write, told = KINDS[kind]
    write(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="config.json: it is") as raised:
        load_json(tmp_path / "config.json")
    assert told in str(raised.value)


@pytest.mark.parametrize("ending", [".incomplete", ".part", ".crdownload", ".aria2"])
def test_a_download_that_was_not_finished_is_told(ending: str, tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "model", full_config(), shards=2)
    shard = folder / "model-00002-of-00002.safetensors"
    shard.rename(shard.with_name(shard.name + ending))
    with pytest.raises(CheckpointError, match=f"{shard.name}: the shard is missing .*not finished.*{ending}"):
        read_tensors(folder)


def test_a_file_that_aria2_is_fetching_has_its_size_already(full: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes((full / "model.safetensors").read_bytes())
    (tmp_path / "model.safetensors.aria2").write_bytes(b"\0\1")
    with pytest.raises(CheckpointError, match="its download was not finished"):
        read_tensors(tmp_path)


def test_a_download_of_huggingface_hub_into_a_folder(tmp_path: Path) -> None:
    left = tmp_path / ".cache" / "huggingface" / "download" / "config.json.d2f3.incomplete"
    left.parent.mkdir(parents=True)
    left.touch()
    with pytest.raises(
        CheckpointError, match=r"config.json: no such file; its download was not finished \(config.json.d2"
    ):
        load_json(tmp_path / "config.json")
