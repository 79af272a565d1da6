"""Promises about the client: no retries of its own, only our certificate authority, and responses parsed or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opensearchpy.exceptions import SerializationError, TransportError
from requests_aws4auth import AWS4Auth

from tests.support.opensearch_server import connected
from worker.opensearch.client import Client

AUTHORITY = Path(__file__)  # any file: requests reads it only when it connects


def test_a_failed_request_is_sent_once() -> None:
    """Each caller has the one retry policy that fits its request; a second layer would multiply the attempts."""
    paths: list[str] = []

    def answer(_method: str, path: str, *_: object) -> tuple[int, dict[str, str]]:
        paths.append(path)
        return 503, {}

    with connected(answer) as client, pytest.raises(TransportError, match="503"):
        client.info()

    assert paths == ["/"]


@pytest.mark.parametrize("text", ['{"items": [', "[" * 100_000, ""])
def test_an_unreadable_response_is_an_error_of_the_client(text: str) -> None:
    """Whatever answers at the address, callers see only the exceptions of opensearch-py."""
    client = Client("http://127.0.0.1:9", sign_in=lambda: None, ca_file=None, seconds=1).connect()

    with pytest.raises(SerializationError):
        client.transport.deserializer.loads(text, "application/json")


def test_signed_requests_ignore_the_bundle_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests prefers REQUESTS_CA_BUNDLE to the file that the settings name."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    auth = AWS4Auth("key", "secret", "eu-central-1", "es")
    client = Client("https://127.0.0.1:9", sign_in=lambda: auth, ca_file=AUTHORITY, seconds=1).connect()

    session: Any = client.transport.get_connection().session
    settings = session.merge_environment_settings("https://127.0.0.1:9", {}, False, session.verify, None)
    assert settings["verify"] == str(AUTHORITY)
