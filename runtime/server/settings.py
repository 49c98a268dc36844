"""What a server is told when it starts."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass

from exaone4_gguf.errors import RequestError

MEGABYTE = 1_000_000

_URL = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*)://)?+([^/?#@,\s]+)(?:[/?#].*)?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(?:\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::\d{1,5})?")
_USUAL_PORTS = {"http": ":80", "https": ":443"}
_LOCAL = re.compile(r"(?:localhost|127(?:\.\d+){3}|\[::1\])(?::\d+)?")


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
        for origin in self.cors:
            _check_meant("--cors", origin, _meant_origin(origin), "each like https://my.app, or *")
        for host in self.hosts:
            _check_meant("--allow-host", host.lower(), _meant_host(host), "each like my.app")
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


def _check_meant(option: str, given: str, meant: str, form: str) -> None:
    """Raises RequestError for what no browser would ever send, and says what was probably meant."""
    if not given or given != meant:
        raise RequestError(f"{option} {given!r} would never match; write {meant or form}")


def _meant_origin(text: str) -> str:
    """The origin as browsers send it: scheme://host, with a port that is not the usual one; empty if it is none."""
    if text in ("*", "null"):
        return text
    found = _URL.fullmatch(text.strip())
    if text.strip().lower().startswith("file:"):
        return "null"
    if found is None:
        return ""
    host = _ascii(found[2])
    scheme = (found[1] or ("http" if _LOCAL.fullmatch(host) else "https")).lower()
    origin = f"{scheme}://{host.removesuffix(_USUAL_PORTS.get(scheme, '/'))}"
    if _ORIGIN.fullmatch(origin):
        return origin
    return ""


def _meant_host(text: str) -> str:
    """The name as it is looked for: without scheme and port; empty where it is none."""
    found = _URL.fullmatch(text.strip())
    host = _ascii(found[2]) if found else ""
    if host.count(":") == 1 or host.startswith("["):
        host = re.sub(r":\d*$", "", host)
    elif ":" in host:
        host = f"[{host}]"
    host = host.rstrip(".")
    if _ORIGIN.fullmatch(f"http://{host}"):
        return host
    return ""


def _ascii(host: str) -> str:
    """A name as browsers and proxies send it: in small letters, others than ASCII's as Punycode."""
    try:
        if host.isascii():
            return host.lower()
        return host.lower().encode("idna").decode()
    except UnicodeError:
        return ""
