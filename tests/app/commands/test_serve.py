"""The command ``serve``: its options reach the server, what is wrong is one line, and signals end it well."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from exaone4_gguf import cli
from exaone4_gguf.commands.serve import serve_command

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(demo_gguf: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``serve`` with the demo's model; exit code, stdout, stderr."""

    def run(*args: object, file: object = demo_gguf) -> tuple[int, str, str]:
        monkeypatch.setitem(cli.cli.commands, "serve", serve_command)
        monkeypatch.setattr(sys, "argv", ["exaone4-gguf", "serve", str(file), *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What ``runtime.server.serve.serve`` is called with, instead of calling it."""
    arguments: dict[str, Any] = {}
    monkeypatch.setattr(
        "exaone4_gguf.runtime.server.serve.serve",
        lambda path, settings, loading: arguments.update(path=path, settings=settings, loading=loading),
    )
    return arguments


def test_options_reach_the_server(run: Run, told: dict[str, Any], tmp_path: Path, demo_gguf: Path) -> None:
    (tmp_path / "keys").write_text("two\n\nthree\n")
    code, *_ = run(
        *("--host", "0.0.0.0", "--port", 9, "--api-key", "one", "--api-key-file", tmp_path / "keys"),
        *("--cors", "https://a.example", "--cors", "https://b.example", "--allow-host", "c.example"),
        *("--max-queue", 3, "--timeout", 1.5, "--max-body", 2, "-a", "mine", "--reasoning"),
        *("--reasoning-budget", 99, "-c", 512, "-t", 1, "-ngl", 0, "--draft", "small.gguf", "--head", "other.gguf"),
    )
    assert code == 0
    settings = told["settings"]
    assert settings.api_keys == ("one", "two", "three")
    assert (settings.host, settings.port, settings.hosts) == ("0.0.0.0", 9, ("c.example",))
    assert settings.cors == ("https://a.example", "https://b.example")
    assert (settings.max_queue, settings.timeout, settings.max_body, settings.alias) == (3, 1.5, 2_000_000, "mine")
    assert (settings.reasoning, settings.reasoning_budget) == (True, 99)
    given = {name: value for name, value in told["loading"].items() if value is not None}
    loading = {"n_ctx": 512, "n_threads": 1, "n_gpu_layers": 0, "head": "other.gguf"}
    assert given == loading | {"draft": Path("small.gguf"), "lookup": False}
    assert told["path"] == demo_gguf


def test_a_key_from_the_environment(run: Run, told: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXAONE4_GGUF_API_KEY", "hidden")
    run("--host", "0.0.0.0")
    assert told["settings"].api_keys == ("hidden",)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--host", "0.0.0.0"), "others can reach 0.0.0.0: give --api-key KEY, or --no-api-key"),
        (("--host", "no.such.host.invalid"), "no.such.host.invalid: no such address"),
        (("--host", "192.0.2.77", "--no-api-key"), "choose another --port"),
        (("--port", "70000"), "70000 is not in the range"),
        (("--api-key", ""), "not be empty|not empty"),
        (("--api-key-file", "none"), "none: No such file"),
        (("--api-key-file", "/dev/null"), "/dev/null: it holds no key"),
        (("--timeout", "0"), "0.0 is not in the range|0 is not in the range"),
        (("--timeout", "inf"), "must be a number of seconds"),
        (("--max-queue", "0"), "0 is not in the range"),
        (("--chat-template-file", "none"), "none: No such file"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Run, args: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*args)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"exaone4-gguf: .*\n", err)
    assert re.search(message, err)


def test_without_the_extra_it_says_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "exaone4_gguf.runtime.server.serve", None)
    code, _, err = run()
    assert (code, "pip install 'exaone4-gguf[server]'" in err) == (2, True)


def test_a_file_that_is_none_is_told_before_anything_listens(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_text("text")
    for name, message in (("a.gguf", "not a GGUF file"), ("b.gguf", "no such file")):
        command = [sys.executable, "-m", "exaone4_gguf", "serve", str(tmp_path / name), "--port", "0"]
        told = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (told.returncode, told.stderr) == (2, f"exaone4-gguf: {tmp_path / name}: {message}\n")


@contextmanager
def served(file: Path, *args: str) -> Iterator[tuple[subprocess.Popen[str], IO[str], int]]:
    """The program on a port of its own: the process, its stderr, the port."""
    command = [sys.executable, "-m", "exaone4_gguf", "serve", str(file), "--port", "0", "-c", "4096", "-t", "1", *args]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr
    try:
        line = process.stderr.readline()
        found = re.search(r"listening on http://127.0.0.1:(\d+)$", line.strip())
        assert found, line + process.stderr.read()
        yield process, process.stderr, int(found[1])
    finally:
        process.kill()
        process.communicate()


@contextmanager
def long_stream(port: int, key: str = "") -> Iterator[http.client.HTTPResponse]:
    """A stream of 1,000 tokens, of which the first has come."""
    body = {"messages": [{"role": "user", "content": "Hello!"}], "stream": True, "ignore_eos": True, "max_tokens": 1000}
    for _ in range(300):
        made = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        made.request("POST", "/v1/chat/completions", json.dumps(body), {"Authorization": f"Bearer {key}"})
        with closing(made), closing(made.getresponse()) as response:
            if response.status == 200:
                response.readline()
                yield response
                return
            assert response.status == 503
        time.sleep(0.1)
    raise AssertionError("it does not load")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_finish_what_runs(demo_gguf: Path, number: signal.Signals) -> None:
    key = "sk-secret"
    with served(demo_gguf, "--api-key", key) as (process, stderr, port):
        with long_stream(port, key) as response:
            process.send_signal(number)
            assert response.read().endswith(b"data: [DONE]\n\n")
        assert process.wait(10) == 0
        told = stderr.read()
    assert "demo is loaded" in told
    assert "POST /v1/chat/completions 200" in told
    assert told.strip().endswith("stopped")
    assert "secret" not in told


def test_a_second_signal_stops_at_once(demo_gguf: Path) -> None:
    with served(demo_gguf) as (process, stderr, port):
        with long_stream(port):
            process.terminate()
            time.sleep(0.1)
            process.terminate()
            assert process.wait(10) == 0
        assert "Traceback" not in stderr.read()


def test_what_is_no_model_ends_it(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").write_text("text")
    command = [sys.executable, "-m", "exaone4_gguf", "serve", str(tmp_path / "a.gguf"), "--port", "0"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.splitlines()[-1] == f"exaone4-gguf: {tmp_path / 'a.gguf'}: not a GGUF file"


def test_importing_the_command_is_quick() -> None:
    script = "import exaone4_gguf.commands.serve, sys; print({'fastapi', 'uvicorn', 'numpy'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
