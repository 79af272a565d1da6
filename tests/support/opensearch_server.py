"""A server that answers as a test's function does, and a client of OpenSearch that is connected to it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from infra.local.ports import free_port
from tests.support.http_server import serving, told
from worker.opensearch.client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opensearchpy import OpenSearch

    # From method, path, query and body to status and content.
    Answer = Callable[[str, str, dict[str, list[str]], Any], tuple[int, Any]]

NO_HANDLER = {"error": "no handler found for uri [/x] and method [GET]"}


def missing(kind: str = "resource_not_found_exception") -> tuple[int, Any]:
    """What OpenSearch answers for something that does not exist."""
    return 404, {"error": {"type": kind, "reason": "it does not exist"}, "status": 404}


@contextmanager
def connected(answer: Answer) -> Iterator[OpenSearch]:
    """A client of a server that answers like this; bodies are parsed."""

    def serve(method: str, target: str, _headers: dict[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        parts = urlsplit(target)
        return told(*answer(method, parts.path, parse_qs(parts.query), json.loads(body) if body else None))

    with serving(serve) as url:
        client = Client(url, sign_in=lambda: None, ca_file=None, seconds=60).connect()
        try:
            yield client
        finally:
            client.close()


@contextmanager
def disconnected() -> Iterator[OpenSearch]:
    """A client of an address where no server listens."""
    client = Client(f"http://127.0.0.1:{free_port()}", sign_in=lambda: None, ca_file=None, seconds=60).connect()
    try:
        yield client
    finally:
        client.close()
