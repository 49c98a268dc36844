"""The tools and reference answers of the Berkeley Function Calling Leaderboard, which LG reports EXAONE 4 by.

Its package (bfcl-eval) pins dozens of heavy ones, so it is installed without them, its data files are read, and none
of its code is run. With EXAONE4_CASES the prompt of every tool is rendered; without it, that of one in twenty.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.runtime.answer.parser import StreamParser
from exaone4_gguf.runtime.events import Message, ToolCall, collect
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.generate.sampling import Sampler, Sampling
from exaone4_gguf.runtime.schema.grammar import calls_grammar
from exaone4_gguf.runtime.tools.tool import as_tool, as_tools, check_arguments, with_coerced_arguments

STEP = 1 if "EXAONE4_CASES" in os.environ else 20

Row = dict[str, Any]


def _data() -> Path:
    found = importlib.util.find_spec("bfcl_eval")  # which runs nothing of it
    if found is None or not found.submodule_search_locations:
        pytest.skip("bfcl-eval is not installed (pip install --no-deps bfcl-eval)")
    return Path(found.submodule_search_locations[0]) / "data"


def _rows(file: Path) -> list[Row]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line]


@pytest.fixture(scope="module")
def offered() -> dict[str, list[Row]]:
    """The tools of each question that has some, by the question's id; some were used in earlier editions."""
    data = _data()
    files = [*data.glob("BFCL_v4_[!f]*.json"), *data.glob("unused_datasets/question/*.json")]
    found = {row["id"]: row["function"] for file in files for row in _rows(file) if row.get("function")}
    assert sum(map(len, found.values())) == 9314
    return found


@pytest.fixture(scope="module")
def tools(offered: dict[str, list[Row]]) -> list[Row]:
    """Those that differ, and those of the leaderboard's conversations."""
    documented = [row for file in _data().glob("multi_turn_func_doc/*.json") for row in _rows(file)]
    listed = [tool for tools in offered.values() for tool in tools]
    return list({json.dumps(tool): tool for tool in (*listed, *documented)}.values())


@pytest.fixture(scope="module")
def references(offered: dict[str, list[Row]]) -> dict[str, list[tuple[str, Any]]]:
    """The right calls to each question that has tools: names and arguments."""
    rows = [row for file in _data().glob("possible_answer/*.json") for row in _rows(file)]
    found = {row["id"]: list(_calls(row["ground_truth"])) for row in rows if row["id"] in offered}
    assert len(found) == 2501
    return found


def _calls(answer: list[Row]) -> Iterator[tuple[str, Any]]:
    for call in answer:
        for name, accepted in call.items():
            yield name, _first(accepted)


def _first(accepted: Any) -> Any:
    """Of the values that the leaderboard accepts in each place, the first; "" says that it may be left out."""
    if isinstance(accepted, dict):
        return {name: _chosen(values) for name, values in accepted.items() if values != [] and _chosen(values) != ""}
    return [_first(item) for item in accepted] if isinstance(accepted, list) else accepted


def _chosen(values: Any) -> Any:
    """Some references have a value where others list several."""
    return _first(values[0]) if isinstance(values, list) else values


def test_every_tool_is_accepted_and_shown_as_it_is(tools: list[Row]) -> None:
    for given in tools:
        tool = as_tool(given)
        shown = json.dumps(tool.to_openai(), ensure_ascii=False)
        assert json.dumps(given, ensure_ascii=False) in shown
        assert list(tool.properties) == list(given["parameters"].get("properties", ()))
        assert calls_grammar([(tool.name, tool.schema)], parallel=True)


def test_prompts_hold_the_tools(tools: list[Row], talker: Exaone4) -> None:
    for given in tools[::STEP]:
        text = talker.prompt([{"role": "user", "content": "Hello!"}], [given]).text
        assert json.dumps(given, ensure_ascii=False) in text


def test_llama_cpp_reads_the_grammars(tools: list[Row], talker: Exaone4) -> None:
    with closing(Sampler(talker.model, Sampling())) as sampler:
        for given in tools:
            tool = as_tool(given)
            sampler.use_grammar(calls_grammar([(tool.name, tool.schema)], parallel=True))


def _read(text: str, offered: list[Row]) -> Message:
    parser = StreamParser(as_tools(offered))
    return collect([*parser.feed(text), *parser.finish("stop")])


def _written(calls: list[tuple[str, Any]]) -> str:
    bodies = (json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False) for name, arguments in calls)
    return "\n".join(f"<tool_call>{body}</tool_call>" for body in bodies)


def _told(calls: tuple[ToolCall, ...]) -> list[tuple[str, Any]]:
    return [(call.name, json.loads(call.arguments)) for call in calls]


def test_every_reference_answer_is_read_as_it_is(
    offered: dict[str, list[Row]], references: dict[str, list[tuple[str, Any]]]
) -> None:
    """A reply changes arguments only where the reference is not of the type that the tool asks for (ten are not)."""
    changed = set()
    for key, calls in references.items():
        message = _read(_written(calls), offered[key])
        assert _told(message.tool_calls) == calls
        schemas = {tool["name"]: tool["parameters"] for tool in offered[key]}
        for call, (name, arguments) in zip(
            with_coerced_arguments(message, as_tools(offered[key])).tool_calls, calls, strict=True
        ):
            if json.loads(call.arguments) != arguments:
                changed.add(key)
                assert check_arguments(schemas[name], arguments) != []
    assert len(changed) <= 10
