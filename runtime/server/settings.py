"""What a server is told when it starts."""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from exaone4_gguf.errors import RequestError

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class Settings:
    """How to serve.

    ``open_to_all``: no key is wanted although others can reach the address. ``cors``: origins whose pages may call,
    "*" for all. ``hosts``: more names that the server is called by, say behind a proxy. ``max_queue``: requests that
    may wait. ``timeout``: seconds that a request may take, the wait included. ``max_body``: bytes. ``reasoning`` and
    ``reasoning_budget`` are for requests that do not say.

    Raises:
        RequestError: a value is wrong, or others could use the model without a key.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    api_keys: tuple[str, ...] = ()
    open_to_all: bool = False
    cors: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    max_queue: int = 128
    timeout: float = 600.0
    max_body: int = 10 * MEGABYTE
    alias: str | None = None
    reasoning: bool = False
    reasoning_budget: int | None = None

    def __post_init__(self) -> None:
        if not all(key and key.isascii() and key.isprintable() for key in self.api_keys):
            raise RequestError("an API key must be printable ASCII, and not empty")
        if not (self.is_local or self.api_keys or self.open_to_all):
            raise RequestError(
                f"others can reach {self.host}: give --api-key KEY, or --no-api-key to let everyone use the model"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the address."""
        return all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in self._addresses())

    @property
    def names(self) -> frozenset[str]:
        """What a browser may call the server by where only this machine can reach it."""
        return frozenset({"localhost", "127.0.0.1", "[::1]", self.host.lower(), *map(str.lower, self.hosts)})

    def _addresses(self) -> list[str]:
        try:
            found = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as e:
            raise RequestError(f"{self.host}: no such address to serve on ({e})") from None
        return [str(address[0]) for *_, address in found]
