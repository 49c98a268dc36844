"""The types of programming languages, as JSON has them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exaone4_gguf.runtime.schema.form import schema_problem
from exaone4_gguf.runtime.schema.json_types import TYPES
from exaone4_gguf.runtime.schema.words import WORDS, meaning

STRING, INTEGER, NUMBER, NULL = ({"type": name} for name in ("string", "integer", "number", "null"))


def read(*types: str) -> tuple[dict[str, Any], list[str]]:
    """The meaning, and the words that are not known."""
    unknown: list[str] = []
    return meaning(types, unknown.append), unknown


def test_every_word_has_one_meaning_in_json() -> None:
    words = [word for line in WORDS.values() for word in re.split(r",\s+", line)]
    assert len(words) == len(set(words))
    assert WORDS.keys() - {"anything"} == TYPES.keys()
    for name, line in WORDS.items():
        for word in re.split(r",\s+", line):
            for form in (word, word.upper(), word.title(), f" {word} "):
                assert read(form) == ({} if name == "anything" else {"type": name}, [])


@pytest.mark.parametrize(
    ("name", "words"),
    {
        "string": "str String char Character std::string java.lang.String Date",
        "integer": "int Integer long Long short byte Bigint int64 uint8_t size_t u8 System.Int32 numpy.int64",
        "number": "float Float double Double Number decimal.Decimal float32",
        "boolean": "bool Boolean BOOLEAN _Bool",
        "null": "None null NoneType void undefined",
        "array": "list tuple set array Array ArrayList Set java.util.List Queue Stack collections.deque",
        "object": "dict HashMap Map Object Hashtable OBJECT Record Dict",
    }.items(),
)
def test_words_of_each_language(name: str, words: str) -> None:
    """Among them all of the leaderboard's (``GORILLA_TO_OPENAPI``, bfcl_eval/constants/type_mappings.py)."""
    assert [read(word) for word in words.split()] == [({"type": name}, [])] * len(words.split())


@pytest.mark.parametrize("word", ["any", "Any", "typing.Any", "", "  ", "unknown", "mixed"])
def test_anything(word: str) -> None:
    assert read(word) == ({}, [])


ARRAY = {"type": "array"}
OBJECT = {"type": "object"}
GENERIC: list[tuple[str, dict[str, Any]]] = [
    ("List[int]", ARRAY | {"items": INTEGER}),
    ("list of strings", ARRAY | {"items": STRING}),
    ("string[]", ARRAY | {"items": STRING}),
    ("int[3]", ARRAY | {"items": INTEGER}),
    ("string[][]", ARRAY | {"items": ARRAY | {"items": STRING}}),
    ("Array<number>", ARRAY | {"items": NUMBER}),
    ("std::vector<std::string>", ARRAY | {"items": STRING}),
    ("java.util.List<java.lang.Integer>", ARRAY | {"items": INTEGER}),
    ("Set[List[int]]", ARRAY | {"items": ARRAY | {"items": INTEGER}}),
    ("Tuple[int, ...]", ARRAY | {"items": INTEGER}),
    ("tuple[int, str]", ARRAY | {"prefixItems": [INTEGER, STRING]}),
    ("List<? extends Number>", ARRAY),
    ("List", ARRAY),
    ("Dict[str, float]", OBJECT | {"additionalProperties": NUMBER}),
    ("Map<String, List<Integer>>", OBJECT | {"additionalProperties": ARRAY | {"items": INTEGER}}),
    ("Record<string, any>", OBJECT | {"additionalProperties": {}}),
    ("Optional[str]", {"type": ["string", "null"]}),
    ("Option<i32>", {"type": ["integer", "null"]}),
    ("Int?", {"type": ["integer", "null"]}),
    ("str | None", {"type": ["string", "null"]}),
    ("int or float or None", {"type": ["integer", "number", "null"]}),
    ("Union[int, List[str]]", {"type": ["integer", "array"], "items": STRING}),
    ("List[int] | List[str]", ARRAY),
    ("(string | number)[]", ARRAY | {"items": {"type": ["string", "number"]}}),
    ("int | any", {}),
    ("'a' | \"b\" | null", {"type": ["string", "null"], "enum": ["a", "b", None]}),
    ("Literal['a', 2]", {"type": ["string", "integer"], "enum": ["a", 2]}),
    ("Literal['a'] | str", {"type": "string"}),
    ("Annotated[int, 'how many']", INTEGER),
    ("<class 'int'>", INTEGER),
    ("VARCHAR(255)", STRING),
    ("string (YYYY-MM-DD)", STRING),
    ("str, optional", STRING),
]


@pytest.mark.parametrize(("text", "expected"), GENERIC)
def test_generic_forms(text: str, expected: dict[str, Any]) -> None:
    assert read(text) == (expected, [])


def test_several_types_are_one_or_the_other() -> None:
    assert read("int", "long", "None") == ({"type": ["integer", "null"]}, [])
    assert read("List[int]", "null") == ({"type": ["array", "null"], "items": INTEGER}, [])


@pytest.mark.parametrize(
    ("types", "expected", "unknown"),
    [
        (("Quaternion",), {}, ["Quaternion"]),
        (("string", "Quaternion"), {}, ["Quaternion"]),
        (("List[Quaternion]",), ARRAY | {"items": {}}, ["Quaternion"]),
        (("Promise<string>",), {}, ["Promise"]),
        (("숫자",), {}, ["숫자"]),
        (("[" * 500,), {}, ["[" * 200]),
    ],
)
def test_unknown_words_are_anything_and_told(types: Any, expected: dict[str, Any], unknown: list[str]) -> None:
    assert read(*types) == (expected, unknown)


PIECES = st.sampled_from(
    ["List", "str", "int", "[", "]", "<", ">", "(", ")", ",", "|", "?", "of", "'a'", "...", " ", "é", "{"]
)


@given(st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=30))
def test_any_text_is_a_type(text: str) -> None:
    """It is a schema in any case, and one that is not understood is told."""
    found, _ = read(text)
    assert schema_problem(found) is None
    assert read("str", text)[0].get("enum") is None
