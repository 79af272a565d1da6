"""Promises about the heartbeat: a running process shows itself, and a stopped one says so."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from tests.support.opensearch_server import connected, disconnected
from worker.opensearch.heartbeat import Heartbeat, beating

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

DOCUMENT = {"host": "web-1", "pid": 7, "version": "0.1.0", "queue": "https://sqs/q"}


class Documents:
    """An index that takes documents, and keeps them in order."""

    def __init__(self) -> None:
        self.created: list[str] = []
        self.bodies: list[tuple[str, dict[str, Any]]] = []

    def answer(self, method: str, path: str, _query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        if method == "PUT" and path.count("/") == 1:
            self.created.append(path)
            return 400, {"error": {"type": "resource_already_exists_exception", "reason": "x"}, "status": 400}
        self.bodies.append((path, body))
        return 201, {"result": "created"}


def wait_for(documents: Documents, number: int) -> None:
    end = time.monotonic() + 20
    while len(documents.bodies) < number and time.monotonic() < end:
        time.sleep(0.01)


def test_a_process_beats_until_it_stops() -> None:
    """One document, written again; the index may exist already."""
    documents = Documents()
    with connected(documents.answer) as client:
        with beating(Heartbeat(lambda: client, "trail", DOCUMENT), interval=0.01):
            wait_for(documents, 3)
        wait_for(documents, 4)

    paths = {path for path, _ in documents.bodies}
    assert documents.created == ["/trailsink-consumers-trail"]
    assert paths == {"/trailsink-consumers-trail/_doc/web-1-7"}
    assert "stopped_at" not in documents.bodies[0][1]
    assert documents.bodies[-1][1]["stopped_at"]


def test_a_cluster_that_is_away_ends_no_process() -> None:
    """The consumer hands its messages back and goes on; so does the heartbeat."""
    opened = []

    with disconnected() as client:

        def connect() -> OpenSearch:
            opened.append(client)
            return client

        with beating(Heartbeat(connect, "trail", DOCUMENT), interval=0.01):
            end = time.monotonic() + 20
            while len(opened) < 2 and time.monotonic() < end:
                time.sleep(0.01)

    assert len(opened) >= 2
