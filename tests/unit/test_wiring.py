"""Promises about how the parts are put together from the environment."""

from __future__ import annotations

import pytest

from worker.aws.session import open_session
from worker.errors import SetupError
from worker.settings import load_settings
from worker.wiring import make_queue


@pytest.mark.parametrize("name", ["AWS_REGION", "AWS_DEFAULT_REGION"])
def test_either_variable_names_the_region(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """boto3 itself reads only AWS_DEFAULT_REGION; every other SDK, and our own sentences, say AWS_REGION."""
    for one in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv(name, "eu-north-1")

    assert open_session().region_name == "eu-north-1"


def test_no_region_is_said_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without one, boto3 fails much later and says less."""
    for one in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(one, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")

    with pytest.raises(SetupError, match="set AWS_REGION"):
        open_session()


@pytest.mark.parametrize("name", ["TRAILSINK_QUEUE_URL", "TRAILSINK_DEAD_LETTER_QUEUE_URL"])
def test_a_fifo_queue_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Each dead letter would fail there, and everything behind it would wait for a day."""
    for one in ("TRAILSINK_QUEUE_URL", "TRAILSINK_DEAD_LETTER_QUEUE_URL"):
        monkeypatch.setenv(one, "https://sqs.eu-central-1.amazonaws.com/123456789012/trail")
    monkeypatch.setenv(name, "https://sqs.eu-central-1.amazonaws.com/123456789012/trail.fifo")

    with pytest.raises(SetupError, match=f"{name} is a FIFO queue.*use a standard queue"):
        make_queue(load_settings())
