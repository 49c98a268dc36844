"""The pages name what there is, and say what it is."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.converter.model import from_checkpoint
from exaone4_gguf.converter.tokenizer.chat_template import DEFAULT, TOOL_USE
from exaone4_gguf.converter.tokenizer.token_roles import NOT_WRITTEN
from exaone4_gguf.quant.recipes import FILE_TYPES
from exaone4_gguf.runtime.generate.request import ChatOptions
from exaone4_gguf.runtime.generate.sampling import PRESETS, Sampling
from exaone4_gguf.runtime.server.bodies import BODIES
from exaone4_gguf.runtime.tools.repair.table import REPAIRS
from tests.checkpoints import full_config, write_checkpoint
from tests.converter.test_pooling import flags, write_modules
from tests.converter.tokenizer.test_chat_template import write_named
from tests.test_architecture import ALLOWED, FLOORS, ROOMS

ROOT = Path(__file__).parent.parent
CHAT = (ROOT / "docs" / "chat.md").read_text()
SERVER = (ROOT / "docs" / "server.md").read_text()
README = (ROOT / "README.md").read_text()
CHECKPOINTS = (ROOT / "docs" / "checkpoints.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
FOR_CONTRIBUTORS = ("ARCHITECTURE.md", "CONTRIBUTING.md", "docs/facts.md", "docs/decisions.md")


def named(page: str) -> set[str]:
    """What stands in backticks in the first column of a table."""
    rows = re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize("names", [ChatOptions.__annotations__, PRESETS, [repair.name for repair in REPAIRS]])
def test_every_option_preset_and_repair_is_told(names: list[str]) -> None:
    assert set(names) <= named(CHAT)


def test_the_values_of_the_presets_are_told() -> None:
    for name, sampling in PRESETS.items():
        assert f"| `{name}` | {sampling.temperature:g} | {sampling.top_p:g} | {sampling.presence_penalty:g} |" in CHAT
        told = {"temperature", "top_p", "presence_penalty"}
        others = [f.name for f in fields(Sampling) if f.name not in told]
        assert all(getattr(sampling, other) == getattr(PRESETS["answer"], other) for other in others)


def test_the_readme_lists_the_file_types() -> None:
    listed = re.findall(r"^\| (\w+) \| [\d.]+ [GM]B \|", README, re.MULTILINE)
    assert listed == list(FILE_TYPES)


def test_every_field_of_a_request_is_told() -> None:
    fields = {name for body in BODIES for name in body.model_fields}
    assert fields <= named(SERVER) | {"content", "with_pieces", "add_special"}


def test_the_keys_that_a_folder_becomes_are_those_that_are_told(tmp_path: Path) -> None:
    """Of a folder that says everything; every key for a token's role and every template is in the table."""
    config = full_config(eos_token_id=[5, 6, 7, 9])
    folder = write_modules(write_checkpoint(tmp_path / "model", config), flags("lasttoken"))
    metadata = from_checkpoint(write_named(folder, dict.fromkeys((DEFAULT, TOOL_USE), "x"))).metadata
    written = {*metadata, "general.file_type"}
    told = {key for row in CHECKPOINTS.splitlines() for key in re.findall(r"`([\w.]+)`", row.rpartition("| ")[2])}
    keys = {name for name in told if "." in name and not name.endswith((".md", ".json"))}
    prefixes = tuple(f"{key.partition('.')[0]}." for key in written)
    assert {key for key in keys if key.startswith(prefixes)} <= written
    roles = {key for key in written if "token_id" in key or "chat_template" in key or "pooling" in key}
    assert roles <= keys


def test_what_is_refused_and_left_out_of_a_folder_is_told() -> None:
    assert all(f"`{name}`" in CHECKPOINTS for name in (*NOT_WRITTEN, "adapter_config.json", "tool_use", "Dense"))
    assert all(name in CHECKPOINTS for name in ("max", "weightedmean", "mean_sqrt_len_tokens"))


def test_the_python_of_conversations_runs(
    demo_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Block after block, with the bundled model, which is asked to roll dice in the last one."""
    (tmp_path / "out.gguf").symlink_to(demo_gguf)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", CHAT, re.MULTILINE | re.DOTALL)
    try:
        for block in blocks:
            exec(block, names)
    finally:
        names["model"].close()
    said = capsys.readouterr().out
    assert re.search(r'roll_dice {"sides": 6} gave ([1-6])\n.* gave ([1-6])\nYou rolled \1 and \2', said)
    assert [message["role"] for message in names["messages"]] == ["user", "assistant", "tool", "tool", "assistant"]


def anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for name, anchor in re.findall(r"\]\(([^)#:]*)#?([^)#:]*)\)", page.read_text()):
            target = page.parent / name if name else page
            assert target.exists(), (page, name)
            assert not anchor or anchor in anchors(target), (page, name, anchor)


def paths(page: str) -> set[str]:
    """The files and folders of the repository that a page names in backticks."""
    names = re.findall(r"`([\w./-]+)`", page)
    places = {path.name for path in ROOT.iterdir()}
    return {name for name in names if name.split("/")[0] in places}


@pytest.mark.parametrize("page", FOR_CONTRIBUTORS)
def test_what_pages_for_contributors_name_exists(page: str) -> None:
    named_paths = paths((ROOT / page).read_text())
    assert named_paths
    assert [path for path in named_paths if not (ROOT / path).exists()] == []


def test_every_room_is_in_the_architecture() -> None:
    rooms = {f"{room}/" for room in ROOMS}
    rooms |= {f"{file.parent.relative_to(ROOT)}/" for room in ROOMS for file in (ROOT / room).rglob("*/__init__.py")}
    assert rooms <= paths(ARCHITECTURE)
    assert set(ALLOWED) == set(ROOMS)


def test_the_floors_of_the_runtime_are_those_that_imports_are_held_to() -> None:
    rows = re.findall(r"^\| (\d) \| ([^|]*) \|", ARCHITECTURE, re.MULTILINE)
    floors = [{Path(name).stem for name in re.findall(r"`([^`]*)`", names)} for _, names in rows]
    assert [int(number) for number, _ in rows] == list(range(1, len(FLOORS) + 1))
    assert floors == list(FLOORS)


def test_recipes_name_at_most_three_places() -> None:
    recipes = CONTRIBUTING.partition("## Recipes")[2].split("\n### ")[1:]
    assert len(recipes) >= 6
    for recipe in recipes:
        steps = re.findall(r"^- \[ \] `([^`]*)`: ", recipe, re.MULTILINE)
        assert 1 <= len(steps) <= 3, recipe
        assert recipe.count("- [ ]") == len(steps), recipe
        assert all((ROOT / step).is_file() for step in steps), recipe
        assert "Held by `tests/" in recipe
