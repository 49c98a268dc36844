"""Imports between the rooms go one way, and heavy libraries are imported only where they are needed."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("app", "converter", "quant", "runtime", "proof", "edge")
ALLOWED = {
    "app": set(ROOMS),
    "proof": {"proof", "converter", "quant", "runtime"},
    "edge": {"edge", "converter", "quant", "runtime"},
    "converter": {"converter", "quant"},
    "quant": {"quant"},
    "runtime": {"runtime"},
}
EVERYONES = "errors"
"""The module of app/ that every room may import."""

EXTRAS = {"torch", "transformers", "huggingface_hub", "matplotlib", "fastapi", "uvicorn", "ziglang"}
NEEDING_THEM = {
    "app/demo/train.py": {"torch", "transformers"},
    "proof/divergence.py": {"torch"},
    "proof/reference.py": {"torch"},
    "proof/rounding.py": {"torch"},
    "runtime/server": {"fastapi", "uvicorn", "starlette", "pydantic"},
}
"""Files and folders that are about one extra, and are imported only inside functions themselves."""

HEAVY = ("torch", "transformers", "llama_cpp", "numpy", "gguf", "rich", "jinja2")


def rooms_of(file: Path) -> set[str]:
    """The rooms that a file imports from, wherever in it."""
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            package, _, rest = name.partition(".")
            if package == "exaone4_gguf" and rest != EVERYONES:
                room = rest.split(".")[0]
                rooms.add(room if room in ROOMS else "app")
    return rooms


@pytest.mark.parametrize("room", ROOMS)
def test_imports_go_one_way(room: str) -> None:
    for file in (ROOT / room).rglob("*.py"):
        assert rooms_of(file) <= ALLOWED[room], file


FALLBACK = "converters_reading"
"""The one module of the proof that may ask the converter what a checkpoint says; verify falls back to it by name."""
OF_THE_CONVERTER = {
    "adapter",  # whether one is there, which nothing here computes with
    "checkpoint",  # which files a folder has, and its JSON
    "disguise",  # what a file is that is none of them
    "fingerprint",  # a digest of tensors that are given to it
    "gguf_file",
    "gguf_values",  # how a GGUF file is read
    "hub",  # where a model's folder is
    "output",  # where a file is written
    "pipeline",  # how many threads, and weights in a slab
    "source",  # a tensor's bytes and shape
    "torch_file",  # torch's own reading of its files
    "weight_files",  # which files of a folder without an index belong together
}
"""What the proof may know of the converter: nothing that reads a configuration, names, factors or weights."""


def imported_modules(file: Path) -> set[str]:
    """The project's modules that a file imports, wherever in it, as room.module."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("exaone4_gguf."):
            room, _, module = (node.module or "").removeprefix("exaone4_gguf.").partition(".")
            found |= {f"{room}.{module}"} if module else {f"{room}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", [*(ROOT / "proof").glob("*.py")], ids=lambda file: str(file.stem))
def test_the_proof_takes_nothing_of_the_converter_s_reading(file: Path) -> None:
    """Else the converter's mistakes would be on both sides."""
    if file.stem == FALLBACK:
        return
    modules = imported_modules(file)
    assert {m.removeprefix("converter.") for m in modules if m.startswith("converter.")} <= OF_THE_CONVERTER
    assert f"proof.{FALLBACK}" not in modules or file.stem == "verify"


def needed(file: Path) -> set[str]:
    """The extras that a file may import at its top."""
    name = file.relative_to(ROOT).as_posix()
    return set().union(*(extras for path, extras in NEEDING_THEM.items() if name.startswith(path)))


def test_extras_are_imported_inside_functions() -> None:
    """They may be absent."""
    for file in (f for room in ROOMS for f in (ROOT / room).rglob("*.py")):
        for node in ast.parse(file.read_text()).body:
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not (EXTRAS - needed(file)) & {name.split(".")[0] for name in names}, file


@pytest.mark.parametrize(
    "code", ["import exaone4_gguf", "import exaone4_gguf.cli", "from exaone4_gguf.errors import *"]
)
def test_importing_is_quick(code: str) -> None:
    script = f"{code}; import sys; print([m for m in {HEAVY} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


PROVEN_BY_THEIR_USERS = {
    "llama",  # runtime: test_model
    "model",  # converter: test_convert
    "fingerprint",  # converter: test_head
    "gguf_reader",  # runtime: test_head, test_model
    "hidden",  # test_encoder
    "source",  # test_safetensors_file, test_gguf_file
    "window",  # test_model
    "worker",  # test_remote
    "boards",  # test_fit
    "cache",  # test_sources
    "programs",  # test_bundle, test_cross
    "shape",  # test_memory
    "draft",  # drafting: test_lookahead
    "generation",  # test_chat, test_reasoning
    "request",  # test_chat
    "reply",  # test_chat
    "schema_rules",  # test_grammar
    "events",  # test_parser
    "json_scanner",  # test_parser
    "call_reader",  # test_parser
    "completion",  # test_parser
    "loose_json",  # test_repairs
    "repair_texts",  # test_repairs
    "repair_values",  # test_repairs
    "schema",  # test_tools
    "schema_form",  # test_tools
    "coerce",  # test_tools
    "functions",  # test_tools
    "asking",  # server: test_openai_client
    "chat_answers",
    "text_answers",
    "usage",
    "problems",
    "service",  # test_engine
    "stream",
    "bodies",  # test_app, test_fuzz
    "metrics",  # test_app
    "serve",
    "page_files",  # test_page
    "behaviour",  # test_verify
    "corpus",  # test_verify
    "report",  # test_verify
    "blocks",  # proof: test_tensors
    "origin",  # test_tensors
    "names",  # test_checkpoint
    "weights",
    "configuration",
    "vocabulary",  # test_tokenizer
    "quiet",  # test_verify_command
    "converters_reading",  # test_verify
    "tags",  # runtime: test_thoughts
    "possible_calls",
}


STARTS = {
    "library": (["-c", "from exaone4_gguf import Exaone4"], "numpy"),
    "command line": (["-m", "exaone4_gguf", "--help"], "click"),
}
"""What is started, and the one library that it has to import."""


def started(command: list[str]) -> float:
    """Seconds."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - began


@pytest.mark.parametrize("name", STARTS)
def test_starting_takes_little_more_than_its_imports(name: str) -> None:
    """The quickest of several starts in turns, as the machine is shared: at most four times the library's own."""
    command, library = STARTS[name]
    pairs = [(started(command), started(["-c", f"import {library}"])) for _ in range(5)]
    ours, theirs = (min(times) for times in zip(*pairs, strict=True))
    assert ours < 4 * theirs


def test_starting_imports_no_torch() -> None:
    script = "import sys; from exaone4_gguf import Exaone4; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_every_module_has_its_test() -> None:
    """Tests mirror the rooms."""
    for room in ("converter", "quant", "runtime", "runtime/drafting", "runtime/server", "proof", "edge"):
        for file in (ROOT / room).glob("*.py"):
            test = ROOT / "tests" / room / f"test_{file.stem}.py"
            assert file.stem in {"__init__", *PROVEN_BY_THEIR_USERS} or test.exists(), file
