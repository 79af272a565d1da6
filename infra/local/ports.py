"""Free ports on the loopback interface."""

import secrets
import socket

from .errors import LocalStackError

LOOPBACK = "127.0.0.1"

# Below the ports that systems give to connections and to servers which ask for any: Linux begins at 32768, macOS at
# 49152. One of those could be taken while a server here is starting or restarting.
# https://docs.kernel.org/networking/ip-sysctl.html (ip_local_port_range)
_FIRST, _END = 20_000, 32_768
_ATTEMPTS = 100


def is_free(port: int) -> bool:
    """Say whether a server could listen on this port."""
    with socket.socket() as caller:
        # A server bound to all interfaces does not keep every system from binding the loopback one: ask it, too.
        if caller.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None) -> int:
    """Return the preferred port if it is free, else any; raises LocalStackError when none is found."""
    if preferred is not None and is_free(preferred):
        return preferred
    for _ in range(_ATTEMPTS):
        # Not by `random`: tests seed it, and several processes would get the same.
        port = _FIRST + secrets.randbelow(_END - _FIRST)
        if is_free(port):
            return port
    raise LocalStackError(f"Of {_ATTEMPTS} ports from {_FIRST} to {_END - 1}, none is free.")
