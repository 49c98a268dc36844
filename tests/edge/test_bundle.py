"""A bundle: what is in it, that it runs anywhere, and that on an emulated board it says what the runtime says."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.converter.tokenizer.chat_template import for_llama_server
from exaone4_gguf.demo.conversations import CONVERSATIONS
from exaone4_gguf.edge.bundle import bundle
from exaone4_gguf.edge.cross import BUILDS, PROGRAMS, built_folder
from exaone4_gguf.edge.sources import cached_sources
from exaone4_gguf.errors import BundleError, Exaone4Error, OutputError
from exaone4_gguf.format.file import read_gguf
from exaone4_gguf.runtime.exaone4 import Exaone4
from tests.app.test_cli import Run
from tests.app.test_cli import run as run_command  # noqa: F401 - a fixture
from tests.checkpoints import DEMO, full_config, write_checkpoint
from tests.classes import SEQUENCE, write_class
from tests.edge.asking import TALKS, as_llama_server_shows, asked, in_our_form, of_the_runtime
from tests.edge.peers import FOLDER, free_port, serving

FEATURES = {
    "cortex-a72": "fp asimd evtstrm crc32 cpuid",
    "cortex-a76": "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp",
}
"""What /proc/cpuinfo tells on a Raspberry Pi 4 and 5."""
EXPECTED_BUILD = {"cortex-a72": "armv8.0", "cortex-a76": "armv8.2-dotprod"}


def elf(machine: int = 183, segment: int = 1) -> bytes:
    """The head of a program with one segment."""
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    return header + struct.pack("<I", segment).ljust(56, b"\0")


def programs(folder: Path, content: bytes = b"") -> Path:
    """A folder of both builds, with programs that are heads only."""
    for build in BUILDS:
        (folder / build.name).mkdir(parents=True)
        for name in PROGRAMS:
            (folder / build.name / name).write_bytes(content or elf())
    (folder / "LICENSE").write_text("MIT License\n")
    return folder


@pytest.fixture(scope="module")
def made(demo_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle for a Raspberry Pi whose programs cannot run."""
    folder = tmp_path_factory.mktemp("bundle")
    return bundle(demo_gguf, folder / "made", "rpi", llama_cpp=programs(folder / "programs"))


def run(folder: Path, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What the bundle's script says."""
    command = ["sh", str(folder / "run"), *args]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ | environment, check=False)


def info(folder: Path, **environment: str) -> dict[str, str]:
    said = run(folder, "info", **environment)
    assert said.returncode == 0, said.stderr
    return dict(line.split(maxsplit=1) for line in said.stdout.splitlines())


@pytest.fixture
def board(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """The environment of a board: the files in which the kernel tells what it has."""

    def board(cpu: str = "cortex-a76", free_kb: int = 4 << 20, clocks: tuple[int, ...] = ()) -> dict[str, str]:
        cores = "".join(f"processor\t: {i}\nFeatures\t: {FEATURES[cpu]}\n\n" for i in range(len(clocks) or 4))
        (tmp_path / "cpuinfo").write_text(cores)
        (tmp_path / "meminfo").write_text(f"MemTotal: 8000000 kB\nMemAvailable:    {free_kb} kB\n")
        for i, clock in enumerate(clocks):
            file = tmp_path / "cpu" / f"cpu{i}" / "cpufreq" / "cpuinfo_max_freq"
            file.parent.mkdir(parents=True)
            file.write_text(f"{clock}\n")
        return {name.upper(): str(tmp_path / name) for name in ("cpuinfo", "meminfo")} | {"CPUS": str(tmp_path / "cpu")}

    return board


def test_what_is_in_it(made: Path, demo: Path, demo_gguf: Path) -> None:
    files = {str(f.relative_to(made)) for f in made.rglob("*") if f.is_file()}
    expected = {f"bin/{build.name}/{name}" for build in BUILDS for name in PROGRAMS}
    texts = {"README.md", "LICENSE-EXAONE.txt", "LICENSE-llama.cpp.txt", "chat_template.jinja", "run", "settings"}
    assert files == expected | texts | {"model/demo.gguf", "exaone4.service", "SHA256SUMS"}
    assert (made / "model" / "demo.gguf").read_bytes() == demo_gguf.read_bytes()
    assert (made / "LICENSE-EXAONE.txt").read_text() == (demo / "LICENSE").read_text()
    assert (made / "chat_template.jinja").read_text() == for_llama_server((demo / "chat_template.jinja").read_text())
    assert os.access(made / "run", os.X_OK)
    assert os.access(made / "bin" / "armv8.0" / "llama-server", os.X_OK)
    readme = (made / "README.md").read_text()
    assert readme.startswith("# ")
    assert set(re.findall(r"@\w+@", readme)) == {"@HERE@", "@USER@"}  # these are the unit's


def test_checksums(made: Path, tmp_path: Path) -> None:
    sums = dict(line.split("  ")[::-1] for line in (made / "SHA256SUMS").read_text().splitlines())
    files = {str(f.relative_to(made)) for f in made.rglob("*") if f.is_file()} - {"SHA256SUMS"}
    assert sums.keys() == files
    assert all(hashlib.sha256((made / name).read_bytes()).hexdigest() == digest for name, digest in sums.items())
    assert run(made, "check").returncode == 0
    copy = shutil.copytree(made, tmp_path / "copy")
    (copy / "model" / "demo.gguf").write_bytes(b"other")
    assert run(copy, "check").returncode != 0


def test_the_scripts_are_posix(made: Path) -> None:
    for script in ("run", "settings"):
        subprocess.run(["sh", "-n", made / script], check=True)
        if shutil.which("shellcheck"):
            subprocess.run(["shellcheck", made / script], check=True)
    said = run(made, "help")
    assert said.returncode == 0
    assert "./run serve" in said.stdout
    assert "set -eu" not in said.stdout


@pytest.mark.parametrize("cpu", FEATURES)
def test_the_build_is_picked_by_what_the_processor_can_do(
    cpu: str, made: Path, board: Callable[..., dict[str, str]]
) -> None:
    assert info(made, **board(cpu))["build"] == EXPECTED_BUILD[cpu]
    assert info(made, **board(cpu), BUILD="armv8.0")["build"] == "armv8.0"


def test_a_processor_for_which_nothing_is_there(made: Path, tmp_path: Path, board: Any) -> None:
    copy = shutil.copytree(made, tmp_path / "copy")
    shutil.rmtree(copy / "bin" / "armv8.0")
    said = run(copy, "info", **board("cortex-a72"))
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr == "run: this processor runs none of: armv8.2-dotprod\n"


@pytest.mark.parametrize(
    ("clocks", "threads"),
    [((), 4), ((1800000,) * 4, 4), ((3300000, 3000000, 3000000, 2000000, 2000000), 3), ((3200000, 900000), 1)],
)
def test_threads_are_the_quick_cores(clocks: tuple[int, ...], threads: int, made: Path, board: Any) -> None:
    assert info(made, **board(clocks=clocks))["threads"] == str(threads)


def test_the_context_is_what_fits(made: Path, board: Any) -> None:
    """1024 bytes a token beside 9,055,040; between 2048 and the trained length, which is below 16,384."""
    assert info(made, **board(free_kb=4 << 20))["context"] == "8192"
    assert info(made, **board(free_kb=1))["context"] == "2048"
    assert info(made, **board(free_kb=18000))["context"] == str((18000 * 768 - 9055040) // 1024 // 256 * 256)
    assert info(made, **board(), CONTEXT="300")["context"] == "300"
    said = run(made, "info", **board(), REASONING="perhaps")
    assert (said.returncode, said.stderr) == (2, "run: REASONING is 'perhaps'; it must be on or off\n")


def test_the_unit_starts_the_server(made: Path) -> None:
    """As README.md tells to make it; systemd looks at it where it is installed."""
    here = str(made)
    unit = subprocess.run(
        ["sed", f"s|@HERE@|{here}|; s|@USER@|root|", made / "exaone4.service"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"ExecStart=/bin/sh {here}/run serve\n" in unit
    assert "WorkingDirectory=" + here in unit
    if verify := shutil.which("systemd-analyze"):
        (made.parent / "exaone4.service").write_text(unit)
        subprocess.run([verify, "verify", made.parent / "exaone4.service"], check=True)


@pytest.mark.parametrize("name", ["a b'$(touch x)`touch y`\n\"한국.gguf", "-rf.gguf", "...gguf"])
def test_any_name_of_a_file(name: str, demo_gguf: Path, tmp_path: Path, board: Any) -> None:
    source = shutil.copy(demo_gguf, tmp_path / name)
    out = bundle(source, tmp_path / "out put'", "android", llama_cpp=programs(tmp_path / "programs"))
    assert info(out, **board())["model"].endswith(".gguf")
    assert run(out, "check").returncode == 0
    (model,) = (out / "model").iterdir()
    assert model.name.isascii()
    assert not {"x", "y"} & {f.name for f in (*tmp_path.iterdir(), *out.iterdir())}


def test_a_split_model(full: Path, tmp_path: Path, board: Any) -> None:
    parts = convert(full, tmp_path / "the model.gguf", "Q8_0", split_max_size=1_000_000).paths
    assert len(parts) > 1
    out = bundle(parts[1], tmp_path / "out", "rpi", llama_cpp=programs(tmp_path / "programs"))
    names = sorted(f.name for f in (out / "model").iterdir())
    assert names == [p.name.replace(" ", "-") for p in parts]
    assert info(out, **board())["model"] == names[0]
    assert len(read_gguf(out / "model" / names[0]).parts) == len(parts)


def test_an_archive_is_the_folder(demo_gguf: Path, tmp_path: Path) -> None:
    binaries = programs(tmp_path / "programs")
    folder = bundle(demo_gguf, tmp_path / "x", "android", llama_cpp=binaries, cache_type_k="q8_0")
    (tmp_path / "again").mkdir()
    archives = [
        bundle(demo_gguf, place / "x.tar", "android", llama_cpp=binaries, tar=True, cache_type_k="q8_0")
        for place in (tmp_path, tmp_path / "again")
    ]
    assert archives[0].read_bytes() == archives[1].read_bytes()
    (tmp_path / "link.tar").symlink_to(tmp_path / "again" / "x.tar")
    bundle(demo_gguf, tmp_path / "link.tar", "android", llama_cpp=binaries, tar=True, force=True)
    assert (tmp_path / "link.tar").is_symlink()
    assert archives[0].read_bytes() != archives[1].read_bytes()
    with tarfile.open(archives[0]) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    for file in (f for f in folder.rglob("*") if f.is_file()):
        twin = tmp_path / "unpacked" / "x" / file.relative_to(folder)
        assert twin.read_bytes() == file.read_bytes()
        assert twin.stat().st_mode == file.stat().st_mode
    assert "CACHE_TYPE_K='q8_0'" in (folder / "settings").read_text()


def left(folder: Path) -> list[str]:
    return [f.name for f in folder.iterdir() if f.name.startswith(".")]


def test_what_is_there_is_replaced_only_if_it_is_a_bundle(demo_gguf: Path, tmp_path: Path) -> None:
    binaries = programs(tmp_path / "programs")
    out = bundle(demo_gguf, tmp_path / "out", "rpi", llama_cpp=binaries)
    (out / "more").touch()
    with pytest.raises(OutputError, match="it exists already; --force replaces it"):
        bundle(demo_gguf, out, "rpi", llama_cpp=binaries)
    bundle(demo_gguf, out, "android", llama_cpp=binaries, force=True)
    assert not (out / "more").exists()
    assert not (out / "exaone4.service").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "link").symlink_to(out)
    for other in ("mine", "link", "programs"):
        with pytest.raises(OutputError, match=r"it exists already$"):
            bundle(demo_gguf, tmp_path / other, "rpi", llama_cpp=binaries, force=True)
    assert left(tmp_path) == []


def test_what_cannot_be_bundled(demo_gguf: Path, tmp_path: Path) -> None:
    binaries = programs(tmp_path / "programs")
    good: dict[str, Any] = {"target": "rpi", "llama_cpp": binaries}
    config = full_config()
    folder = write_checkpoint(tmp_path / "model", config)
    (folder / "LICENSE").unlink()
    unlicensed = convert(folder, tmp_path / "unlicensed.gguf").paths[0]
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    other = convert(folder, tmp_path / "other.gguf").paths[0]
    (folder / "chat_template.jinja").unlink()
    mute = convert(folder, tmp_path / "mute.gguf").paths[0]
    licence: dict[str, Any] = {"license_file": DEMO / "LICENSE"}
    dynamic = programs(tmp_path / "dynamic", elf(segment=3))
    foreign = programs(tmp_path / "foreign", elf(machine=62))
    empty = programs(tmp_path / "empty", b"#!/bin/sh\n")
    fewer = programs(tmp_path / "fewer")
    (fewer / "armv8.0" / "rpc-server").unlink()
    cases: list[tuple[Path, Path, dict[str, Any], type[Exaone4Error], str]] = [
        (demo_gguf, tmp_path / "a", good | {"target": "toaster"}, BundleError, "unknown target 'toaster'"),
        (tmp_path / "no.gguf", tmp_path / "a", good, Exaone4Error, "no such file"),
        (demo_gguf, tmp_path / "no" / "a", good, OutputError, "no such folder"),
        (unlicensed, tmp_path / "a", good, BundleError, "no licence in it.*--license-file"),
        (unlicensed, tmp_path / "a", good | {"license_file": tmp_path / "no"}, BundleError, "No such file"),
        (mute, tmp_path / "a", good | licence, BundleError, "no chat template"),
        (other, tmp_path / "a", good | licence, BundleError, "has not the form.*--keep-template"),
        (demo_gguf, tmp_path / "a", good | {"llama_cpp": dynamic}, BundleError, "it needs libraries"),
        (demo_gguf, tmp_path / "a", good | {"llama_cpp": foreign}, BundleError, "not a program for arm64"),
        (demo_gguf, tmp_path / "a", good | {"llama_cpp": empty}, BundleError, "not a program for arm64"),
        (demo_gguf, tmp_path / "a", good | {"llama_cpp": fewer}, BundleError, "no rpc-server in it"),
        (demo_gguf, tmp_path / "a", good | {"llama_cpp": tmp_path / "no"}, BundleError, "no such folder"),
        (demo_gguf, tmp_path / "a", good | {"cache_type_k": "q9"}, Exaone4Error, "cannot have type 'q9'"),
    ]
    for file, out, options, error, complaint in cases:
        with pytest.raises(error, match=complaint) as caught:
            bundle(file, out, **options)
        assert "\n" not in str(caught.value)
        assert not (tmp_path / "a").exists()
        assert left(tmp_path) == []
    kept = bundle(other, tmp_path / "kept", keep_template=True, **good, **licence)
    assert (kept / "chat_template.jinja").read_text() == "{{ messages }}"


def test_the_model_is_not_replaced_by_its_archive(demo_gguf: Path, tmp_path: Path) -> None:
    model = Path(shutil.copy(demo_gguf, tmp_path / "model.gguf"))
    with pytest.raises(OutputError, match="the target is the model itself"):
        bundle(model, model, "rpi", llama_cpp=programs(tmp_path / "programs"), tar=True, force=True)
    assert model.read_bytes() == demo_gguf.read_bytes()


def test_what_a_killed_run_left_is_removed(demo_gguf: Path, tmp_path: Path) -> None:
    dead = tmp_path / ".dead.exaone4-gguf-partial"
    (dead / "out").mkdir(parents=True)
    bundle(demo_gguf, tmp_path / "out", "rpi", llama_cpp=programs(tmp_path / "programs"))
    assert left(tmp_path) == []


def test_the_command(run_command: Run, demo_gguf: Path, tmp_path: Path) -> None:  # noqa: F811
    options = ("--llama-cpp", programs(tmp_path / "programs"), "-c", "1024", "-ctk", "q8_0", "-ctv", "Q8_0")
    code, out, err = run_command("bundle", demo_gguf, tmp_path / "out", "--target", "rpi", *options)
    assert (code, out, err) == (0, f"{tmp_path / 'out'}\n", "")
    settings = (tmp_path / "out" / "settings").read_text()
    assert "MOST_CONTEXT='1024'\nLEAST_CONTEXT='1024'\n" in settings
    assert "CACHE_TYPE_K='q8_0'\nCACHE_TYPE_V='q8_0'\n" in settings
    code, out, err = run_command("bundle", demo_gguf, tmp_path / "out", "--target", "rpi", *options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert run_command("bundle", demo_gguf, tmp_path / "x", "--target", "toaster")[0] == 2


def test_a_full_disk_leaves_nothing(demo_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> Any:
        raise OSError(28, "No space left on device")

    binaries = programs(tmp_path / "programs")
    monkeypatch.setattr("exaone4_gguf.edge.bundle._copied", full)
    with pytest.raises(OutputError, match="cannot be written: No space left on device"):
        bundle(demo_gguf, tmp_path / "out", "rpi", llama_cpp=binaries)
    assert not (tmp_path / "out").exists()
    assert left(tmp_path) == []


# On an emulated board, with programs that were built


@pytest.fixture(scope="module")
def emulator() -> str:
    if FOLDER not in os.environ:
        pytest.skip("emulated boards take a minute: make test-peers")
    return shutil.which("qemu-aarch64") or pytest.skip("no qemu-aarch64 (Debian: qemu-user)")


@pytest.fixture(scope="module")
def real(demo_gguf: Path, emulator: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with llama.cpp's programs, where they have been built before."""
    source = cached_sources()
    if source is None or not all(built_folder(build, source).is_dir() for build in BUILDS):
        pytest.skip("no programs for arm64 in the cache; `make test-peers` builds them, in half an hour")
    return bundle(demo_gguf, tmp_path_factory.mktemp("real") / "bundle", "rpi")


@pytest.fixture(scope="module", params=FEATURES)
def emulated(request: pytest.FixtureRequest, emulator: str, real: Path, tmp_path_factory: Any) -> dict[str, str]:
    """The environment in which the bundle's script runs on an emulated Raspberry Pi 4, and 5."""
    cpuinfo = tmp_path_factory.mktemp("board") / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nFeatures\t: {FEATURES[request.param]}\n")
    settings = {
        "CPUINFO": str(cpuinfo),
        "RUNNER": f"{emulator} -cpu {request.param}",
        "THREADS": "1",
        "CONTEXT": "2048",
    }
    assert info(real, **settings)["build"] == EXPECTED_BUILD[request.param]
    return settings


@pytest.fixture(scope="module")
def address(real: Path, emulated: dict[str, str]) -> Iterator[str]:
    port = free_port()
    with serving(["sh", real / "run", "serve", "--port", str(port)], port, **emulated) as found:
        yield found


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.name)
def test_the_emulated_server_says_what_the_runtime_says(address: str, talker: Exaone4, talk: Any) -> None:
    for turn in talk.turns():
        expected = of_the_runtime(talker, as_llama_server_shows(turn.messages), talk)
        assert in_our_form(asked(address, turn.messages, talk)) == expected


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_emulated_program_writes_what_the_runtime_writes(
    name: str, real: Path, emulated: dict[str, str], emulator: str, talker: Exaone4
) -> None:
    """llama-completion, greedily, after the same prompt."""
    talk = CONVERSATIONS[name]
    turn = list(talk.turns())[-1]
    prompt = talker.prompt(turn.messages, talk.tools, reasoning=talk.reasoning).text
    program = real / "bin" / info(real, **emulated)["build"] / "llama-completion"
    command: list[str | Path] = [*emulated["RUNNER"].split(), program, "-m", real / "model" / "demo.gguf"]
    command += ["-no-cnv", "--no-escape", "-p", prompt, "--temp", "0", "-n", "200", "-t", "1", "-c", "2048"]
    done = subprocess.run([*command, "--no-warmup", "--no-display-prompt"], capture_output=True, check=True)
    assert done.stdout.decode().split(" [end of text]")[0].strip() == turn.completion


@pytest.mark.parametrize(
    ("name", "reasoning"),
    [("greeting-en", "off"), ("no-reasoning", "off"), ("reasoning", "on"), ("reasoning-ko", "on")],
)
def test_a_talk_at_the_emulated_terminal(name: str, reasoning: str, real: Path, emulated: dict[str, str]) -> None:
    """``run chat``: several turns, with and without thoughts."""
    talk = CONVERSATIONS[name]
    said = [message["content"] for message in talk.messages if message["role"] == "user"]
    done = subprocess.run(
        ["sh", real / "run", "chat", "--temp", "0", "--simple-io"],
        input="".join(f"{text}\n" for text in said),
        capture_output=True,
        text=True,
        env=os.environ | emulated | {"REASONING": "on" if talk.reasoning else "off"},
        check=True,
    )
    answers = [turn.completion for turn in talk.turns()]
    assert [text.strip() for text in done.stdout.split("\n> ")[1 : len(answers) + 1]] == answers


def test_the_emulated_programs_measure_and_lend(real: Path, emulated: dict[str, str]) -> None:
    said = run(real, "bench", "-p", "8", "-n", "4", "-r", "1", **emulated)
    assert said.returncode == 0, said.stderr
    assert "tg4" in said.stdout
    port = free_port()
    server = subprocess.Popen(
        ["sh", str(real / "run"), "rpc"], env=os.environ | emulated | {"PORT": str(port)}, stdout=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError("the rpc-server does not listen")
    finally:
        server.kill()
        server.wait()


def test_a_model_that_cannot_talk_has_no_bundle(tmp_path: Path) -> None:
    file = convert(write_class(tmp_path / "model", SEQUENCE, "full"), tmp_path / "a.gguf", "Q8_0").paths[0]
    with pytest.raises(BundleError, match=f"{SEQUENCE}, which has no output for text"):
        bundle(file, tmp_path / "made", "rpi", llama_cpp=programs(tmp_path / "programs"))
    assert not (tmp_path / "made").exists()
