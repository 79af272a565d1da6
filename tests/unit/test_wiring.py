"""Promises about how the parts are put together from the environment."""

from __future__ import annotations

import pytest

from worker.aws.session import open_session
from worker.errors import SetupError
from worker.settings import Settings, load_settings
from worker.wiring import auth_method, make_queue


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


@pytest.mark.parametrize(
    ("host", "method"),
    [
        ("search-d-x.us-east-1.es.amazonaws.com", "sigv4"),
        ("search-d-x.us-gov-west-1.es.amazonaws.com", "sigv4"),
        ("search-d-x.cn-north-1.es.amazonaws.com.cn", "sigv4"),
        ("search-d-x.aos.us-east-1.on.aws", "sigv4"),
        ("abc.aoss.eu-west-1.on.aws", "sigv4"),
        ("search-d-x.eusc-de-east-1.es.amazonaws.eu", "sigv4"),
        ("logs.example.com", "none"),
        ("search-d-x.us-east-1.es.amazonaws.com.evil.example", "none"),
    ],
)
def test_requests_to_a_host_of_aws_are_signed_in_every_partition(host: str, method: str) -> None:
    """Unsigned, a domain refuses each of them; signed for a stranger, a session token leaves the house."""
    assert auth_method(Settings(opensearch_url=f"https://{host}")) == method


def test_a_password_or_a_setting_comes_before_the_host_s_name() -> None:
    """Basic authentication at a managed domain is how people sign in."""
    url = "https://search-d-x.aos.us-east-1.on.aws"

    assert auth_method(Settings(opensearch_url=url, opensearch_secret_arn="arn:secret")) == "basic"
    assert auth_method(Settings(opensearch_url=url, opensearch_auth="none")) == "none"
