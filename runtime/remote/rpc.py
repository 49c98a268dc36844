"""Other machines for the weights: llama.cpp's RPC backend, where the installed llama-cpp-python has it.

The backend ends the process when a server is gone, so what is loaded with servers must be loaded in a process of its
own: ``remote.py`` does that. This module only names the servers to llama.cpp.
"""

from __future__ import annotations

import ctypes
import re
import socket
from collections.abc import Sequence
from typing import Any

from exaone4_gguf.errors import RequestError, RuntimeFailure
from exaone4_gguf.runtime.llama.api import load_api

CONNECT_SECONDS = 5.0
_SERVER = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?):(\d{1,5})")


def parse_servers(text: str) -> tuple[str, ...]:
    """The servers of a list like ``pi-1:50052,10.0.0.7:50052``, each once.

    Raises:
        RequestError: one is not a host and a port.
    """
    servers = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for server in servers:
        match = _SERVER.fullmatch(server)
        if match is None or not 0 < int(match[3]) < 1 << 16:
            raise RequestError(f"rpc: '{server}' is no server; write HOST:PORT, several with commas between")
    return servers


def check_reachable(servers: Sequence[str]) -> None:
    """Connect to each server once, as llama.cpp ends the process where it cannot.

    Raises:
        RuntimeFailure: nobody listens there.
    """
    for server in servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        except (OSError, UnicodeError) as e:
            reason = getattr(e, "strerror", None) or e
            raise RuntimeFailure(
                f"no RPC server answers at {server} ({reason}); start one there: rpc-server -H 0.0.0.0 -p {port}"
            ) from None


def check_supported() -> None:
    """Raises RuntimeFailure where llama.cpp was built without the RPC backend."""
    api = load_api()
    if not api.llama_supports_rpc():
        raise RuntimeFailure(
            "this llama-cpp-python has no RPC backend; build one that has: "
            'CMAKE_ARGS="-DGGML_RPC=ON -DLLAVA_BUILD=OFF" '
            "pip install --force-reinstall --no-deps --no-cache-dir --no-binary llama-cpp-python "
            f"llama-cpp-python=={api.__version__}"
        )


def register(servers: Sequence[str]) -> None:
    """Make the servers' devices known to llama.cpp, which then spreads the layers over them (common/arg.cpp does so).

    Raises:
        RuntimeFailure: llama.cpp has no RPC backend, or a server offers no device.
    """
    check_supported()
    ggml = _functions()
    backend = ggml.ggml_backend_reg_by_name(b"RPC")
    address = ggml.ggml_backend_reg_get_proc_address(backend, b"ggml_backend_rpc_add_server") if backend else None
    if not address:
        raise RuntimeFailure("llama.cpp's RPC backend cannot be found")
    add_server = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)(address)
    for server in servers:
        found = add_server(server.encode())
        if not found:
            raise RuntimeFailure(f"the RPC server at {server} offers no device")
        ggml.ggml_backend_register(found)


def _functions() -> Any:
    library = load_api().llama_cpp._lib
    for name, argtypes in (
        ("ggml_backend_reg_by_name", (ctypes.c_char_p,)),
        ("ggml_backend_reg_get_proc_address", (ctypes.c_void_p, ctypes.c_char_p)),
        ("ggml_backend_register", (ctypes.c_void_p,)),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = ctypes.c_void_p, argtypes
    return library
