"""Promises about the webhook, on a real socket: findings arrive, or an error says so without the secret."""

from __future__ import annotations

import json

import pytest

from tests.support.http_server import serving
from worker.detect.webhook import Webhook
from worker.errors import SetupError


def test_findings_arrive_as_json() -> None:
    """The receiver needs ids, to recognise what it had before."""
    bodies: list[tuple[str, bytes]] = []

    def serve(method: str, target: str, _headers: dict[str, str], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        bodies.append((f"{method} {target}", body))
        return 200, b"ok", {}

    with serving(serve) as url:
        Webhook(f"{url}/hook?token=s3cret").post("1 finding", {"f1": {"rule": {"id": "r1"}}})

    assert [(line, json.loads(body)) for line, body in bodies] == [
        ("POST /hook?token=s3cret", {"text": "1 finding", "findings": [{"id": "f1", "rule": {"id": "r1"}}]})
    ]


def test_a_busy_receiver_is_asked_again() -> None:
    """A deployment of the receiver takes some seconds."""
    statuses = [503, 429, 204]

    with serving(lambda *_: (statuses.pop(0), b"", {})) as url:
        Webhook(url).post("text", {})

    assert statuses == []


@pytest.mark.parametrize("status", [302, 400, 404])
def test_a_refusal_is_an_error_without_the_address(status: int) -> None:
    """The path of a webhook is its password; a redirect would take the findings elsewhere."""
    with (
        serving(lambda *_: (status, b"", {"Location": "http://127.0.0.1:1/"})) as url,
        pytest.raises(SetupError, match=f"The webhook at 127.0.0.1 takes no finding: it answers {status}.") as error,
    ):
        Webhook(f"{url}/s3cret").post("text", {})

    assert "s3cret" not in str(error.value)


@pytest.mark.parametrize("url", ["ftp://host/x", "host/x", "http://hooks.example.com/x"])
def test_an_unsafe_address_is_refused(url: str) -> None:
    """Findings name people and machines."""
    with pytest.raises(SetupError):
        Webhook(url)
