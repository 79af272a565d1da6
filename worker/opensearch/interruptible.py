"""Lets a Cutoff end requests to the cluster: the client's timeouts start again with each byte that arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opensearchpy import Urllib3HttpConnection
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from worker.cutoff import WatchedConnection, active_cutoff

if TYPE_CHECKING:
    import socket

_CONNECT_SECONDS = 10.0


class _WatchedHttpConnection(WatchedConnection, HTTPConnection):
    """urllib3's connection, whose socket is watched while it is used."""

    def _new_conn(self) -> socket.socket:
        if cutoff := active_cutoff():
            # urllib3 applies it to each address of a name: several that are silent must not add up to a batch.
            self.timeout = max(0.001, min(_CONNECT_SECONDS, cutoff.remaining()))
        return super()._new_conn()


class _WatchedHttpsConnection(_WatchedHttpConnection, HTTPSConnection):
    """The same over TLS: the handshake is watched, too."""


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedHttpConnection


class _WatchedSecurePool(HTTPSConnectionPool):
    ConnectionCls = _WatchedHttpsConnection


class InterruptibleUrllib3Connection(Urllib3HttpConnection):
    """Urllib3HttpConnection whose requests end with the cutoff of their thread."""

    def _create_urllib3_pool(self) -> None:
        super()._create_urllib3_pool()
        self.pool.ConnectionCls = _WatchedHttpsConnection if self.use_ssl else _WatchedHttpConnection


class InterruptibleAdapter(HTTPAdapter):
    """An adapter for sessions of requests, whose requests end with the cutoff of their thread."""

    def init_poolmanager(self, *words: Any, **options: Any) -> None:  # noqa: ANN401 - passed through
        """Create the pools, of connections that are watched."""
        super().init_poolmanager(*words, **options)
        watch_pools(self.poolmanager)

    def proxy_manager_for(self, *words: Any, **options: Any) -> Any:  # noqa: ANN401 - passed through
        """Return the pools of a proxy, of connections that are watched."""
        manager = super().proxy_manager_for(*words, **options)
        watch_pools(manager)
        return manager


def watch_pools(manager: PoolManager) -> None:
    """Let a manager of pools create connections that are watched."""
    manager.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedSecurePool}
