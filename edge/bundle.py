"""``bundle``: a folder that runs a model on a board: programs, model, template, a script, licences, instructions.

Under its name there is nothing, or the whole: it is built in a hidden folder beside it and renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from exaone4_gguf.converter.output import followed, locked_folder, remove_abandoned
from exaone4_gguf.converter.tokenizer.chat_template import for_llama_server
from exaone4_gguf.edge.cross import BUILDS, PROGRAMS, Build, Progress, cross_build
from exaone4_gguf.edge.memory import Setup, kv_bytes, memory
from exaone4_gguf.edge.programs import given_programs, is_source
from exaone4_gguf.edge.shape import ModelShape, read_shape
from exaone4_gguf.edge.sources import llama_cpp_sources
from exaone4_gguf.errors import BundleError, OutputError, TokenizerError
from exaone4_gguf.format.file import GGUFFile, read_gguf, split_name
from exaone4_gguf.format.keys import LICENSE_TEXT_KEY

TARGETS = {"rpi": ("rpi.md", "exaone4.service"), "android": ("android.md",)}
"""The instructions of each target, and the other files that it gets."""

MOST_CONTEXT, LEAST_CONTEXT = 16384, 2048
"""Tokens, where the user does not say: ``run`` takes what fits the board's memory, within these."""

_MARK = "SHA256SUMS"
_PLAIN = 0o644
_RUNS = 0o755
_CHUNK = 1 << 22
_LLAMA_CPP_LICENCE = "LICENSE-llama.cpp.txt"

ShowProgress = Callable[[], AbstractContextManager[Progress]]


def _silently() -> AbstractContextManager[Progress]:
    return nullcontext(lambda what, done: None)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a bundle is to be like; the arguments of ``bundle`` but the file and the place."""

    target: str
    llama_cpp: Path | None
    n_ctx: int | None
    cache_type_k: str
    cache_type_v: str
    license_file: Path | None
    keep_template: bool
    tar: bool
    force: bool
    jobs: int | None


def bundle(
    file: str | Path,
    out: str | Path,
    target: str,
    *,
    llama_cpp: str | Path | None = None,
    n_ctx: int | None = None,
    cache_type_k: str = "f16",
    cache_type_v: str = "f16",
    license_file: str | Path | None = None,
    keep_template: bool = False,
    tar: bool = False,
    force: bool = False,
    jobs: int | None = None,
    show_progress: ShowProgress = _silently,
) -> Path:
    """Make a bundle of a GGUF file (any part of a split one) for a kind of board.

    Args:
        out: the folder to be made, or the archive with ``tar``.
        target: "rpi" or "android".
        llama_cpp: llama.cpp's sources, or its programs for arm64; by default the sources of llama-cpp-python are
            fetched and built, once.
        n_ctx: the context in tokens; by default what fits the board when it is started.
        license_file: the model's licence, where the file does not hold it.
        keep_template: the file's chat template as it is, though llama-server may not tell thoughts and answer apart.
        force: replace a bundle that is there.
        jobs: compilers at a time.

    Returns:
        The folder, or the archive.

    Raises:
        Exaone4Error: the file is not right, the programs cannot be made, or the place cannot be written to.
    """
    options = Options(
        target=target,
        llama_cpp=Path(llama_cpp) if llama_cpp else None,
        n_ctx=n_ctx,
        cache_type_k=cache_type_k.lower(),
        cache_type_v=cache_type_v.lower(),
        license_file=Path(license_file) if license_file else None,
        keep_template=keep_template,
        tar=tar,
        force=force,
        jobs=jobs,
    )
    if target not in TARGETS:
        raise BundleError(f"unknown target '{target}'; one of: {', '.join(TARGETS)}")
    place = Path(os.path.abspath(out))
    if tar:
        place = followed(place)
    shape, gguf = read_shape(file), read_gguf(Path(file))
    if not shape.model_class.speaks:
        raise BundleError(
            f"{file}: it is an {shape.model_class.name}, which has no output for text: a bundle's server could not "
            "answer; on the board, exaone4-gguf embed and classify run it"
        )
    files = _texts(gguf, shape, options)
    _check_place(place, options, gguf)
    with show_progress() as progress:
        programs, licence = _programs(options, progress)
        files |= _described(shape, gguf, programs, options) | {_LLAMA_CPP_LICENCE: licence}
        with _finished(place, options) as folder:
            _write(folder, files, programs, _named_parts(gguf, shape), progress)
    return place


def _texts(gguf: GGUFFile, shape: ModelShape, options: Options) -> dict[str, str]:
    """The files that come from the model: its template and its licence."""
    template = gguf.get("tokenizer.chat_template")
    if not isinstance(template, str) or not template.strip():
        raise BundleError(f"{gguf.path}: it has no chat template")
    try:
        if not options.keep_template:
            template = for_llama_server(template)
    except TokenizerError as e:
        raise BundleError(f"{gguf.path}: {e}; --keep-template takes it as it is") from None
    return {"chat_template.jinja": template, "LICENSE-EXAONE.txt": _licence(gguf, options.license_file)}


def _licence(gguf: GGUFFile, given: Path | None) -> str:
    if given:
        try:
            text = given.read_text(encoding="utf-8", errors="replace")
        except OSError as e:
            raise BundleError(f"{given}: {e.strerror}") from None
    else:
        text = str(gguf.get(LICENSE_TEXT_KEY) or "")
    if not text.strip():
        raise BundleError(
            f"{given or gguf.path}: no licence in it, and EXAONE's must travel with the model; give --license-file FILE"
        )
    return text


def _check_place(place: Path, options: Options, gguf: GGUFFile) -> None:
    """Before anything is built: there is room, and nothing else in the way."""
    parent, size = place.parent, sum(part.stat().st_size for part in gguf.parts)
    if any(place.exists() and place.samefile(part) for part in gguf.parts):
        raise OutputError(f"{place}: the target is the model itself; give another name")
    if not parent.is_dir():
        raise OutputError(f"{parent}: no such folder")
    if not os.access(parent, os.W_OK):
        raise OutputError(f"{parent}: no permission to write there")
    _check_free(place, options)
    free = shutil.disk_usage(parent).free
    copies = 2 if options.tar else 1
    if free < size * copies:
        raise OutputError(f"{parent}: the disk is too small: {size:,} bytes for the model, {free:,} free")


def _check_free(place: Path, options: Options) -> None:
    if not (place.exists() or place.is_symlink()):
        return
    replaceable = (place / _MARK).is_file() and not place.is_symlink()
    if options.tar:
        replaceable = place.is_file()
    if not replaceable:
        raise OutputError(f"{place}: it exists already")
    if not options.force:
        raise OutputError(f"{place}: it exists already; --force replaces it")


def _programs(options: Options, progress: Progress) -> tuple[dict[Build, Mapping[str, Path]], str]:
    """The programs of each build, and llama.cpp's licence."""
    given = options.llama_cpp
    if given is None or is_source(given):
        source = given or llama_cpp_sources()
        licence = _text_of(source / "LICENSE")
        return {build: cross_build(build, source, progress, options.jobs) for build in BUILDS}, licence
    licences = (given / "LICENSE", given / _LLAMA_CPP_LICENCE)
    found = next((path for path in licences if path.is_file()), None)
    return dict(given_programs(given)), _text_of(found or llama_cpp_sources() / "LICENSE")


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as e:
        raise BundleError(f"{path}: {e.strerror}") from None


def _described(
    shape: ModelShape, gguf: GGUFFile, programs: Mapping[Build, Mapping[str, Path]], options: Options
) -> dict[str, str]:
    """The files that say how to run it."""
    instructions, *others = TARGETS[options.target]
    name = gguf.get("general.name") or shape.name
    rows = "\n".join(f"| bin/{build.name} | {build.about} |" for build in programs)
    words = {"@NAME@": " ".join(str(name).split()), "@BUILDS@": rows, "@TARGET@\n": _file(instructions)}
    return {
        "run": _file("run.sh"),
        "settings": _settings(shape, gguf, programs, options),
        "README.md": _replaced(_file("bundle.md"), words),
        **{other: _file(other) for other in others},
    }


def _settings(shape: ModelShape, gguf: GGUFFile, programs: Mapping[Build, Mapping[str, Path]], options: Options) -> str:
    """What ``run`` must know of the model, as assignments of a shell."""
    stem = _stem(gguf, shape)
    setup = Setup(LEAST_CONTEXT, options.cache_type_k, n_outputs=1, features=frozenset({"dotprod"}))
    found = memory(shape, shape.types_now, setup)
    per_token = (kv_bytes(shape, setup) + kv_bytes(shape, Setup(LEAST_CONTEXT, options.cache_type_v))) // 2
    most = options.n_ctx or min(shape.context_length, MOST_CONTEXT)
    values = {
        "MODEL": _part_names(stem, len(gguf.parts))[0],
        "ALIAS": stem,
        "WEIGHT_BYTES": found.needed - found.kv,
        "CACHE_BYTES_PER_TOKEN": -(-per_token // LEAST_CONTEXT),
        "CACHE_TYPE_K": options.cache_type_k,
        "CACHE_TYPE_V": options.cache_type_v,
        "MOST_CONTEXT": most,
        "LEAST_CONTEXT": options.n_ctx or min(LEAST_CONTEXT, most),
    }
    builds = "\n".join(" ".join((build.name, *build.features)) for build in programs)
    lines = [
        "# shellcheck shell=sh disable=SC2034 # read by run",
        *(f"{key}='{value}'" for key, value in values.items()),
    ]
    return "\n".join([*lines, f"BUILDS='{builds}'", ""])


def _stem(gguf: GGUFFile, shape: ModelShape) -> str:
    """A name that every file system and shell takes."""
    stem = gguf.parts[0].stem
    if len(gguf.parts) > 1:
        stem = stem.rsplit("-", 3)[0]
    safe = re.sub("[^a-zA-Z0-9._-]", "-", stem)
    return safe.strip(".-")[:100] or "model"


def _part_names(stem: str, parts: int) -> list[str]:
    file = Path(f"{stem}.gguf")
    if parts == 1:
        return [file.name]
    return [split_name(file, i + 1, parts).name for i in range(parts)]


def _named_parts(gguf: GGUFFile, shape: ModelShape) -> dict[str, Path]:
    return dict(zip(_part_names(_stem(gguf, shape), len(gguf.parts)), gguf.parts, strict=True))


def _file(name: str) -> str:
    return resources.files("exaone4_gguf.edge").joinpath("files", name).read_text(encoding="utf-8")


def _replaced(text: str, words: Mapping[str, str]) -> str:
    for word, meaning in words.items():
        text = text.replace(word, meaning)
    return text


def _write(
    folder: Path,
    texts: Mapping[str, str],
    programs: Mapping[Build, Mapping[str, Path]],
    model: Mapping[str, Path],
    progress: Progress,
) -> None:
    """All files, and their checksums last."""
    sums: dict[str, str] = {}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
        (folder / name).chmod(_RUNS if name == "run" else _PLAIN)
        sums[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    for build, paths in programs.items():
        for program in PROGRAMS:
            name = f"bin/{build.name}/{program}"
            sums[name] = _copied(paths[program], folder / name, _RUNS)
    for name, part in model.items():
        sums[f"model/{name}"] = _copied(part, folder / "model" / name, _PLAIN, progress)
    lines = [f"{sums[name]}  {name}\n" for name in sorted(sums)]
    (folder / _MARK).write_text("".join(lines), encoding="utf-8")


def _copied(source: Path, target: Path, mode: int, progress: Progress | None = None) -> str:
    """Copy a file; its SHA-256."""
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, done, size = hashlib.sha256(), 0, max(1, source.stat().st_size)
    with source.open("rb") as read, target.open("xb") as written:
        while chunk := read.read(_CHUNK):
            digest.update(chunk)
            written.write(chunk)
            done += len(chunk)
            if progress:
                progress(target.name, done / size)
    target.chmod(mode)
    return digest.hexdigest()


@contextmanager
def _finished(place: Path, options: Options) -> Iterator[Path]:
    """A folder to write into, which gets its name, or becomes the archive, if nothing fails."""
    remove_abandoned(place.parent)
    try:
        hidden, lock = locked_folder(place.parent)
        try:
            folder = hidden / place.name.removesuffix(".tar")
            folder.mkdir(mode=_RUNS)
            yield folder
            made = _archived(folder, hidden) if options.tar else folder
            _check_free(place, options)  # it may have come to be meanwhile
            if not options.tar and place.exists():
                os.replace(place, hidden / "before")
            os.replace(made, place)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
            if lock is not None:
                os.close(lock)
    except OSError as e:
        raise OutputError(f"{place}: it cannot be written: {e.strerror or e}") from e


def _archived(folder: Path, hidden: Path) -> Path:
    """The folder as an archive; the same one for the same files."""

    def plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        return member

    archive = hidden / "made.tar"
    with contextlib.closing(tarfile.open(archive, "w")) as tar:
        tar.add(folder, folder.name, filter=plain)
    return archive
