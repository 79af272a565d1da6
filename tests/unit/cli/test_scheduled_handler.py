"""Promises about the scheduled functions: an event of another form is refused, and no run outlives its invocation."""

from __future__ import annotations

from typing import Any

import pytest

from worker.cli.scheduled_handler import detect_handler, verify_handler
from worker.cli.verify import NotJudgedError
from worker.errors import SetupError


class FakeLambda:
    """An invocation with some time left."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        """Return the time that is left."""
        return round(self._seconds * 1000)


@pytest.mark.parametrize("event", [{}, {"Records": []}, {"last": 3}, "test", None])
def test_an_event_that_no_schedule_sends_is_refused(event: Any) -> None:
    """The console's test event is one: a success would look like a verdict."""
    with pytest.raises(SetupError, match="event of a scheduled verification"):
        verify_handler(event, FakeLambda(900))
    with pytest.raises(SetupError, match="event of a scheduled detection"):
        detect_handler(event, None)


def test_rules_are_in_s3() -> None:
    """A folder of the function is empty."""
    with pytest.raises(SetupError, match="event of a scheduled detection"):
        detect_handler({"rules": "rules/", "topic": ""}, None)


def test_a_bucket_that_cannot_be_read_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """The function fails, and its alarm is raised."""
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("TRAILSINK_BUCKET", "trail")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")

    with pytest.raises(NotJudgedError, match="Not judged"):
        verify_handler({"last": "3d"}, FakeLambda(900))
