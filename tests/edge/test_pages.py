"""The pages for other machines: every command that is not marked works, and prints what the page says.

The bundled checkpoint stands for the published ones. ``fit`` is given their sizes, so that its figures are the real.
A bundle's programs run under an emulator in ``make test-peers``, else ``stand_in.py`` stands in for them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.edge import sources
from exaone4_gguf.edge.cache import cache_folder
from exaone4_gguf.edge.cross import BUILDS, PROGRAMS, built_folder
from exaone4_gguf.edge.fit import fit
from tests.checkpoints import DEMO, full_config, hybrid_config
from tests.edge import stand_in
from tests.edge.pages import agree, commands
from tests.edge.peers import FOLDER
from tests.edge.reader import Reader
from tests.edge.test_bundle import FEATURES
from tests.edge.test_fit import REAL

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "docs" / f"{name}.md" for name in ("edge", "raspberry-pi", "android", "gpu", "several-machines")]
LARGE: dict[str, Any] = {
    "hidden_size": 5120,
    "intermediate_size": 27392,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 102400,
    "sliding_window": 4096,
    "max_position_embeddings": 131072,
}
"""The sizes of the 32B."""
SIZES = {"EXAONE-4.0-1.2B": full_config(**REAL), "EXAONE-4.0-32B": hybrid_config(**LARGE)}
SYSTEM = {
    "Could NOT find Vulkan",
    "Exec format error",
    "False",
    "Illegal instruction",
    "Killed",
    "No CMAKE_CUDA_COMPILER could be found",
    "No such file or directory",
    "Permission denied",
    "Process completed (signal 9)",
    "True",
    "run",
    "sha256sum: WARNING:",
}
"""What neither this project nor llama.cpp says."""


def can_emulate() -> bool:
    """Whether programs for arm64 are there and can run, and time is given to them."""
    source = sources.cached_sources()
    built = source is not None and all(built_folder(build, source).is_dir() for build in BUILDS)
    return FOLDER in os.environ and built and shutil.which("qemu-aarch64") is not None


def seeded_cache(folder: Path) -> Path:
    """A cache in which the programs of bundles have been built: stand-ins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        source = cache_folder() / "sources" / f"llama.cpp-{sources.VERSION}"
        source.mkdir(parents=True)
        (source / "LICENSE").write_text("MIT License\n")
        for build in BUILDS:
            built_folder(build, source).mkdir(parents=True)
            for name in PROGRAMS:
                program = built_folder(build, source) / name
                program.write_text(f"#!{sys.executable}\n{Path(stand_in.__file__).read_text()}")
                program.chmod(0o755)
    return folder


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    """A computer with the published models' folders, and a board like a Raspberry Pi 5."""
    if missing := {"bash", "curl"} - {name for name in ("bash", "curl") if shutil.which(name)}:
        pytest.skip(f"the pages' commands want {', '.join(sorted(missing))}")
    computer, sizes, home = (tmp_path / name for name in ("computer", "sizes", "home"))
    for name, config in SIZES.items():
        shutil.copytree(DEMO, computer / name)
        (sizes / name).mkdir(parents=True)
        (sizes / name / "config.json").write_text(json.dumps(config))
    (home / "storage").mkdir(parents=True)
    (home / "storage" / "downloads").symlink_to(computer)  # whatever the computer makes has been downloaded
    (home / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
    core = f"processor\t: 0\nFeatures\t: {FEATURES['cortex-a76']}\n\n"
    (tmp_path / "cpuinfo").write_text(core * 4)
    emulated = can_emulate()
    cache = cache_folder().parent if emulated else seeded_cache(tmp_path / "cache")
    runner = {"RUNNER": "qemu-aarch64 -cpu cortex-a76", "LLAMA_ARG_WARMUP": "0"} if emulated else {}
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(cache),
        "LLAMA_CACHE": str(tmp_path / "sent"),
        "CPUINFO": str(tmp_path / "cpuinfo"),
        "CPUS": str(tmp_path),
    }
    return Reader(computer, sizes, environment | runner)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_works(page: Path, reader: Reader) -> None:
    done = " ".join(reader.follow(commands(page)))
    assert {"fit", "convert"} <= set(done.split())


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("    no-such-program --now", "ended with 127"),
        ("    exaone4-gguf fit EXAONE-4.0-1.2B --device toaster", "unknown device 'toaster'"),
        ("    exaone4-gguf fit EXAONE-4.0-1.2B --devise rpi5-8gb \\\n        -c 512", "No such option"),
        ("    false | true", "ended with 1"),
        ("    $ exaone4-gguf fit --list-devices\n    toaster", "printed:\nrpi4-4gb"),
        ("    $ echo 1 2.5 GB, two\n    3 1 MB, three", "printed:\n1 2.5 GB, two"),
        ("| a | do (*) | do |\n|---|---|---|\n| `not a command` | `nor this` | `this one` |", "this one\nended"),
        ("    exaone4-gguf serve nothing.gguf", "no server:\n.*nothing.gguf: no such file"),
        ("    curl http://127.0.0.1:8080/v1/chat/completions", "ended with 7"),
    ],
)
def test_one_that_does_not_is_found(page: str, complaint: str, reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(f"# A page\n\n{page}\n")
    with pytest.raises(AssertionError, match=f"(?s)page.md:[3-5]: .*{complaint}"):
        reader.follow(commands(tmp_path / "page.md"))


def test_one_that_is_marked_is_not_run(reader: Reader, tmp_path: Path) -> None:
    marked = "    adb push x y   # (*) over the cable\n\n| a | b |\n|---|---|\n| c | `adb push x` (*) |\n"
    (tmp_path / "page.md").write_text(f"```ini\n    no command\n```\n\n{marked}\n    echo x\n")
    assert reader.follow(commands(tmp_path / "page.md")) == ["echo x"]


def test_outputs_have_the_form_that_is_shown() -> None:
    assert agree("a 1.2 MB\n...\nend", "a 30 GB\nx\ny\nend\n", exact=False)
    assert not agree("a 1.2 MB\n...\nend", "a 30 GB\nx\ny\nend\n", exact=True)
    assert not agree("a\nend", "a\nx\nend", exact=False)
    assert not agree("Q4_0 1", "Q8_0 1", exact=False)


@pytest.mark.parametrize("name", SIZES)
def test_the_sizes_are_those_of_the_published_models(name: str, published: Path, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "config.json").write_text(json.dumps(SIZES[name]))
    ours, theirs = fit(tmp_path / name, "rpi5-8gb"), fit(published.parent / name.lower(), "rpi5-8gb")
    assert ours.rows == theirs.rows


def test_options_of_builds_are_those_of_cmake() -> None:
    archive = cache_folder() / "sources" / f"llama_cpp_python-{sources.VERSION}.tar.gz"
    folder = sources.cached_sources()
    if folder is None or not archive.is_file():
        pytest.skip("the sources of llama-cpp-python are not in the cache")
    with tarfile.open(archive) as tar:
        outer = tar.extractfile(f"llama_cpp_python-{sources.VERSION}/CMakeLists.txt")
        assert outer is not None
        known = outer.read().decode()
    known += "".join(file.read_text() for file in (*folder.rglob("CMakeLists.txt"), *folder.rglob("*.cmake")))
    own = subprocess.run(
        [sys.executable, "-m", "cmake", "--help-variable-list"], capture_output=True, text=True, check=True
    )
    known += own.stdout
    named = {option for page in PAGES for option in re.findall(r"-D(\w+)=", page.read_text())}
    assert {"GGML_CUDA", "GGML_METAL", "GGML_VULKAN", "GGML_RPC"} <= named
    assert [option for option in named if not re.search(rf"\b{option}\b", known)] == []


def test_what_pip_installs_exists() -> None:
    """The extras are the project's; llama-cpp-python has the version that bundles are built from."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for command in (command for page in PAGES for command in commands(page) if "pip install" in command.text):
        assert command.marked, command
        assert set(re.findall(r"'\.\[(\w+)\]'", command.text)) <= extras.keys(), command
        assert set(re.findall(r"==(\S+)", command.text)) <= {sources.VERSION}, command


def test_messages_are_those_of_the_programs() -> None:
    """What the tables of troubles quote."""
    quoted = set()
    for page in PAGES:
        rows = page.read_text().partition("\n## What goes wrong\n")[2].splitlines()
        quoted |= {span for row in rows for span in re.findall(r"`([^`]+)`", row.split("|")[1] if "|" in row else "")}
    ours = "".join(f.read_text() for room in ("edge", "runtime") for f in (ROOT / room).rglob("*.*") if f.is_file())
    left = {message for message in quoted - SYSTEM if re.split(r" pi-\d", message)[0] not in ours}
    if (folder := sources.cached_sources()) is None:
        pytest.skip("llama.cpp's sources are not in the cache")
    files = [*(folder / "ggml" / "src").rglob("*"), *(folder / "tools" / "server").glob("*")]
    theirs = "".join(f.read_text() for f in files if f.suffix in {".cpp", ".txt"})
    assert {message for message in left if message not in theirs} == set()
