"""Imports between the rooms go one way, and heavy libraries are imported only where they are needed."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("app", "format", "converter", "quant", "runtime", "proof", "edge")
ALLOWED = {
    "app": set(ROOMS),
    "proof": {"proof", "converter", "quant", "runtime", "format"},
    "edge": {"edge", "converter", "quant", "runtime", "format"},
    "converter": {"converter", "quant", "format"},
    "quant": {"quant", "format"},
    "runtime": {"runtime", "format"},
    "format": {"format"},
}
EVERYONES = "errors"
"""The module of app/ that every room may import."""

FLOORS = (
    {"events", "text", "llama", "prompt", "partial_json"},
    {"schema", "encode"},
    {"tools"},
    {"answer", "generate"},
    {"chat"},
    {"exaone4"},
    {"remote"},
    {"terminal", "server"},
)
"""The rooms and files of the runtime, from the ground up: each imports only what stands below it."""
WITHOUT_LLAMA_CPP = ("prompt", "partial_json", "schema", "tools", "answer")
"""What says and reads texts needs no model."""

MOST_FILES = 20
"""Of a folder: its listing is to be read at a glance."""

EXTRAS = {"torch", "transformers", "huggingface_hub", "matplotlib", "fastapi", "uvicorn", "ziglang"}
NEEDING_THEM = {
    "app/demo/train.py": {"torch", "transformers"},
    "proof/divergence.py": {"torch"},
    "proof/reference.py": {"torch"},
    "proof/rounding.py": {"torch"},
    "runtime/server": {"fastapi", "uvicorn", "starlette", "pydantic"},
}
"""Files and folders that are about one extra, and are imported only inside functions themselves."""

HEAVY = ("torch", "transformers", "llama_cpp", "numpy", "gguf", "rich", "jinja2", "psutil", "platformdirs")


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


def inner_imports(file: Path) -> set[str]:
    """The rooms and files of the runtime that a file of it imports from, wherever in it; not its own room."""
    names = {module.removeprefix("runtime.").split(".")[0] for module in imported_modules(file) if "runtime." in module}
    return names - {file.relative_to(ROOT / "runtime").with_suffix("").parts[0]}


@pytest.mark.parametrize("name", sorted(set().union(*FLOORS)))
def test_inner_walls(name: str) -> None:
    """The runtime's rooms stand on floors, and nothing looks upward."""
    below: set[str] = set().union(*FLOORS[: next(i for i, floor in enumerate(FLOORS) if name in floor)])
    for file in ((ROOT / "runtime" / name).rglob("*.py"), (ROOT / "runtime").glob(f"{name}.py")):
        for one in file:
            assert inner_imports(one) <= below, one
            assert "llama" not in inner_imports(one) or name not in WITHOUT_LLAMA_CPP, one


def test_every_room_of_the_runtime_has_its_floor() -> None:
    found = {
        path.stem for path in (ROOT / "runtime").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert found - {"__init__"} == set().union(*FLOORS)


def test_no_folder_is_crowded() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a checkout of git")
    crowds = Counter(Path(name).parent for name in tracked.stdout.splitlines())
    assert {folder: n for folder, n in crowds.items() if n > MOST_FILES} == {}


FALLBACK = "converters_reading"
"""The one module of the proof that may ask the converter what a checkpoint says; verify falls back to it by name."""
OF_THE_CONVERTER = {
    "checkpoint.adapter",  # whether one is there, which nothing here computes with
    "checkpoint.folder",  # which files a folder has, and its JSON
    "checkpoint.hub",  # where a model's folder is
    "checkpoint.torch_file",  # torch's own reading of its files
    "checkpoint.weight_files",  # which files of a folder without an index belong together
    "fingerprint",  # a digest of tensors that are given to it
    "output",  # where a file is written
    "pipeline",  # how many threads, and weights in a slab
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


@pytest.mark.parametrize("file", [*(ROOT / "proof").rglob("*.py")], ids=lambda file: str(file.stem))
def test_the_proof_takes_nothing_of_the_converter_s_reading(file: Path) -> None:
    """Else the converter's mistakes would be on both sides."""
    if file.stem == FALLBACK:
        return
    modules = imported_modules(file)
    assert {m.removeprefix("converter.") for m in modules if m.startswith("converter.")} <= OF_THE_CONVERTER
    assert f"proof.reading.{FALLBACK}" not in modules or file.stem == "verify"


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
    "converter/fingerprint.py": "converter/test_head.py",
    "converter/model.py": "converter/test_convert.py",
    "edge/boards.py": "edge/test_fit.py",
    "edge/cache.py": "edge/test_sources.py",
    "edge/programs.py": "edge/test_bundle.py",
    "edge/shape.py": "edge/test_memory.py",
    "format/keys.py": "converter/test_metadata.py",
    "format/tags.py": "runtime/answer/test_thoughts.py",
    "format/nesting.py": "runtime/schema/test_reading.py",
    "format/tensor.py": "format/test_file.py",
    "proof/behaviour.py": "proof/test_verify.py",
    "proof/blocks.py": "proof/test_tensors.py",
    "proof/corpus.py": "proof/test_verify.py",
    "proof/origin.py": "proof/test_tensors.py",
    "proof/reading/configuration.py": "proof/reading/test_checkpoint.py",
    "proof/reading/converters_reading.py": "proof/test_verify.py",
    "proof/reading/names.py": "proof/reading/test_checkpoint.py",
    "proof/reading/quiet.py": "app/commands/test_verify.py",
    "proof/reading/vocabulary.py": "proof/test_tokenizer.py",
    "proof/reading/weights.py": "proof/reading/test_checkpoint.py",
    "proof/report.py": "proof/test_verify.py",
    "runtime/answer/call_reader.py": "runtime/answer/test_parser.py",
    "runtime/answer/possible_calls.py": "runtime/answer/test_thoughts.py",
    "runtime/answer/reply.py": "runtime/test_exaone4.py",
    "runtime/chat/answer_stream.py": "runtime/test_exaone4.py",
    "runtime/chat/chat_model.py": "runtime/terminal/test_turn.py",
    "runtime/chat/conversing.py": "runtime/test_exaone4.py",
    "runtime/events.py": "runtime/answer/test_parser.py",
    "runtime/generate/drafting/draft.py": "runtime/generate/drafting/test_lookahead.py",
    "runtime/generate/generation.py": "runtime/test_exaone4.py",
    "runtime/generate/request.py": "runtime/test_exaone4.py",
    "runtime/llama/api.py": "runtime/llama/test_model.py",
    "runtime/llama/hidden_states.py": "runtime/encode/test_encoder.py",
    "runtime/partial_json/completion.py": "runtime/answer/test_parser.py",
    "runtime/partial_json/lenient.py": "runtime/tools/repair/test_table.py",
    "runtime/partial_json/scanner.py": "runtime/answer/test_parser.py",
    "runtime/prompt/plain.py": "runtime/prompt/test_messages.py",
    "runtime/schema/check.py": "runtime/tools/test_tool.py",
    "runtime/schema/coerce.py": "runtime/tools/test_tool.py",
    "runtime/schema/form.py": "runtime/tools/test_tool.py",
    "runtime/schema/gbnf.py": "runtime/schema/test_grammar.py",
    "runtime/schema/intersect.py": "runtime/schema/test_grammar.py",
    "runtime/schema/json_types.py": "runtime/tools/test_tool.py",
    "runtime/server/answers_chat.py": "runtime/server/test_openai_client.py",
    "runtime/server/answers_text.py": "runtime/server/test_openai_client.py",
    "runtime/server/bodies.py": "runtime/server/test_app.py",
    "runtime/server/errors.py": "runtime/server/test_app.py",
    "runtime/server/metrics.py": "runtime/server/test_app.py",
    "runtime/server/options.py": "runtime/server/test_openai_client.py",
    "runtime/server/page_files.py": "runtime/server/test_page.py",
    "runtime/server/serve.py": "app/commands/test_serve.py",
    "runtime/server/service.py": "runtime/server/test_engine.py",
    "runtime/server/stream.py": "runtime/server/test_openai_client.py",
    "runtime/server/usage.py": "runtime/server/test_openai_client.py",
    "runtime/tools/from_function.py": "runtime/tools/test_tool.py",
    "runtime/tools/repair/texts.py": "runtime/tools/repair/test_table.py",
    "runtime/tools/repair/values.py": "runtime/tools/repair/test_table.py",
}
"""Files without a test of their own, and the test that goes through them."""


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
    for room in set(ROOMS) - {"app"}:
        for file in (ROOT / room).rglob("*.py"):
            name = file.relative_to(ROOT).as_posix()
            folder, _, stem = name.rpartition("/")
            own = f"{folder}/test_{stem}"
            if stem != "__init__.py":
                assert (ROOT / "tests" / PROVEN_BY_THEIR_USERS.get(name, own)).exists(), name
                assert name not in PROVEN_BY_THEIR_USERS or not (ROOT / "tests" / own).exists(), f"{name} has its own"


def test_no_exemption_is_left_over() -> None:
    assert [name for name in PROVEN_BY_THEIR_USERS if not (ROOT / name).exists()] == []
