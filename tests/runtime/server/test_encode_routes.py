"""/v1/embeddings and /v1/classify: OpenAI's client, and what they refuse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.format.file import head_path
from exaone4_gguf.format.values import u32
from exaone4_gguf.runtime.encode.pooling import KEY, POOLINGS
from exaone4_gguf.runtime.server.serve import Server
from tests.checkpoints import LABELS
from tests.classes import QUESTION, SEQUENCE, write_class
from tests.proof.wrong_files import rewritten
from tests.runtime.server.running import chat, post, request, running


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("served")
    file = convert(write_class(root / "model", SEQUENCE, "full"), root / "base.gguf", "Q8_0").paths[0]
    with running(file, loading={"n_ctx": 512}) as server:
        yield server


@pytest.mark.parametrize("extra", [{}, {"encoding_format": "float"}])
def test_openais_client(server: Server, extra: dict[str, Any]) -> None:
    """It asks for base64 where nothing is said."""
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        answer = client.embeddings.create(model="any", input=["Hello!", "안녕하세요"], **extra)
    assert [one.index for one in answer.data] == [0, 1]
    assert all(sum(x * x for x in one.embedding) == pytest.approx(1, abs=1e-4) for one in answer.data)
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 2


def test_a_server_talks_and_embeds(server: Server) -> None:
    before = chat(server).json["choices"][0]["message"]["content"]
    many = post(server, "/v1/embeddings", {"input": [f"text {i}" for i in range(70)]}).json
    assert [one["index"] for one in many["data"]] == list(range(70))
    one = post(server, "/v1/embeddings", {"input": "text 69"}).json
    assert one["data"][0]["embedding"] == pytest.approx(many["data"][69]["embedding"], abs=1e-6)
    assert chat(server).json["choices"][0]["message"]["content"] == before


@pytest.fixture(scope="module")
def pooled(demo_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    file = rewritten(demo_gguf, tmp_path_factory.mktemp("pooled") / "a.gguf", {KEY: u32(3)})
    with running(file, loading={"n_ctx": 512}) as server:
        yield server


def test_the_pooling_of_the_file_is_the_default(pooled: Server) -> None:
    vectors = {
        name: post(pooled, "/v1/embeddings", {"input": "a b c", "pooling": name}).json["data"][0]["embedding"]
        for name in (None, *POOLINGS)
    }
    assert vectors[None] == vectors["last"]
    assert len({tuple(vector) for vector in vectors.values()}) == len(POOLINGS)


def test_a_classifier_classifies_and_does_not_chat(classifier: Server) -> None:
    answer = post(classifier, "/v1/classify", {"input": ["서울", ["a query", "a document"]]}).json
    assert [one["index"] for one in answer["data"]] == [0, 1]
    assert [s["label"] for s in answer["data"][0]["scores"]] == list(LABELS)
    refused = chat(classifier)
    assert refused.status == 400
    assert "has no output for text and cannot chat" in refused.error["message"]
    for prompt in ("Hello", [5, 6]):
        assert post(classifier, "/v1/completions", {"prompt": prompt}).status == 400
    assert post(classifier, "/tokenize", {"content": "Hello"}).json["tokens"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/v1/embeddings", {}, "input"),
        ("/v1/embeddings", {"input": []}, "input"),
        ("/v1/embeddings", {"input": [1, 2]}, "input holds token ids; send texts"),
        ("/v1/embeddings", {"input": [[1, 2], [3]]}, "input holds token ids; send texts"),
        ("/v1/embeddings", {"input": [[]]}, "input"),
        ("/v1/embeddings", {"input": ["a", ""]}, "text 2 is empty"),
        ("/v1/embeddings", {"input": "word " * 1200}, "can be evaluated together"),
        ("/v1/embeddings", {"input": "a", "dimensions": 5}, "dimensions is 5; the model's vectors have 256"),
        ("/v1/embeddings", {"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ("/v1/embeddings", {"input": "a", "pooling": "max"}, "pooling is 'max'"),
        ("/v1/classify", {"input": [["a"]]}, "input"),
    ],
)
def test_what_is_wrong_is_openais_error(classifier: Server, path: str, body: Any, message: str) -> None:
    answer = post(classifier, path, body)
    assert answer.status == 400
    assert message in answer.error["message"]


def test_without_a_head_there_is_nothing_to_classify(server: Server) -> None:
    answer = post(server, "/v1/classify", {"input": "a"})
    assert answer.status == 400
    assert "it has no head" in answer.error["message"]


def test_control_tokens_are_counted_as_they_are_read(classifier: Server) -> None:
    marker = {"input": "[|endofturn|]"}
    assert post(classifier, "/v1/embeddings", marker | {"control": True}).json["usage"]["prompt_tokens"] == 1
    assert post(classifier, "/v1/embeddings", marker).json["usage"]["prompt_tokens"] > 1


def test_a_classifiers_context_is_that_of_its_texts(classifier: Server) -> None:
    assert request(classifier, "GET", "/v1/models").json["data"][0]["meta"]["n_ctx"] == 512


def test_a_missing_head_is_said_to_be_missing(tmp_path: Path) -> None:
    file = convert(write_class(tmp_path / "model", SEQUENCE, "full"), tmp_path / "base.gguf", "Q8_0").paths[0]
    head_path(file).unlink()
    with running(file) as server:
        assert "base.head.gguf is not beside it" in post(server, "/v1/classify", {"input": "a"}).error["message"]


def test_every_pair_is_looked_at_before_the_first_is_answered(tmp_path: Path) -> None:
    """By its number in the request, not among those that are evaluated together."""
    file = convert(write_class(tmp_path / "model", QUESTION, "full"), tmp_path / "base.gguf", "Q8_0").paths[0]
    pairs = [["Where?", "in Seoul"]] * 40
    with running(file) as server:
        assert len(post(server, "/v1/classify", {"input": pairs}).json["data"]) == 40
        answer = post(server, "/v1/classify", {"input": [*pairs, ["Where?", ""]]})
        assert answer.error["message"] == "text 41: the context is empty"
        answer = post(server, "/v1/classify", {"input": [*pairs, "a"]})
        assert "text 41 is 'a'; it must be a pair" in answer.error["message"]


def test_a_long_list_of_what_is_no_text_is_one_line(classifier: Server) -> None:
    message = post(classifier, "/v1/embeddings", {"input": [None] * 2000}).error["message"]
    assert message.startswith("input: input should be a valid string, or [0] input should be a valid string")
    assert len(message) < 400
