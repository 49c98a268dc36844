"""Who may be let in."""

from __future__ import annotations

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
