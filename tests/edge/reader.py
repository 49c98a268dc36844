"""Who does what a page says, with bash: on a computer with ``exaone4-gguf``, and on a board with a bundle."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
from dataclasses import dataclass, field
from pathlib import Path

from tests.edge.pages import Command, agree
from tests.edge.peers import STARTING_SECONDS, free_port, get

SECONDS = 300
_SERVER = re.compile(r"(?:\w+=\S+ )*(?:sh run(?: serve| rpc)?(?= +-| *#| *$)|exaone4-gguf serve )")
_LENDER = re.compile(r"sh run rpc.*# on (\S+)")
_OURS = "exaone4-gguf "


@dataclass
class Reader:
    """A reader at work.

    ``computer`` and ``board`` are the folders in which he is; every machine that a page names is this one, with ports
    of its own. ``sizes`` has checkpoints of the real sizes, which are configurations alone, for ``fit``.
    """

    computer: Path
    sizes: Path
    environment: dict[str, str]
    board: Path = field(init=False)
    ports: dict[str, int] = field(default_factory=dict)
    servers: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.board = self.computer

    def follow(self, page: list[Command]) -> list[str]:
        """Run what is not marked, servers in the background until the page ends; what was run."""
        done = [command for command in page if not command.marked]
        try:
            for command in done:
                text = self._here(command.text)
                (self._serve if _SERVER.match(text) else self._run)(command, text)
        finally:
            for port in list(self.servers):
                self._stop(port)
        return [command.text for command in done]

    def _here(self, text: str) -> str:
        """On this machine alone, on ports that are free."""
        text = re.sub(r"\b(pi-\d):50052\b", lambda match: f"127.0.0.1:{self._port(match[1])}", text)
        text = re.sub(r"(?<=[:=])80\d\d\b", lambda match: str(self._port(match[0])), text)
        return text.replace("0.0.0.0", "127.0.0.1").replace("raspberrypi.local", "127.0.0.1")

    def _port(self, name: str) -> int:
        if name not in self.ports:
            self.ports[name] = free_port()
        return self.ports[name]

    def _run(self, command: Command, text: str) -> None:
        is_fit, is_ours = text.startswith(f"{_OURS}fit "), text.startswith(_OURS)
        place = self.computer.parent / "pwd"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", f"{text}\npwd > {place}"],
            cwd=self.sizes if is_fit else self.computer if is_ours else self.board,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{command}\nended with {done.returncode}:\n{done.stdout}"
        if not is_ours:
            self.board = Path(place.read_text().strip())
        if command.shown:
            assert agree(command.shown, done.stdout, exact=is_fit), f"{command}\nprinted:\n{done.stdout}"
        if "/v1/chat/completions" in text:
            assert json.loads(done.stdout)["choices"][0]["message"]["content"], f"{command}\n{done.stdout}"

    def _serve(self, command: Command, text: str) -> None:
        """Start a server, in place of the last one, but beside those that lend their memory."""
        lender, given = _LENDER.search(text), re.search(r"PORT=(\d+)", text)
        port = int(given[1]) if given else self._port(lender[1] if lender else "8080")
        for last in [] if lender else [self.ports[name] for name in self.ports if name.isdigit()]:
            self._stop(last)
        log = self.computer.parent / f"{port}.log"
        with log.open("wb") as written:
            self.servers[port] = subprocess.Popen(
                ["bash", "-c", text.replace(f"{_OURS}serve ", f"{_OURS}serve --port {port} ")],
                cwd=self.computer if _OURS in text else self.board,
                env=self.environment | {"PORT": str(port)},
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until = time.monotonic() + STARTING_SECONDS
        while not _answers(port, lender is not None):
            gone = self.servers[port].poll() is not None or time.monotonic() > until
            assert not gone, f"{command}\nno server:\n{log.read_text()[-2000:]}"
            time.sleep(0.1)

    def _stop(self, port: int) -> None:
        if process := self.servers.pop(port, None):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(timeout=SECONDS)


def _answers(port: int, by_rpc: bool) -> bool:
    try:
        if by_rpc:
            socket.create_connection(("127.0.0.1", port)).close()
        else:
            get(f"http://127.0.0.1:{port}/health")
    except (urllib.error.URLError, ConnectionError):
        return False
    return True
