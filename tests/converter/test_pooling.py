"""A folder of sentence-transformers: its pooling becomes a key, and what GGUF cannot say is refused by name."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from gguf import GGUFReader, PoolingType
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.converter.pooling import POOLING_TYPES, read_pooling
from exaone4_gguf.errors import ConfigError
from tests.classes import BASE, write_class

MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
OLD, NEW = "sentence_transformers.models.", "sentence_transformers.sentence_transformer.modules."


def flag(mode: str) -> str:
    """The older name: cls and mean say that they are of tokens, in their own ways."""
    endings = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "weightedmean": "weightedmean_tokens"}
    return f"pooling_mode_{endings.get(mode, mode)}"


def flags(*modes: str) -> dict[str, Any]:
    """As sentence-transformers up to 5.2 saves it."""
    return {"word_embedding_dimension": 256, "include_prompt": True} | {flag(m): m in modes for m in MODES}


def module(kind: str, path: str = "", package: str = OLD) -> dict[str, Any]:
    return {"idx": 0, "name": "0", "path": path, "type": package + kind}


USUAL = (module("Transformer"), module("Pooling", "1_Pooling"), module("Normalize", "2_Normalize"))


def write_modules(
    folder: Path, pooling: Mapping[str, Any] | None, modules: Any = USUAL, **files: Mapping[str, Any]
) -> Path:
    """Modules beside the weights; ``files`` by their names without .json."""
    (folder / "modules.json").write_text(json.dumps(modules))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "1_Pooling").mkdir(exist_ok=True)
    if pooling is not None:
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    return folder


def test_the_numbers_are_llama_cpps() -> None:
    assert POOLING_TYPES == {"mean": PoolingType.MEAN, "cls": PoolingType.CLS, "lasttoken": PoolingType.LAST}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(modes=st.sets(st.sampled_from(MODES)), newer=st.booleans(), short=st.booleans())
def test_modes_in_either_form(modes: set[str], newer: bool, short: bool, tmp_path: Path) -> None:
    """One mode that GGUF knows is its number; none is the mean; ``short``: what is false is not said at all."""
    ordered = [mode for mode in MODES if mode in modes]
    told: dict[str, Any] = flags(*ordered)
    if short:
        told = {key: value for key, value in told.items() if value is not False}
    if newer:
        told = {"embedding_dimension": 256} | ({"pooling_mode": ordered} if ordered else {})
    folder = write_modules(tmp_path, told)
    meant = ordered or ["mean"]
    if len(meant) == 1 and meant[0] in POOLING_TYPES:
        assert read_pooling(folder) == POOLING_TYPES[meant[0]]
        return
    with pytest.raises(ConfigError, match=f"it pools by {' and '.join(meant)}; GGUF knows one of mean, cls, lasttoken"):
        read_pooling(folder)


def test_a_mode_by_its_name_goes_before_the_flags(tmp_path: Path) -> None:
    assert read_pooling(write_modules(tmp_path, flags("cls") | {"pooling_mode": "lasttoken"})) == 3


@pytest.mark.parametrize("package", [OLD, NEW])
@pytest.mark.parametrize("behind", [(), ("Normalize",), ("Dropout", "Normalize")])
def test_modules_that_change_nothing_else(package: str, behind: tuple[str, ...], tmp_path: Path) -> None:
    chain = ("Transformer", "Pooling", *behind)
    modules = [module(kind, f"{i}_{kind}" if i else "", package) for i, kind in enumerate(chain)]
    assert read_pooling(write_modules(tmp_path, flags("cls"), modules)) == 2


def test_folders_that_do_not_pool(tmp_path: Path) -> None:
    assert read_pooling(tmp_path) is None
    assert read_pooling(write_modules(tmp_path, None, [module("Transformer")])) is None


T, P = module("Transformer"), module("Pooling", "1_Pooling")
PROMPTS = {"prompts": {"query": "Q: ", "document": ""}}


@pytest.mark.parametrize(
    ("modules", "files", "message"),
    [
        ([T, P, module("Dense", "2_Dense")], {}, "a module Dense as number 3 has no place in GGUF"),
        ([T, module("CNN", "1_CNN"), P], {}, "a module CNN as number 2 has no place"),
        ([T, P, P], {}, "a module Pooling as number 3 has no place"),
        ([T, module("Normalize"), P], {}, "a module Normalize as number 2"),
        ([module("Transformer", "0_Transformer"), P], {}, "its first module is Transformer in '0_Transformer'"),
        ([module("WordEmbeddings"), P], {}, "its first module is WordEmbeddings"),
        ([T, module("Pooling", "../x")], {}, "'../x' is not a folder in the checkpoint"),
        ([T, module("Pooling", "/etc")], {}, "'/etc' is not a folder"),
        ([T, module("Pooling", "gone")], {}, "gone/config.json: no such file"),
        ({"a": 1}, {}, "modules.json: not a list of modules"),
        ([{"path": ""}], {}, "modules.json: not a list of modules"),
        (5, {}, "modules.json: not a list of modules"),
        ([T, P], {"sentence_bert_config": {"do_lower_case": True}}, "do_lower_case is true"),
        (
            [T, P],
            {"config_sentence_transformers": PROMPTS | {"default_prompt_name": "query"}},
            "every text is to begin with the prompt 'query'; .* --allow-wrong-in-llama-cpp",
        ),
        ([T, P], {"config_sentence_transformers": {"default_prompt_name": "gone"}}, "the prompt 'gone'"),
        ([T, P], {"config_sentence_transformers": {"prompts": ["a"]}}, "prompts is .* it must be an object"),
    ],
)
def test_what_would_give_other_vectors_is_refused(
    modules: Any, files: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        read_pooling(write_modules(tmp_path, flags("mean"), modules, **files))


@pytest.mark.parametrize("mode", [5, [], [5], {"a": 1}])
def test_a_mode_that_is_none_is_refused(mode: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="pooling_mode is .*; it must be a mode or a list of them"):
        read_pooling(write_modules(tmp_path, {"pooling_mode": mode}))


def test_prompts_that_are_there_to_choose_from_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = PROMPTS | {"default_prompt_name": None}
    folder = write_modules(tmp_path, flags("lasttoken"), config_sentence_transformers=settings)
    assert read_pooling(folder) == 3
    assert r"no key for its prompts (query); put them before the texts" in caplog.text
    caplog.clear()
    empty = {"prompts": {"query": "", "document": ""}, "default_prompt_name": "document"}
    assert read_pooling(write_modules(tmp_path, flags("cls"), config_sentence_transformers=empty)) == 2
    assert not caplog.text


def test_the_key_is_written_and_what_it_cannot_say_is_let_pass_if_asked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write_class(tmp_path / "model", BASE, "full")
    path = convert(write_modules(folder, flags("lasttoken")), tmp_path / "a.gguf").paths[0]
    field = GGUFReader(path).fields["exaone4.pooling_type"]
    assert (field.contents(), field.types[0].name) == (3, "UINT32")
    write_modules(folder, flags("max"))
    with pytest.raises(ConfigError, match="it pools by max"):
        convert(folder, tmp_path / "b.gguf")
    with caplog.at_level(logging.WARNING):
        path = convert(folder, tmp_path / "b.gguf", allow_wrong_in_llama_cpp=True).paths[0]
    assert "it pools by max" in caplog.text
    assert "exaone4.pooling_type" not in GGUFReader(path).fields
