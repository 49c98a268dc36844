"""Ctrl-C in a Python program: whenever it comes, KeyboardInterrupt is raised, and what was used stays usable."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf import Encoder, Exaone4, convert, verify
from exaone4_gguf.proof.imatrix import imatrix
from exaone4_gguf.runtime.events import collect
from exaone4_gguf.runtime.llama.interrupts import awaited
from tests.classes import SEQUENCE, write_class
from tests.signals import Sigint, steps

MOMENTS = int(os.environ.get("EXAONE4_MOMENTS", "6"))
"""For each way to use it."""

BATCH = 16
QUESTION = [{"role": "user", "content": "Which is bigger, 3.12 or 3.9?"}]
LONG: Any = {"ignore_eos": True, "max_tokens": 12}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "maxLength": 9}}, "required": ["a"]}


@pytest.fixture(scope="module")
def model(demo_gguf: Path) -> Iterator[Exaone4]:
    with Exaone4(demo_gguf, n_ctx=1024, n_batch=BATCH, n_threads=1, draft=demo_gguf) as model:
        yield model


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Encoder]:
    folder = tmp_path_factory.mktemp("classifier")
    with Encoder(convert(write_class(folder / "model", SEQUENCE, "full"), folder / "a.gguf").paths[0]) as encoder:
        yield encoder


def dice() -> random.Random:
    """Other moments each time; what failed is named by pytest's output."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    return random.Random(seed)


def moments(steps: int, count: int = MOMENTS) -> list[int]:
    """Some of so many steps, the first among them."""
    chance = dice()
    return [1, *(chance.randint(1, steps) for _ in range(count - 1))]


def interrupted(sigint: Sigint, work: Callable[[], Any]) -> bool:
    """Whether the signal came (a draft's number of steps is another each time): then it was raised."""
    try:
        with sigint:
            work()
    except KeyboardInterrupt:
        assert sigint.told
        return True
    assert not sigint.told
    return False


ANSWERS: dict[str, Callable[[Exaone4], Any]] = {
    "chat": lambda m: m.chat(QUESTION, **LONG),
    "logprobs": lambda m: m.chat(QUESTION, logprobs=3, **LONG),
    "grammar": lambda m: m.chat(QUESTION, response_format={"type": "json_schema", "json_schema": {"schema": SCHEMA}}),
    "stream": lambda m: list(m.stream(QUESTION, **LONG)),
    "complete": lambda m: collect(m.complete("Once upon a time", **LONG)),
    "vote": lambda m: m.vote(QUESTION, 2, **LONG),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer(name: str, model: Exaone4, demo_gguf: Path) -> None:
    """At once: not a batch is evaluated after the one that runs. The next answer is that of a fresh model."""
    with Exaone4(demo_gguf, n_ctx=1024, n_batch=BATCH, n_threads=1) as fresh:
        expected = fresh.chat(QUESTION, preset="greedy").content
    ANSWERS[name](model)
    for moment in moments(steps(lambda: ANSWERS[name](model))):
        collect(model.complete("x", max_tokens=1))  # so that the prompt is evaluated anew
        sigint = Sigint(moment, tell=lambda: len(model.context.tokens))
        if interrupted(sigint, lambda: ANSWERS[name](model)):
            assert len(model.context.tokens) <= sigint.told[0] + BATCH, moment
        assert model.chat(QUESTION, preset="greedy").content == expected, moment


def test_loading(demo_gguf: Path) -> None:
    """The whole life of a model."""

    def life() -> None:
        with Exaone4(demo_gguf, n_ctx=256, n_threads=1, draft=demo_gguf) as model:
            model.chat(QUESTION, max_tokens=2)

    for moment in moments(steps(life)):
        interrupted(Sigint(moment), life)


TEXTS = ("One.", "Two and three.", "안녕하세요!") * 3


def test_texts(classifier: Encoder) -> None:
    """Embeddings and labels."""

    def judge() -> Any:
        return classifier.embed(TEXTS).tolist(), classifier.classify(TEXTS)

    expected = judge()
    for moment in moments(steps(judge)):
        interrupted(Sigint(moment), judge)
        assert judge() == expected, moment


COMMANDS: dict[str, Callable[[Path, Path, Path], Any]] = {
    "convert": lambda folder, made, out: convert(folder, out / "out.gguf", "Q4_K_M", force=True),
    "verify": lambda folder, made, out: verify(folder, made, tokens=64),
    "imatrix": lambda folder, made, out: imatrix(folder, out / "out.gguf", __file__, ctx_size=32, force=True),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command(name: str, full: Path, full_gguf: Path, tmp_path: Path) -> None:
    """It ends, and leaves nothing half written; the next time it does its work."""

    def work() -> None:
        COMMANDS[name](full, full_gguf, tmp_path)

    work()
    made = sorted(tmp_path.iterdir())
    for moment in moments(steps(work), MOMENTS // 3):
        interrupted(Sigint(moment), work)
        assert [path for path in sorted(tmp_path.iterdir()) if not path.name.startswith(".")] == made
    work()


@pytest.mark.parametrize("name", ["chat", "stream"])
def test_a_second_one(name: str, model: Exaone4) -> None:
    """While the first is on its way."""
    expected = model.chat(QUESTION, preset="greedy").content
    chance = dice()
    for moment in moments(steps(lambda: ANSWERS[name](model))):
        interrupted(Sigint(moment, moment + chance.randint(1, 300)), lambda: ANSWERS[name](model))
        assert model.chat(QUESTION, preset="greedy").content == expected


class StopError(Exception):
    """What a program's own handler raises."""


@pytest.fixture
def own_handler() -> Iterator[Callable[..., list[int]]]:
    """Install one; it tells how often it was called, and raises what it is given."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def install(number: int, error: Exception | None) -> list[int]:
        def handle(number: int, frame: Any) -> None:
            calls.append(number)
            if error:
                raise error

        calls: list[int] = []
        signal.signal(number, handle)
        return calls

    yield install
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def during_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the signal come where llama.cpp asks for the first time whether to go on."""

    def comes(number: int) -> None:
        sent: list[int] = []

        def asked() -> int:
            if not sent:
                sent.append(number)
                signal.raise_signal(number)
            return awaited()

        monkeypatch.setattr("exaone4_gguf.runtime.llama.context.awaited", asked)

    return comes


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_a_handler_of_ones_own_raises_goes_through(
    number: int,
    own_handler: Callable[..., list[int]],
    during_an_evaluation: Callable[[int], None],
    model: Exaone4,
) -> None:
    calls = own_handler(number, StopError())
    during_an_evaluation(number)
    with pytest.raises(StopError):
        model.chat(QUESTION, **LONG)
    assert calls == [number]


def test_a_handler_that_raises_nothing_changes_nothing(
    own_handler: Callable[..., list[int]], during_an_evaluation: Callable[[int], None], model: Exaone4
) -> None:
    expected = model.chat(QUESTION, preset="greedy").content
    calls = own_handler(signal.SIGINT, None)
    during_an_evaluation(signal.SIGINT)
    assert model.chat(QUESTION, preset="greedy").content == expected
    assert calls == [signal.SIGINT]


def test_a_handler_may_cancel(
    own_handler: Callable[..., list[int]], during_an_evaluation: Callable[[int], None], model: Exaone4
) -> None:
    own_handler(signal.SIGINT, None)
    signal.signal(signal.SIGINT, lambda number, frame: model.cancel())
    during_an_evaluation(signal.SIGINT)
    assert model.chat(QUESTION, **LONG).finish_reason == "cancelled"


def test_an_event_loop_has_its_own(during_an_evaluation: Callable[[int], None], model: Exaone4) -> None:
    """Its first SIGINT cancels the task at its next await; ``asyncio.run`` then raises KeyboardInterrupt."""
    said: list[str | None] = []

    async def ask() -> None:
        said.append(model.chat(QUESTION, **LONG).finish_reason)
        await asyncio.sleep(0)
        said.append("went on")

    during_an_evaluation(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(ask())
    assert said == ["length"]


def test_between_the_events_of_a_stream_all_is_as_it_was(model: Exaone4) -> None:
    before = signal.getsignal(signal.SIGINT)

    def read() -> None:
        for _ in model.stream(QUESTION, **LONG):
            assert signal.getsignal(signal.SIGINT) is before
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        read()
    assert model.chat(QUESTION, **LONG).finish_reason == "length"


def test_it_goes_before_a_stream_that_was_left_open(demo_gguf: Path) -> None:
    def leave() -> None:
        with Exaone4(demo_gguf, n_ctx=256) as model:
            events = model.stream(QUESTION)
            next(events)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        leave()


def test_another_thread_answers_on(model: Exaone4) -> None:
    """The signal is the main thread's, which may raise at once."""
    said: list[str] = []
    begun, interrupted = threading.Event(), threading.Event()

    def answer() -> None:
        for event in model.stream(QUESTION, **LONG):
            begun.set()
            assert interrupted.wait(60)
            said.append(type(event).__name__)

    thread = threading.Thread(target=answer)
    thread.start()
    assert begun.wait(60)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    interrupted.set()
    thread.join()
    assert said[-1] == "Finish"


PROGRAM = """
import json, sys
from exaone4_gguf import Exaone4
from tests.signals import Announcing

path, moments = sys.argv[1], json.loads(sys.argv[2])
hello = [{"role": "user", "content": "Hello!"}]
for moment in moments:
    model = None
    try:
        with Announcing(moment):
            model = Exaone4(path, n_ctx=1024, n_threads=1)
            for _ in range(1000):
                model.chat(hello, ignore_eos=True, max_tokens=500)
    except KeyboardInterrupt:
        print("raised", flush=True)
    model = model or Exaone4(path, n_ctx=1024, n_threads=1)
    print(json.dumps(model.chat(hello, preset="greedy").content), flush=True)
    model.close()
"""


def test_a_process(demo_gguf: Path, model: Exaone4) -> None:
    """It tells where it is, and the signal comes a while later, wherever it is then; the same twice."""
    expected = json.dumps(model.chat([{"role": "user", "content": "Hello!"}], preset="greedy").content)
    chosen = [int(10 ** dice().uniform(0, 4.5)) for _ in range(MOMENTS)]
    command = [sys.executable, "-c", PROGRAM, str(demo_gguf), json.dumps(chosen)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stderr
        for moment in chosen:
            assert process.stdout.readline() == "now\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "raised\n", (moment, process.stderr.read())
            assert process.stdout.readline().strip() == expected, moment
        assert process.stderr.read() == ""
