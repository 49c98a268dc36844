"""The routes beside OpenAI's, and the server while it loads, fails, and stops."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from exaone4_gguf.demo.conversations import ROLL_DICE
from exaone4_gguf.errors import GGUFError, RuntimeFailure
from exaone4_gguf.runtime import exaone4 as chat_module
from exaone4_gguf.runtime.exaone4 import Exaone4
from exaone4_gguf.runtime.server import serve
from exaone4_gguf.runtime.server.engine import State
from exaone4_gguf.runtime.server.metrics import COUNTERS, GAUGES
from exaone4_gguf.runtime.server.serve import Server
from exaone4_gguf.runtime.server.settings import Settings
from tests.runtime.generate.drafting.guessing import Eager
from tests.runtime.server.running import LOADING, chat, connection, post, request, running, wait_until

HELLO = [{"role": "user", "content": "Hello!"}]


def test_tokenize(server: Server) -> None:
    model = server.service.engine.model.model
    text = "<think>안녕 [|endofturn|]"
    assert post(server, "/tokenize", {"content": text}).json == {"tokens": model.tokenize(text)}
    pieces = post(server, "/tokenize", {"content": text, "with_pieces": True}).json["tokens"]
    raw = b"".join(bytes(p["piece"]) if isinstance(p["piece"], list) else p["piece"].encode() for p in pieces)
    assert raw.decode() == text
    plain = post(server, "/tokenize", {"content": text, "parse_special": False}).json["tokens"]
    assert not {model.tokenize("<think>")[0], model.tokenize("[|endofturn|]")[0]} & set(plain)
    assert post(server, "/tokenize", {"content": ""}).json == {"tokens": []}


def test_apply_template(server: Server) -> None:
    model = server.service.engine.model
    body: dict[str, Any] = {"messages": HELLO, "tools": [ROLL_DICE]}
    assert post(server, "/apply-template", body).json == {"prompt": model.prompt(HELLO, [ROLL_DICE]).text}
    thinking = post(server, "/apply-template", {"messages": HELLO, "reasoning_effort": "low"}).json["prompt"]
    assert thinking == model.prompt(HELLO, reasoning=True).text


def test_metrics(server: Server) -> None:
    def values() -> dict[str, float]:
        lines = request(server, "GET", "/metrics").body.decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[0] != "#"}

    before = values()
    usage = chat(server).json["usage"]
    after = values()
    for name, count in (("prompt_tokens", usage["prompt_tokens"]), ("completion_tokens", usage["completion_tokens"])):
        assert after[f"exaone4_{name}_total"] - before[f"exaone4_{name}_total"] == count
    asked = 'exaone4_requests_total{route="/v1/chat/completions",status="200"}'
    assert after[asked] == before.get(asked, 0) + 1
    assert {name.partition("{")[0] for name in after} == {f"exaone4_{name}" for name in (*COUNTERS, *GAUGES)}
    assert after["exaone4_requests_running"] == after["exaone4_requests_waiting"] == 0


def test_guesses_are_told(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As llama-server tells them, and in the metrics."""
    monkeypatch.setattr(chat_module, "Pace", Eager)
    with running(demo_gguf, loading={"draft": demo_gguf}) as guessing:
        timings = chat(guessing).json["timings"]
        assert timings["draft_n"] >= timings["draft_n_accepted"] > 10
        metrics = request(guessing, "GET", "/metrics").body.decode()
        assert f"exaone4_drafted_tokens_total {timings['draft_n']}" in metrics
        assert f"exaone4_accepted_tokens_total {timings['draft_n_accepted']}" in metrics


def test_the_description(server: Server) -> None:
    described = request(server, "GET", "/openapi.json").json
    body = described["paths"]["/v1/chat/completions"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schema = described["components"]["schemas"][body["$ref"].rpartition("/")[2]]
    assert schema["required"] == ["messages"]
    assert {"tools", "response_format", "reasoning_effort", "seed"} <= schema["properties"].keys()


@pytest.mark.parametrize(
    ("raw", "status", "message"),
    [
        (b"", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (b"nul", 400, "not JSON"),
        (b'{"messages": NaN}', 400, "NaN is no JSON number"),
        (b"[]", 400, "must be an object"),
        (b"[" * 100_000, 400, "nested deeper"),
        (b'{"a":' * 129 + b"1" + b"}" * 129, 400, "nested deeper"),
        (b'{"content": "a", "x": ' + b"9" * 5000 + b"}", 400, "not JSON"),
        (b'{"content": 1}', 400, "content: "),
        (b"{}", 400, "content: field required"),
    ],
)
def test_bodies_that_are_none(server: Server, raw: bytes, status: int, message: str) -> None:
    answer = post(server, "/tokenize", raw)
    assert answer.status == status
    assert message in answer.error["message"]


def test_a_client_that_hangs_up_in_its_body(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    made = connection(server)
    made.putrequest("POST", "/tokenize")
    made.putheader("Content-Length", "100")
    made.endheaders(b'{"content"')
    made.close()
    wait_until(lambda: "POST /tokenize 400" in caplog.text)
    assert "Traceback" not in caplog.text


def test_lone_surrogates_are_text(server: Server) -> None:
    raw = b'{"messages": [{"role": "user", "content": "\\ud800 a"}], "max_tokens": 2}'
    assert post(server, "/v1/chat/completions", raw).status == 200
    assert post(server, "/v1/completions", b'{"prompt": "\\ud800 a", "max_tokens": 2, "echo": true}').status == 200
    assert post(server, "/apply-template", raw).status == 200


@pytest.fixture
def may_load(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Models are loaded when this is set."""
    event = threading.Event()

    def slowly(path: Path, **options: Any) -> Exaone4:
        event.wait(30)
        return Exaone4(path, **options)

    monkeypatch.setattr(serve, "open_model", slowly)
    return event


def test_it_may_be_stopped_while_it_loads(demo_gguf: Path, may_load: threading.Event) -> None:
    server = Server(demo_gguf, Settings(port=0), loading=LOADING)
    thread = threading.Thread(target=server.run)
    thread.start()
    assert request(server, "GET", "/health").status == 503
    server.stop()
    wait_until(lambda: server.service.engine.state is State.STOPPED)
    may_load.set()
    thread.join(30)
    assert not thread.is_alive()


def test_while_it_loads_it_says_so(demo_gguf: Path, may_load: threading.Event) -> None:
    server = Server(demo_gguf, Settings(port=0), loading=LOADING)
    thread = threading.Thread(target=server.run)
    thread.start()
    health = request(server, "GET", "/health")
    assert (health.status, health.json["status"], health.headers["retry-after"]) == (503, "loading", "1")
    asked = chat(server)
    assert (asked.status, asked.error["code"]) == (503, "model_not_ready")
    assert request(server, "HEAD", "/health").status == 503
    assert request(server, "GET", "/").status == 200
    assert "exaone4_model_ready 0" in request(server, "GET", "/metrics").body.decode()
    may_load.set()
    wait_until(lambda: request(server, "GET", "/health").status == 200)
    assert chat(server).status == 200
    server.stop()
    thread.join()


def test_what_cannot_be_loaded_ends_the_server(tmp_path: Path) -> None:
    """A file of another kind before anything listens, a damaged one when it is loaded."""
    (tmp_path / "a.gguf").write_text("text")
    with pytest.raises(GGUFError, match="not a GGUF file"):
        Server(tmp_path / "a.gguf", Settings(port=0), loading=LOADING)
    (tmp_path / "a.gguf").write_bytes(b"GGUF, and then nothing that makes sense")
    server = Server(tmp_path / "a.gguf", Settings(port=0), loading=LOADING)
    with pytest.raises(GGUFError):
        server.run()


def test_a_port_that_is_taken(server: Server) -> None:
    port = server.socket.getsockname()[1]
    with pytest.raises(RuntimeFailure, match="choose another --port"):
        Server(server.path, Settings(port=port), loading=LOADING)
