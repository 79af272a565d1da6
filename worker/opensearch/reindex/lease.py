"""Keeps two processes from reindexing one prefix at a time: a document that its holder renews, and others wait for.

Two of them would lift each other's write blocks, between the comparison and the swap.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import ConflictError, NotFoundError

from worker.errors import SetupError
from worker.opensearch.index_names import lease_index
from worker.opensearch.own_index import create_own_index

if TYPE_CHECKING:
    from collections.abc import Callable

    from opensearchpy import OpenSearch

# A holder that has not renewed for so long has ended. No request that it sends may last longer.
LEASE_SECONDS = 180.0

_ID = "holder"
_POLL_SECONDS = 1.0


class Lease:
    """The right to reindex one prefix. Each change of its document is conditional, so that only one process wins."""

    def __init__(
        self,
        client: OpenSearch,
        prefix: str,
        *,
        wall_clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client, self._index = client, lease_index(prefix)
        self._wall_clock, self._sleep = wall_clock, sleep
        self._token = secrets.token_hex(8)
        self._condition: dict[str, Any] = {}
        self._renewed = 0.0

    def acquire(self, on_wait: Callable[[str], None] = lambda _: None) -> None:
        """Take the lease; waits while another process holds it, and calls `on_wait` with who that is."""
        create_own_index(self._client, self._index, {"token": {"type": "keyword"}})
        waited_for = ""
        while True:
            try:
                existing: Any = self._client.get(index=self._index, id=_ID)
            except NotFoundError:
                condition: dict[str, Any] = {"op_type": "create"}
            else:
                holder = existing["_source"]
                if not self._has_ended(holder):
                    name = f"{holder['host']}, process {holder['pid']}"
                    if name != waited_for:
                        on_wait(name)
                    waited_for = name
                    self._sleep(_POLL_SECONDS)
                    continue
                condition = {"if_seq_no": existing["_seq_no"], "if_primary_term": existing["_primary_term"]}
            if self._write(condition):
                return

    def hold(self) -> None:
        """Renew the lease before a step; raises SetupError when another process has taken it."""
        if self._wall_clock() - self._renewed > LEASE_SECONDS / 2 or not self._write(self._condition):
            raise SetupError("This process was stopped for too long, and may not go on: run the command again.")

    def release(self) -> None:
        """Give the lease back, unless another process has taken it; its index goes with it."""
        if self._write(self._condition):
            self._client.indices.delete(index=self._index, params={"ignore_unavailable": "true"})

    def _write(self, condition: dict[str, Any]) -> bool:
        now = self._wall_clock()
        body = {
            "token": self._token,
            "host": socket.gethostname(),
            "processes": _process_table(),
            "pid": os.getpid(),
            "renewed": now,
        }
        try:
            response: Any = self._client.index(index=self._index, id=_ID, body=body, params=condition)
        except (ConflictError, NotFoundError):
            return False
        self._condition = {"if_seq_no": response["_seq_no"], "if_primary_term": response["_primary_term"]}
        self._renewed = now
        return True

    def _has_ended(self, holder: dict[str, Any]) -> bool:
        if self._wall_clock() - float(holder["renewed"]) > LEASE_SECONDS:
            return True
        return holder["processes"] == _process_table() and not _is_running(int(holder["pid"]))


def _process_table() -> str:
    """Return what tells this machine's, or container's, process ids from those of others, since its last boot."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:  # no Linux
        return socket.gethostname()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
