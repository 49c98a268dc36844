"""The names of servers, and what is said where there is none."""

from __future__ import annotations

import socket
from pathlib import Path

import llama_cpp
import pytest

from exaone4_gguf.errors import RequestError, RuntimeFailure
from exaone4_gguf.runtime.remote.rpc import check_reachable, check_supported, parse_servers

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("pi-1:50052", ("pi-1:50052",)),
        ("10.0.0.7:1, pi.local:65535,10.0.0.7:1", ("10.0.0.7:1", "pi.local:65535")),
    ],
)
def test_servers(text: str, servers: tuple[str, ...]) -> None:
    assert parse_servers(text) == servers


@pytest.mark.parametrize("text", ["", ",", "pi", "pi:", ":50052", "pi:0", "pi:65536", "pi:x", "a b:1", "pi:1,,", "é:1"])
def test_what_is_no_server(text: str) -> None:
    with pytest.raises(RequestError, match="is no server; write HOST:PORT, several with commas between"):
        parse_servers(text)


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
        s.listen()
        check_reachable([f"127.0.0.1:{port}"])
    with pytest.raises(RuntimeFailure, match=rf"no RPC server answers at 127.0.0.1:{port} \(.*refused\); start one"):
        check_reachable([f"127.0.0.1:{port}"])
    with pytest.raises(RuntimeFailure, match="no RPC server answers at no-such-host.invalid:50052"):
        check_reachable(["no-such-host.invalid:50052"])


def test_a_library_without_it_says_how_to_build_one() -> None:
    if llama_cpp.llama_supports_rpc():
        check_supported()
        return
    with pytest.raises(RuntimeFailure, match="no RPC backend; build one that has: ") as caught:
        check_supported()
    command, _, version = str(caught.value).partition("build one that has: ")[2].rpartition("==")
    assert version == llama_cpp.__version__
    assert any(f"    {command}==" in page.read_text() for page in DOCS.glob("*.md")), "the docs have another command"
