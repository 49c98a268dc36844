"""What must not come in does not, and says so in OpenAI's form."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from exaone4_gguf.runtime.server.serve import Server
from tests.runtime.server.running import connection, post, request, running

KEY = "sk-a-secret"


@pytest.fixture(scope="module")
def guarded(demo_gguf: Path) -> Iterator[Server]:
    with running(demo_gguf, api_keys=(KEY,), cors=("https://mine.example",), hosts=("proxy.example",)) as server:
        yield server


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "", "[::2]", "localhos"]
)
def test_a_rebound_name_is_refused(server: Server, host: str) -> None:
    answer = request(server, "GET", "/health", Host=host)
    assert (answer.status, answer.error["code"]) == (403, "wrong_host")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:80", "localhost."])
def test_this_machines_names(server: Server, host: str) -> None:
    assert request(server, "GET", "/health", Host=host).status == 200


def test_a_proxys_name(guarded: Server) -> None:
    assert request(guarded, "GET", "/health", Host="proxy.example").status == 200
    assert request(guarded, "GET", "/health", Host="other.example").status == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:1"])
def test_other_sites_pages_may_not_even_ask(server: Server, origin: str) -> None:
    answer = post(server, "/v1/chat/completions", {"messages": []}, Origin=origin)
    assert (answer.status, answer.error["code"]) == (403, "wrong_origin")


def test_the_own_page_may(server: Server) -> None:
    host = server.url.removeprefix("http://")
    assert request(server, "GET", "/v1/models", Origin=server.url, Host=host).status == 200


def test_cors(guarded: Server, server: Server) -> None:
    preflight = {"Origin": "https://mine.example", "Access_Control_Request_Method": "POST"}
    answer = request(
        guarded, "OPTIONS", "/v1/chat/completions", Access_Control_Request_Headers="authorization", **preflight
    )
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == "https://mine.example"
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    refused = request(guarded, "GET", "/v1/models", Origin="https://mine.example")
    assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, "https://mine.example")
    other = request(guarded, "GET", "/health", Origin="https://evil.example")
    assert (other.status, "access-control-allow-origin" in other.headers) == (403, False)
    off = request(server, "OPTIONS", "/v1/chat/completions", **preflight)
    assert (off.status, "access-control-allow-origin" in off.headers) == (403, False)


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/openapi.json", "/v1/chat/completions", "/tokenize", "/x"])
def test_without_the_key_there_is_nothing(guarded: Server, path: str) -> None:
    for headers in ({}, {"Authorization": f"Bearer {KEY}x"}, {"Authorization": KEY}, {"Authorization": "Bearer"}):
        answer = request(guarded, "GET", path, **headers)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"


def test_the_key_and_what_needs_none(guarded: Server) -> None:
    for headers in ({"Authorization": f"Bearer {KEY}"}, {"Authorization": f"bearer  {KEY}"}, {"X_Api_Key": KEY}):
        assert request(guarded, "GET", "/v1/models", **headers).status == 200
    for path in ("/health", "/", "/page/app.js"):
        assert request(guarded, "GET", path).status == 200


def test_a_body_that_is_too_large(demo_gguf: Path) -> None:
    """Whether it says so or not."""
    with running(demo_gguf, max_body=1000) as server:
        assert post(server, "/tokenize", {"content": "a" * 900}).status == 200
        answer = post(server, "/tokenize", {"content": "a" * 1000})
        assert (answer.status, answer.error["code"]) == (413, "request_too_large")
        made = connection(server)
        made.request("POST", "/tokenize", iter([b"a" * 600] * 3), encode_chunked=True)
        assert made.getresponse().status == 413
        made.close()
        assert post(server, "/tokenize", {"content": "a" * 900}).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/none", 404),
        ("POST", "/v1/chat/completions/", 404),
        ("GET", "/v1/chat/completions", 405),
        ("DELETE", "/v1/models", 405),
        ("GET", "/page/none.js", 404),
        ("GET", "/page/../app.py", 404),
        ("GET", "/page/%2e%2e%2fapp.py", 404),
        ("GET", "/page//etc/passwd", 404),
        ("POST", "/chat/completions", 404),
        ("PROPFIND", "/", 405),
    ],
)
def test_other_routes_and_methods(server: Server, method: str, path: str, status: int) -> None:
    answer = request(server, method, path)
    assert answer.status == status
    assert "there is no" in answer.error["message"]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/chat/completions", "POST"),
        ("/v1/completions", "POST"),
        ("/v1/embeddings", "POST"),
        ("/tokenize", "POST"),
        ("/v1/models", "GET, HEAD"),
        ("/v1/models/demo", "GET, HEAD"),
        ("/health", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
        ("/openapi.json", "GET, HEAD"),
        ("/", "GET, HEAD"),
        ("/page/app.js", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_one(server: Server, path: str, allowed: str) -> None:
    for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
        answer = request(server, method, path)
        if method in allowed or (method == "POST" and answer.status == 400):
            assert answer.status == (400 if method == "POST" else 200)
            continue
        assert (answer.status, answer.headers["allow"]) == (405, allowed)
        if method != "HEAD":
            message = f"there is no {method} {path}; it takes {allowed.replace(', ', ' or ')}"
            assert (answer.error["message"], answer.error["code"]) == (message, "method_not_allowed")


def test_every_answer_carries_its_headers(server: Server) -> None:
    for path in ("/", "/health", "/none", "/v1/models"):
        headers = request(server, "GET", path).headers
        assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
        assert "server" not in headers
    policy = request(server, "GET", "/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_no_secret_is_logged(guarded: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        post(guarded, "/tokenize?key=query-secret", {"content": "text-secret"}, Authorization=f"Bearer {KEY}")
        request(guarded, "GET", "/path-secret", Authorization="Bearer wrong-secret")
    ours = " ".join(record.getMessage() for record in caplog.records if record.name == "exaone4_gguf.server")
    assert "POST /tokenize 200" in ours
    assert "secret" not in ours
