"""Lets a Cutoff end the calls of an AWS client: botocore's timeouts start again with each byte that arrives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.exceptions import ReadTimeoutError

from worker.cutoff import active_cutoff, watch_socket

if TYPE_CHECKING:
    import socket

    from botocore.client import BaseClient


def _watched(opened: socket.socket) -> socket.socket:
    """Watch a socket that was just connected: the TLS handshake follows, and is watched, too."""
    try:
        watch_socket(opened)
    except TimeoutError:
        opened.close()
        raise
    return opened


class _WatchedAwsConnection(AWSHTTPConnection):
    """botocore's connection, whose socket is watched while it is used."""

    def _new_conn(self) -> socket.socket:
        return _watched(super()._new_conn())

    def putrequest(self, *words: Any, **options: Any) -> None:  # noqa: ANN401 - passed through
        if self.sock is not None:  # kept from an earlier request
            watch_socket(self.sock)
        super().putrequest(*words, **options)


class _WatchedSecureAwsConnection(AWSHTTPSConnection):
    """The same over TLS."""

    def _new_conn(self) -> socket.socket:
        return _watched(super()._new_conn())

    def putrequest(self, *words: Any, **options: Any) -> None:  # noqa: ANN401 - passed through
        if self.sock is not None:
            watch_socket(self.sock)
        super().putrequest(*words, **options)


class _WatchedAwsPool(AWSHTTPConnectionPool):
    ConnectionCls = _WatchedAwsConnection


class _WatchedSecureAwsPool(AWSHTTPSConnectionPool):
    ConnectionCls = _WatchedSecureAwsConnection


def make_interruptible(client: BaseClient) -> None:
    """Put the connections of a client under the cutoff of the thread that uses it, and retry no call that was cut."""
    private: Any = client  # botocore has no public setting for the class of its connections
    session = private._endpoint.http_session  # noqa: SLF001
    session._pool_classes_by_scheme = {"http": _WatchedAwsPool, "https": _WatchedSecureAwsPool}  # noqa: SLF001
    session._manager.pool_classes_by_scheme = session._pool_classes_by_scheme  # noqa: SLF001
    client.meta.events.register_first("needs-retry", _refuse_retry)


def _refuse_retry(**_: Any) -> None:  # noqa: ANN401 - botocore's events carry more
    """End a call that was cut: botocore would wait and send it again."""
    cutoff = active_cutoff()
    if cutoff and cutoff.is_over:
        raise ReadTimeoutError(endpoint_url="", error="cut off")
