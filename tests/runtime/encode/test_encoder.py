"""Embeddings and heads are transformers', alone, together, and in windows."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from transformers import pipeline

from exaone4_gguf.converter.convert import convert
from exaone4_gguf.errors import Exaone4Error, GGUFError, RequestError, RuntimeFailure
from exaone4_gguf.format.values import u32
from exaone4_gguf.runtime.encode.encoder import Encoder
from exaone4_gguf.runtime.encode.pooling import KEY, POOLINGS
from exaone4_gguf.runtime.encode.spans import trimmed
from exaone4_gguf.runtime.encode.texts import encode
from exaone4_gguf.runtime.exaone4 import Exaone4
from tests.checkpoints import LABELS, full_config, random_tensors, write_checkpoint
from tests.classes import (
    BASE,
    CLASSES,
    QUESTION,
    SEQUENCE,
    SHAPES,
    TEXTS,
    TOKEN,
    Floats,
    Reference,
    cosine,
    write_class,
)
from tests.converter.test_pooling import flags, write_modules
from tests.proof.wrong_files import rewritten

Folder = dict[tuple[str, str], Path]
COSINES = {"F32": 0.9999, "Q8_0": 0.99}
EXACT = 1e-4
"""How far probabilities of an F32 file may be from transformers'; attention in 16 bits is farther, and turns labels."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A checkpoint of each class and shape."""
    root = tmp_path_factory.mktemp("classes")
    return {(name, shape): write_class(root / f"{shape}-{name}", name, shape) for name in CLASSES for shape in SHAPES}


@pytest.fixture(scope="module")
def references(folders: Folder) -> dict[tuple[str, str], Reference]:
    return {key: Reference(folder) for key, folder in folders.items()}


@pytest.fixture(scope="module")
def files(folders: Folder, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str, str], Path]:
    """Each of them converted, in F32 and Q8_0."""
    root = tmp_path_factory.mktemp("files")
    return {
        (*key, type): convert(folder, root / f"{'-'.join(key)}-{type}.gguf", type).paths[0]
        for key, folder in folders.items()
        for type in COSINES
    }


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=COSINES)
def type(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def pooled_by_hand(pooling: str, states: Floats) -> Floats:
    """A text's hidden states as sentence-transformers pools them, without padding."""
    pooled: dict[str, Floats] = {"mean": states.mean(0), "cls": states[0], "last": states[-1]}
    return pooled[pooling]


def sure(scores: Floats, margin: float) -> npt.NDArray[np.bool_]:
    """Where the best label is ahead of the next by more than that."""
    ordered = np.sort(scores, axis=-1)
    return np.asarray(ordered[..., -1] - ordered[..., -2] > margin)


def opened(files: dict[tuple[str, str, str], Path], *key: str) -> Iterator[Encoder]:
    with Encoder(files[key[0], key[1], key[2]], n_ctx=2048, n_threads=1) as encoder:
        yield encoder


@pytest.fixture
def tagger(files: dict[tuple[str, str, str], Path]) -> Iterator[Encoder]:
    yield from opened(files, TOKEN, "full", "F32")


@pytest.fixture
def classifier(files: dict[tuple[str, str, str], Path]) -> Iterator[Encoder]:
    yield from opened(files, SEQUENCE, "full", "F32")


@pytest.fixture
def answerer(files: dict[tuple[str, str, str], Path]) -> Iterator[Encoder]:
    yield from opened(files, QUESTION, "full", "F32")


@pytest.fixture
def embedder(files: dict[tuple[str, str, str], Path]) -> Iterator[Encoder]:
    yield from opened(files, BASE, "full", "F32")


def test_hidden_states_and_embeddings_are_transformers(shape: str, type: str, files, references) -> None:  # type: ignore[no-untyped-def]
    expected = [references[BASE, shape].states(text) for text in TEXTS]
    with Encoder(files[BASE, shape, type], n_ctx=2048, n_threads=1) as encoder:
        ids = [encode(encoder.model, text).ids for text in TEXTS]
        assert [list(i) for i in ids] == [references[BASE, shape].tokenizer(t)["input_ids"] for t in TEXTS]
        for rows in encoder._hidden.run(ids):
            part = expected[rows.index][rows.first : rows.first + len(rows.states)]
            assert cosine(rows.states, part) >= COSINES[type]
        for pooling in POOLINGS:
            pooled = [pooled_by_hand(pooling, states) for states in expected]
            vectors = encoder.embed(TEXTS, pooling=pooling)
            assert cosine(vectors, np.stack(pooled)) >= COSINES[type]
            assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
            plain = encoder.embed(TEXTS[:2], pooling=pooling, normalize=False)
            assert plain == pytest.approx(np.stack(pooled[:2]), abs=EXACT if type == "F32" else 2)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_the_pooling_of_a_file_is_the_default(number: int, files, references, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Whoever wrote the file; where it is asked for, another."""
    path = rewritten(files[BASE, "full", "F32"], tmp_path / "a.gguf", {KEY: u32(number)})
    expected = np.stack([pooled_by_hand(POOLINGS[number - 1], references[BASE, "full"].states(t)) for t in TEXTS])
    with Encoder(path, n_ctx=2048, n_threads=1) as encoder:
        vectors = encoder.embed(TEXTS)
        assert cosine(vectors, expected) >= COSINES["F32"]
        assert np.array_equal(vectors, encoder.embed(TEXTS, pooling=POOLINGS[number - 1]))
        means = np.stack([references[BASE, "full"].states(text).mean(0) for text in TEXTS])
        assert cosine(encoder.embed(TEXTS, pooling="mean"), means) >= COSINES["F32"]


def test_the_first_token_is_that_of_the_first_window(embedder: Encoder) -> None:
    whole = embedder.embed(TEXTS, pooling="cls")
    assert cosine(embedder.embed(TEXTS, pooling="cls", max_length=8, stride=2), whole) >= COSINES["F32"]


def test_a_pooling_that_is_unknown_is_not_taken_for_the_mean(files, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    source = files[BASE, "full", "F32"]
    with Encoder(rewritten(source, tmp_path / "a.gguf", {KEY: u32(4)}), n_ctx=256, n_threads=1) as encoder:
        with pytest.raises(RequestError, match="asks for pooling type 4, which is unknown; say mean, cls, last"):
            encoder.embed(["a"])
        assert len(encoder.embed(["a"], pooling="mean")) == 1
    with Encoder(rewritten(source, tmp_path / "b.gguf", {KEY: u32(0)}), n_ctx=256, n_threads=1) as encoder:
        assert np.array_equal(encoder.embed(["a b c"]), encoder.embed(["a b c"], pooling="mean"))


@pytest.mark.parametrize(("shape", "type"), [("full", "F32"), ("full", "Q8_0"), ("hybrid", "F32")])
def test_labels_and_their_probabilities_are_transformers(shape: str, type: str, files, references) -> None:  # type: ignore[no-untyped-def]
    expected = [references[SEQUENCE, shape].scores(text) for text in TEXTS]
    with Encoder(files[SEQUENCE, shape, type], n_ctx=2048, n_threads=1) as encoder:
        for found, scores in zip(encoder.classify(TEXTS), expected, strict=True):
            assert [label for label, _ in found.scores] == list(LABELS)
            assert [score for _, score in found.scores] == pytest.approx(scores, abs=EXACT if type == "F32" else 0.1)
            if sure(scores, EXACT if type == "F32" else 0.2):
                assert found.label == LABELS[scores.argmax()]
            assert found.score == max(score for _, score in found.scores)


def test_a_pair_is_one_text_after_the_other(classifier: Encoder, references) -> None:  # type: ignore[no-untyped-def]
    pair = ("어느 도시?", TEXTS[1])
    found, scores = classifier.classify([pair])[0], references[SEQUENCE, "full"].scores(*pair)
    assert [score for _, score in found.scores] == pytest.approx(scores, abs=EXACT)


def test_tags_and_spans_are_transformers(shape: str, files, references) -> None:  # type: ignore[no-untyped-def]
    reference = references[TOKEN, shape]
    grouped = pipeline(
        "token-classification", model=reference.model, tokenizer=reference.tokenizer, aggregation_strategy="simple"
    )
    with Encoder(files[TOKEN, shape, "F32"], n_ctx=2048, n_threads=1) as encoder:
        for text, found in zip(TEXTS, encoder.tag_all(TEXTS), strict=True):
            scores = reference.scores(text)
            assert [t.score for t in found.tokens] == pytest.approx(scores.max(-1), abs=EXACT)
            is_sure = sure(scores, EXACT)
            pairs = zip(found.tokens, scores.argmax(-1), is_sure, strict=True)
            assert all(t.label == LABELS[i] for t, i, is_one in pairs if is_one)
            places = reference.tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
            assert [(t.start, t.end) for t in found.tokens] == [tuple(place) for place in places]
            expected = [(e["entity_group"], *trimmed(text, int(e["start"]), int(e["end"]))) for e in grouped(text)]
            assert all(s.text == text[s.start : s.end] for s in found.spans)
            if is_sure.all():
                assert [(s.label, s.start, s.end) for s in found.spans] == expected
                assert [s.score for s in found.spans] == pytest.approx([e["score"] for e in grouped(text)], abs=EXACT)


def test_confident_tags_are_the_same_in_q8_0(files, references) -> None:  # type: ignore[no-untyped-def]
    with Encoder(files[TOKEN, "full", "Q8_0"], n_ctx=2048, n_threads=1) as encoder:
        for text, found in zip(TEXTS, encoder.tag_all(TEXTS), strict=True):
            scores = references[TOKEN, "full"].scores(text)
            labels = [LABELS[i] for i in scores.argmax(-1)]
            same = [t.label == label for t, label in zip(found.tokens, labels, strict=True)]
            assert np.array(same)[sure(scores, 0.2)].all()


def test_answers_are_transformers(shape: str, files, references) -> None:  # type: ignore[no-untyped-def]
    reference = references[QUESTION, shape]
    with Encoder(files[QUESTION, shape, "F32"], n_ctx=2048, n_threads=1) as encoder:
        for context in TEXTS[:5]:
            first, last, score = reference.answer("Where is it?", context, 15)
            places = reference.tokenizer(context, return_offsets_mapping=True)["offset_mapping"]
            found = encoder.answer("Where is it?", context)
            assert (found.start, found.end) == trimmed(context, places[first][0], places[last][1])
            assert found.score == pytest.approx(score, abs=EXACT)
            assert found.text == context[found.start : found.end]


def test_a_batch_of_64_is_each_alone(type: str, files) -> None:  # type: ignore[no-untyped-def]
    """To the bit, but in F32 for the order of additions: there is no wider tolerance that noise could fill."""
    texts = [*[f"{text} {i}" for i in range(10) for text in TEXTS][:63], "a"]
    with Encoder(files[BASE, "full", type], n_ctx=2048, n_threads=1) as encoder:
        together = encoder.embed(texts, pooling="last")
        alone = np.concatenate([encoder.embed([text], pooling="last") for text in texts])
    assert together == pytest.approx(alone, abs=1e-6)


def test_a_text_that_is_too_long_is_refused_or_cut_into_windows(
    embedder: Encoder, classifier: Encoder, tagger: Encoder
) -> None:
    long = TEXTS[4]
    count = embedder.count_tokens([long])
    with pytest.raises(RequestError, match=f"text 2 has {count} tokens, and 50 can be evaluated together"):
        embedder.embed(["short", long], max_length=50)
    vector = embedder.embed([long], max_length=50, stride=10, normalize=False)
    ids = encode(embedder.model, long).ids
    rows = []
    for first in range(0, count - 10, 40):
        states = next(embedder._hidden.run([ids[first : first + 50]])).states
        rows.append(states if first == 0 else states[10:])
    assert vector[0] == pytest.approx(np.concatenate(rows).mean(0), abs=1e-4)
    assert np.concatenate(rows).shape[0] == count  # each token once
    assert classifier.classify([long], max_length=50, stride=10)[0].label in LABELS
    tagged = tagger.tag(long, max_length=50, stride=10)
    assert len(tagged.tokens) == count
    assert tagged.tokens[:50] == tagger.tag(long, stride=0).tokens[:50]


def test_an_answer_is_looked_for_in_every_window(answerer: Encoder) -> None:
    context, question = TEXTS[4], "Where?"
    found = answerer.answer(question, context, max_length=60, stride=20)
    n_question, n = answerer.count_tokens([question]), answerer.count_tokens([context])
    room = 60 - n_question
    ids = encode(answerer.model, context).ids
    best = 0.0
    for first in range(0, n, room - 20):
        part = b"".join(answerer.model.piece(i) for i in ids[first : first + room]).decode(errors="ignore")
        best = max(best, answerer.answer(question, part).score)
    assert found.score == pytest.approx(best, rel=0.1)
    assert context[found.start : found.end] == found.text


def test_longer_than_a_batch_is_evaluated_in_steps(embedder: Encoder, references) -> None:  # type: ignore[no-untyped-def]
    text = TEXTS[4] * 12
    assert embedder.count_tokens([text]) > 512
    vector = embedder.embed(["short", text, "short"], normalize=False)
    assert cosine(vector[1], references[BASE, "full"].states(text).mean(0)) > 0.9999
    assert vector[0] == pytest.approx(vector[2], abs=1e-6)


@pytest.mark.parametrize("n_batch", [1, 2, 7])
def test_any_batch_will_do(n_batch: int, files, embedder: Encoder) -> None:  # type: ignore[no-untyped-def]
    with Encoder(files[BASE, "full", "F32"], n_ctx=64, n_batch=n_batch, n_threads=1) as encoder:
        assert cosine(encoder.embed(TEXTS[:3]), embedder.embed(TEXTS[:3])) > 0.9999


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"texts": "Hello"}, "texts is 'Hello'; it must be a list of texts"),
        ({"texts": None}, "it must be a list"),
        ({"texts": ["a", 5]}, "text 2 is '5'; it must be text"),
        ({"texts": [("a", "b")]}, "text 1 is .* it must be text"),
        ({"texts": ["a", ""]}, "text 2 is empty"),
        ({"texts": ["a"], "pooling": "max"}, "pooling is 'max'; one of: mean, cls, last"),
        ({"texts": ["a"], "stride": 2048}, "stride is 2048; windows of 2048 tokens can share from 0 to 2047"),
        ({"texts": ["a"], "stride": True}, "stride is True"),
        ({"texts": ["a"], "max_length": 0}, "max_length is 0"),
        ({"texts": ["a"], "max_length": 4096}, "from 1 to the context, 2048"),
        ({"texts": ["a"], "pool": "mean"}, "there is no option pool"),
    ],
)
def test_what_is_not_right_is_one_line(arguments: dict[str, object], message: str, embedder: Encoder) -> None:
    with pytest.raises(RequestError, match=message) as raised:
        embedder.embed(**arguments)  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    assert embedder.embed(["still there"]).shape == (1, 256)


def test_nothing_in_is_nothing_out(embedder: Encoder, classifier: Encoder, tagger: Encoder, answerer: Encoder) -> None:
    assert embedder.embed([]).shape == (0, 256)
    assert [*classifier.classify([]), *tagger.tag_all([]), *answerer.answer_all([])] == []


def test_a_question_needs_a_context(answerer: Encoder) -> None:
    with pytest.raises(RequestError, match="text 1: the question is empty"):
        answerer.answer("", "context")
    with pytest.raises(RequestError, match="text 1: the context is empty"):
        answerer.answer("question", "")
    with pytest.raises(RequestError, match="which leaves no room for windows of 5"):
        answerer.answer("a question that is longer", "a long context " * 9, max_length=5, stride=1)
    with pytest.raises(RequestError, match="must be a pair"):
        answerer.answer_all(["question"])  # type: ignore[list-item]
    with pytest.raises(RequestError, match="max_answer_tokens is 0"):
        answerer.answer("question", "context", max_answer_tokens=0)


def test_a_head_is_for_its_own_task(classifier: Encoder, embedder: Encoder) -> None:
    with pytest.raises(RequestError, match="its head is for sequence-classification: use classify, not tag"):
        classifier.tag("text")
    with pytest.raises(GGUFError, match="it has no head; classify needs one for sequence-classification"):
        embedder.classify(["text"])


def test_a_control_token_in_a_text_is_text_unless_asked_for(embedder: Encoder, references) -> None:  # type: ignore[no-untyped-def]
    text = "before[|endofturn|]after <think>"
    tokenizer = references[BASE, "full"].tokenizer
    assert list(encode(embedder.model, text, control=True).ids) == tokenizer(text)["input_ids"]
    split = tokenizer(text, split_special_tokens=True)["input_ids"]
    assert set(encode(embedder.model, text).ids).isdisjoint(tokenizer.all_special_ids)
    assert tokenizer.decode(encode(embedder.model, text).ids) == tokenizer.decode(split) == text


def test_exaone4_does_it_beside_talking(files, demo_gguf: Path) -> None:  # type: ignore[no-untyped-def]
    with Exaone4(demo_gguf, n_ctx=512, n_threads=1) as model, Encoder(demo_gguf, n_ctx=512, n_threads=1) as encoder:
        before = model.chat([{"role": "user", "content": "안녕하세요!"}]).content
        assert model.embed(["안녕하세요!"]) == pytest.approx(encoder.embed(["안녕하세요!"]), abs=1e-6)
        assert model.chat([{"role": "user", "content": "안녕하세요!"}]).content == before
    with pytest.raises(RuntimeFailure, match="the model is closed"):
        model.embed(["text"])


@pytest.mark.parametrize(("name", "use"), [(BASE, "embed"), (SEQUENCE, "embed and classify")])
def test_a_base_does_not_chat_and_says_so(name: str, use: str, files) -> None:  # type: ignore[no-untyped-def]
    with Exaone4(files[name, "full", "Q8_0"]) as model:
        with pytest.raises(RequestError, match=f"it is an {name}, which has no output for text .* to {use}$"):
            model.chat([{"role": "user", "content": "Hello"}])
        assert model.embed(["Hello"]).shape == (1, 256)


def test_what_exaone4_says_encoder_says(files) -> None:  # type: ignore[no-untyped-def]
    with Exaone4(files[SEQUENCE, "full", "F32"]) as model:
        assert model.classify(["Hello"]) == model.encoder.classify(["Hello"])
    with Exaone4(files[TOKEN, "full", "F32"]) as model:
        assert model.tag("Hello") == model.encoder.tag("Hello")
    with Exaone4(files[QUESTION, "full", "F32"]) as model:
        assert model.answer("Who?", "Hello") == model.encoder.answer("Who?", "Hello")


def test_a_forgotten_encoder_frees_the_model(files) -> None:  # type: ignore[no-untyped-def]
    encoder = Encoder(files[BASE, "full", "F32"])
    model = encoder.model
    encoder.embed(["Hello"])
    del encoder
    gc.collect()
    assert model.pointer is None


def test_progress_counts_the_tokens(embedder: Encoder) -> None:
    counted: list[int] = []
    embedder.embed(TEXTS, progress=counted.append)
    assert sum(counted) == embedder.count_tokens(TEXTS)


def test_wrong_numbers_are_refused_before_llama_cpp_sees_them(files) -> None:  # type: ignore[no-untyped-def]
    arguments: list[dict[str, Any]] = [{"n_ctx": -1}, {"n_batch": 0}, {"n_threads": 100_000}]
    for wrong in arguments:
        with pytest.raises(Exaone4Error, match="must be a whole number"):
            Encoder(files[BASE, "full", "F32"], **wrong)


def test_a_folder_of_sentence_transformers_that_also_talks(tmp_path: Path) -> None:
    """Its vectors are pooled as it says; llama.cpp's logits for a conversation do not know of it."""
    config = full_config()
    tensors = random_tensors(config, "F32")
    plain = convert(write_checkpoint(tmp_path / "a", config, tensors), tmp_path / "a.gguf").paths[0]
    folder = write_modules(write_checkpoint(tmp_path / "b", config, tensors), flags("lasttoken"))
    pooled = convert(folder, tmp_path / "b.gguf").paths[0]
    with Exaone4(plain, n_ctx=256) as a, Exaone4(pooled, n_ctx=256) as b:
        assert np.array_equal(b.embed(["a b c"]), a.embed(["a b c"], pooling="last"))
        said = [m.chat([{"role": "user", "content": "Hi"}], preset="greedy", max_tokens=8) for m in (a, b)]
        assert said[0].content == said[1].content
