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

from worker.cutoff import WatchedConnection, active_cutoff

if TYPE_CHECKING:
    from botocore.client import BaseClient


# Made by `type`: by their annotations, the two bases of botocore's own classes contradict each other.
_WatchedAwsConnection = type("_WatchedAwsConnection", (WatchedConnection, AWSHTTPConnection), {})
_WatchedSecureAwsConnection = type("_WatchedSecureAwsConnection", (WatchedConnection, AWSHTTPSConnection), {})


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
