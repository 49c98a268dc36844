"""Stands in for a bundle's llama-server and rpc-server where arm64 cannot run: copied under their names.

What answers then is this project's own server; the one that lends memory merely listens.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from pathlib import Path


def main() -> None:
    """What the script of a bundle asks for."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for option in ("--model", "--host", "--port", "--ctx-size", "--api-key", "--rpc"):
        parser.add_argument(option, default="")
    asked, _ = parser.parse_known_args()
    name = Path(sys.argv[0]).name
    if name == "rpc-server":
        with socket.create_server((asked.host, int(asked.port))) as server:
            while True:
                server.accept()[0].close()
    if name != "llama-server":
        sys.exit(f"{name}: nothing stands in for it")
    for lender in filter(None, asked.rpc.split(",")):
        host, port = lender.split(":")
        socket.create_connection((host, int(port))).close()
    command = ["exaone4-gguf", "serve", asked.model, "--host", asked.host, "--port", asked.port, "-c", asked.ctx_size]
    os.execvp(command[0], [*command, *(["--api-key", asked.api_key] if asked.api_key else [])])


if __name__ == "__main__":
    main()
