"""The model's process, on this machine alone: what goes through the pipes, cancellations above all. RPC is left out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exaone4_gguf.demo.conversations import CONVERSATIONS
from exaone4_gguf.errors import ContextOverflow, RequestError, RuntimeFailure
from exaone4_gguf.runtime.events import Finish
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.remote import remote
from exaone4_gguf.runtime.remote.remote import RemoteExaone4

HELLO = [{"role": "user", "content": "Hello!"}]
WORKER = """
from exaone4_gguf.runtime.remote import rpc
rpc.register = lambda servers: None
from exaone4_gguf.runtime.remote import worker
worker.main()
"""


@pytest.fixture(scope="module")
def model(demo_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RemoteExaone4]:
    """In a process of its own, but on no server."""
    folder = tmp_path_factory.mktemp("worker")
    (folder / "worker_without_rpc.py").write_text(WORKER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        patch.setattr(remote, "_WORKER", "worker_without_rpc")
        patch.setattr(remote, "check_supported", lambda: None)
        with RemoteExaone4(demo_gguf, (), n_ctx=1024, n_threads=1) as model:
            yield model


def test_it_answers_as_in_one_process(model: RemoteExaone4, talker: Exaone4) -> None:
    here, there = (m.chat(HELLO, temperature=0, logprobs=0) for m in (talker, model))
    assert there.content == here.content
    assert [t.id for t in there.logprobs or ()] == [t.id for t in here.logprobs or ()]
    assert there.usage.completion_tokens == here.usage.completion_tokens
    assert model.prompt(HELLO) == talker.prompt(HELLO)
    assert model.n_ctx == 1024


def test_an_answer_is_cancelled_before_and_while_it_is_made(model: RemoteExaone4) -> None:
    before = model.stream(HELLO, temperature=0)
    before.cancel()
    assert list(before) == [Finish("cancelled")]
    meanwhile = model.stream(HELLO, temperature=1.0, ignore_eos=True)
    next(meanwhile)
    meanwhile.cancel()
    assert list(meanwhile)[-1] == Finish("cancelled")
    assert meanwhile.usage.completion_tokens > 0
    assert model.chat(HELLO, temperature=0).finish_reason == "stop"


def test_the_model_cancels_what_is_answered(model: RemoteExaone4) -> None:
    answer = model.stream(HELLO, temperature=1.0, ignore_eos=True)
    next(answer)
    thread = threading.Thread(target=model.cancel)
    thread.start()
    thread.join()
    assert list(answer)[-1] == Finish("cancelled")


def test_a_stream_that_is_closed_or_left_tells_what_it_took(model: RemoteExaone4) -> None:
    answer = model.stream(HELLO, temperature=1.0, ignore_eos=True)
    next(answer)
    with pytest.raises(RequestError, match="a stream of this thread is still open"):
        model.chat(HELLO)
    answer.close()
    assert answer.usage.completion_tokens > 0
    for _ in model.stream(HELLO):
        break
    assert model.chat(HELLO, temperature=0).content == CONVERSATIONS["greeting-en"].messages[1]["content"]


def test_an_error_is_what_it_was_there(model: RemoteExaone4) -> None:
    with pytest.raises(ContextOverflow, match="more than the context of 1024 takes") as e:
        model.chat([{"role": "user", "content": "1 2 3 4 " * 2000}])
    assert e.value.needed > e.value.available == 1023
    assert str(e.value).endswith("give a larger context (-c, n_ctx)")


def test_the_process_dies_and_is_started_again(model: RemoteExaone4) -> None:
    answer = model.stream(HELLO, temperature=1.0, ignore_eos=True)
    next(answer)
    model._process._popen.kill()
    with pytest.raises(RuntimeFailure, match="as the model's process ended: code -9; ask again to load it anew"):
        list(answer)
    assert model.chat(HELLO, temperature=0).finish_reason == "stop"
