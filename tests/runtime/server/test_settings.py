"""Who may be let in."""

from __future__ import annotations

import re

import pytest

from exaone4_gguf.errors import RequestError
from exaone4_gguf.runtime.server.settings import Settings


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1"])
def test_this_machine_needs_no_key(host: str) -> None:
    assert Settings(host=host).is_local


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_others_need_a_key_or_permission(host: str) -> None:
    with pytest.raises(RequestError, match="give --api-key KEY, or --no-api-key"):
        Settings(host=host)
    assert not Settings(host=host, api_keys=("k",)).is_local
    assert not Settings(host=host, open_to_all=True).is_local


@pytest.mark.parametrize("key", ["", "한국", "a\nb"])
def test_keys_that_no_header_can_hold(key: str) -> None:
    with pytest.raises(RequestError, match="printable ASCII"):
        Settings(api_keys=(key,))


def test_an_address_that_is_none() -> None:
    with pytest.raises(RequestError, match="no such address to serve on"):
        Settings(host="no.such.host.invalid")


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://my.app",
        "http://localhost:3000",
        "http://[::1]:80443",
        "tauri://localhost",
        "https://a_b.c:1",
    ],
)
def test_origins_as_browsers_send_them(origin: str) -> None:
    assert Settings(cors=("https://other.app", origin)).cors[1] == origin


@pytest.mark.parametrize(
    ("origin", "meant"),
    [
        ("my.app", "https://my.app"),
        ("localhost:3000", "http://localhost:3000"),
        ("127.0.0.1", "http://127.0.0.1"),
        ("[::1]:3000", "http://[::1]:3000"),
        ("https://my.app/", "https://my.app"),
        ("https://my.app/chat?x", "https://my.app"),
        ("https://my.app:443", "https://my.app"),
        ("http://my.app:80", "http://my.app"),
        ("HTTPS://My.App", "https://my.app"),
        (" https://my.app", "https://my.app"),
        ("https://한국.kr", "https://xn--3e0b707e.kr"),
        ("file:///home/me/page.html", "null"),
        ("", "each like https://my.app, or *"),
        ("https://", "each like"),
        ("https://*.my.app", "each like"),
        ("https://a.app,https://b.app", "each like"),
        ("https://me@my.app", "each like"),
        ("https://my.app:port", "each like"),
    ],
)
def test_an_origin_that_would_never_match(origin: str, meant: str) -> None:
    with pytest.raises(RequestError, match=f"--cors .* would never match; write {re.escape(meant)}"):
        Settings(cors=("https://other.app", origin))


@pytest.mark.parametrize(
    ("host", "meant"),
    [
        ("https://proxy.example/", "proxy.example"),
        ("proxy.example:8080", "proxy.example"),
        ("::1", "[::1]"),
        ("*", "each like my.app"),
        ("", "each like my.app"),
    ],
)
def test_a_name_that_would_never_match(host: str, meant: str) -> None:
    assert Settings(hosts=("Proxy.example",)).names > {"proxy.example"}
    with pytest.raises(RequestError, match=f"--allow-host .* would never match; write {re.escape(meant)}"):
        Settings(hosts=(host,))
