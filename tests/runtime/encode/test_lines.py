"""Lines of text, or of JSON, become results in the same order, with what else the lines held."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.errors import GGUFError, RequestError
from exaone4_gguf.runtime.encode.encoder import Encoder
from exaone4_gguf.runtime.encode.lines import Line, classify_lines, decoded, embed_lines, read_lines
from tests.classes import QUESTION, SEQUENCE, TOKEN, write_class


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Encoder]]:
    root = tmp_path_factory.mktemp("lines")
    found = {}
    for name in (SEQUENCE, TOKEN, QUESTION):
        file = convert(write_class(root / name, name, "full"), root / f"{name}.gguf", "Q8_0").paths[0]
        found[name] = Encoder(file, n_ctx=512, n_threads=1)
    yield found
    for encoder in found.values():
        encoder.close()


def test_lines_are_texts_and_blank_ones_are_none() -> None:
    found = list(read_lines(["Hello\n", "\n", " 안녕 \r\n", '{"text": 1}'], as_json=False))
    assert found == [Line(1, "Hello"), Line(3, " 안녕 "), Line(4, '{"text": 1}')]


def test_json_lines_are_texts_or_objects() -> None:
    lines = [
        '"Hello"',
        '{"id": 7, "text": "a"}',
        '{"text": "a", "text_pair": "b"}',
        '{"question": "q", "context": "c"}',
    ]
    assert list(read_lines(lines, as_json=True)) == [
        Line(1, "Hello"),
        Line(2, "a", {"id": 7}),
        Line(3, ("a", "b")),
        Line(4, ("q", "c")),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: not JSON"),
        ("5", "line 1: 5 is neither a text nor an object"),
        ('{"txt": "a"}', "line 1: it has no text: the keys are text"),
        ('{"text": null}', "line 1: it has no text"),
        ('{"text": "a", "text_pair": 5}', "line 1: text_pair is '5'; it must be text"),
    ],
)
def test_a_line_that_is_no_text_is_refused(line: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        list(read_lines([line], as_json=True))


def test_a_pair_may_lack_its_second() -> None:
    assert list(read_lines(['{"text": "a", "text_pair": null}'], as_json=True)) == [Line(1, "a", {"text_pair": None})]


def test_lines_are_utf_8_and_begin_with_no_mark() -> None:
    assert list(decoded([b"\xef\xbb\xbfa\n", "\ufeff서울\n".encode()])) == ["a\n", "\ufeff서울\n"]
    with pytest.raises(RequestError, match="line 2: not UTF-8: byte 3 is 0xff"):
        list(decoded([b"a\n", b"ab\xff\n"]))


def test_half_of_a_surrogate_pair_becomes_a_character_that_can_be_written() -> None:
    (line,) = read_lines([r'{"text": "a\ud800", "id": "\udc00", "both": "\ud83d\ude42"}'], as_json=True)
    assert line == Line(1, "a\ufffd", {"id": "\ufffd", "both": "🙂"})


def test_keys_that_are_the_results_too_are_under_given(encoders: dict[str, Encoder]) -> None:
    """The labels of a test set are there to be compared with."""
    line = Line(5, "Seoul", {"label": "good", "line": 9, "given": 1, "id": 7})
    found = next(classify_lines(encoders[SEQUENCE], [line]))
    assert found["given"] == {"label": "good", "line": 9, "given": 1}
    assert (found["line"], found["id"]) == (5, 7)
    assert found["label"] == next(classify_lines(encoders[SEQUENCE], [Line(1, "Seoul")]))["label"]


def test_results_come_in_order_and_keep_what_the_lines_held(encoders: dict[str, Encoder]) -> None:
    lines = [Line(i + 1, f"text {i}", {"id": f"#{i}"}) for i in range(70)]
    found = list(embed_lines(encoders[SEQUENCE], lines, pooling="mean", normalize=True))
    assert [(r["line"], r["id"]) for r in found] == [(i + 1, f"#{i}") for i in range(70)]
    assert found[69]["embedding"] == pytest.approx(encoders[SEQUENCE].embed(["text 69"])[0], abs=1e-5)


def test_each_head_gives_its_own(encoders: dict[str, Encoder]) -> None:
    keys = {SEQUENCE: {"line", "label", "score", "scores"}, TOKEN: {"line", "spans"}}
    for name, expected in keys.items():
        assert next(classify_lines(encoders[name], [Line(1, "Seoul")])).keys() == expected
    answer = next(classify_lines(encoders[QUESTION], [Line(1, ("Where?", "in Seoul"))]))
    assert answer.keys() == {"line", "answer", "score", "start", "end"}


def test_results_come_before_all_lines_are_read(encoders: dict[str, Encoder]) -> None:
    def endless() -> Iterator[Line]:
        number = 0
        while True:
            yield Line(number := number + 1, "text")

    assert next(classify_lines(encoders[SEQUENCE], endless()))["line"] == 1


def test_what_is_wrong_says_in_which_line(encoders: dict[str, Encoder]) -> None:
    with pytest.raises(RequestError, match="^line 4: text 1 is .* it must be text"):
        list(embed_lines(encoders[SEQUENCE], [Line(3, "a"), Line(4, ("a", "b"))], pooling="mean", normalize=True))
    with pytest.raises(RequestError, match="line 5: text 1 is 'a'; it must be a pair"):
        list(classify_lines(encoders[QUESTION], [Line(5, "a")]))
    with pytest.raises(RequestError, match="^line 7: text 1: the context is empty"):
        list(classify_lines(encoders[QUESTION], [Line(5, ("a", "b")), Line(7, ("a", ""))]))
    with pytest.raises(RequestError, match="^pooling is 'max'"):
        list(embed_lines(encoders[SEQUENCE], [Line(3, "a")], pooling="max", normalize=True))


def test_without_a_head_no_line_is_read(demo_gguf: Path) -> None:
    with Encoder(demo_gguf, n_ctx=512) as encoder, pytest.raises(GGUFError, match="it has no head"):
        classify_lines(encoder, iter(()))
