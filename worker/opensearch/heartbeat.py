"""Shows a running `trailsink run` in the cluster: one document, written again every half minute.

A process outside AWS has no event source mapping, so without it nobody could see whether anything consumes.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import OpenSearchException

from worker.errors import TrailsinkError
from worker.humanize import iso_seconds
from worker.opensearch.own_index import create_own_index
from worker.opensearch.security import heartbeat_index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opensearchpy import OpenSearch

_INTERVAL_SECONDS = 30.0
_STOP_SECONDS = 5.0  # for the last document, when the process ends

_KEYWORDS = ("host", "version", "queue")
_DATES = ("started_at", "beat_at", "stopped_at")

# Strings only where they are searched.
_PROPERTIES = {
    "pid": {"type": "long"},
    **{name: {"type": "keyword"} for name in _KEYWORDS},
    **{name: {"type": "date"} for name in _DATES},
}


class Heartbeat:
    """The document of one process; `connect` opens the client that only this object uses."""

    def __init__(self, connect: Callable[[], OpenSearch], prefix: str, document: Mapping[str, Any]) -> None:
        self._connect, self._index = connect, heartbeat_index(prefix)
        self._client: OpenSearch | None = None
        self._document = {**document, "started_at": _now()}

    def beat(self, **changes: str) -> None:
        """Write the document as of now; raises what the client or its sign-in raises."""
        document = self._document | {"beat_at": _now()} | changes
        name = f"{document['host']}-{document['pid']}"
        if self._client is None:
            client = self._connect()
            create_own_index(client, self._index, _PROPERTIES)
            self._client = client
        self._client.index(index=self._index, id=name, body=document)

    def stop(self) -> None:
        """Write that the process was stopped."""
        self.beat(stopped_at=_now())


@contextmanager
def beating(heartbeat: Heartbeat, interval: float = _INTERVAL_SECONDS) -> Iterator[None]:
    """Beat at an interval in a thread of its own, and write at the end that the process was stopped.

    A beat that fails is left out: the consumer's own requests report what is wrong with the cluster.
    """
    ended = threading.Event()

    def loop() -> None:
        is_last = False
        while not is_last:
            with suppress(OpenSearchException, TrailsinkError):
                heartbeat.beat()
            is_last = ended.wait(interval)
        with suppress(OpenSearchException, TrailsinkError):
            heartbeat.stop()

    thread = threading.Thread(target=loop, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(_STOP_SECONDS)


def _now() -> str:
    return iso_seconds(datetime.now(UTC))
