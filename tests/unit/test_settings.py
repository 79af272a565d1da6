"""Promises about settings: read once, wrong ones named, and each bound where it protects."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from worker.errors import SetupError
from worker.pipeline.limits import Limits, Partition
from worker.settings import Settings, load_settings, queue_name

MIB = 1 << 20


def test_nothing_but_the_addresses_has_to_be_set() -> None:
    """Every other setting has a value that is right for most."""
    settings = load_settings()

    assert settings.limits == Limits()
    assert (settings.index_prefix, settings.index_partition) == ("cloudtrail", Partition.DAY)
    assert settings.bulk_bytes == 5 * MIB
    assert settings.bulk_max_bytes == int(9.5 * MIB)
    assert settings.max_inflated_bytes == 256 * MIB


@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        ("TRAILSINK_OPENSEARCH_URL", "https://search.example.com", "opensearch_url", "https://search.example.com"),
        ("TRAILSINK_INDEX_PARTITION", "month", "index_partition", Partition.MONTH),
        ("TRAILSINK_BULK_ACTIONS", "500", "bulk_actions", 500),
        ("TRAILSINK_EMF", "false", "emf", False),
        ("TRAILSINK_OPENSEARCH_CA_FILE", "/etc/ca.pem", "opensearch_ca_file", Path("/etc/ca.pem")),
        ("TRAILSINK_RESERVE_SECONDS", "20", "reserve_seconds", 20.0),
        ("TRAILSINK_BULK_ACTIONS", "", "bulk_actions", 2_000),
    ],
)
def test_a_setting_is_an_environment_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, expected: object
) -> None:
    """The same names for Lambda, container and command line; an empty one is not set."""
    monkeypatch.setenv(name, value)

    assert getattr(load_settings(), field) == expected


@pytest.mark.parametrize(
    ("bucket", "buckets", "allowed", "refused"),
    [
        ("", "", ["trail", "other"], ["arn:aws:s3:::trail"]),
        ("trail", "", ["trail"], ["other"]),
        ("trail", "other", ["other"], ["trail"]),
        ("trail", "trail, other ,", ["trail", "other"], ["third"]),
        ("trail", "*", ["trail", "other"], ["evil--use1-az4--x-s3"]),
        ("Old_Trail", "", ["Old_Trail"], ["trail"]),
    ],
)
def test_the_trails_bucket_is_the_only_one_unless_others_are_named(
    monkeypatch: pytest.MonkeyPatch, bucket: str, buckets: str, allowed: list[str], refused: list[str]
) -> None:
    """Whoever may send to the queue can name any bucket."""
    monkeypatch.setenv("TRAILSINK_BUCKET", bucket)
    monkeypatch.setenv("TRAILSINK_BUCKETS", buckets)

    rule = load_settings().allowed_buckets

    assert [name for name in [*allowed, *refused] if not rule.refusal(name)] == allowed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TRAILSINK_BUCKET", "s3://trail"),
        ("TRAILSINK_BUCKET", "arn:aws:s3:::trail"),
        ("TRAILSINK_BUCKET", "trail/AWSLogs"),
        ("TRAILSINK_BUCKETS", "trail, arn:aws:s3:::trail"),
        ("TRAILSINK_BUCKETS", "trail;other"),
        ("TRAILSINK_S3_ROLE_ARN", "read-trail"),
        ("TRAILSINK_S3_ROLE_ARN", "arn:aws:iam::123456789012:user/ada"),
        ("TRAILSINK_S3_EXTERNAL_ID", "without a role"),
        ("TRAILSINK_REQUEST_PAYER", "perhaps"),
        ("TRAILSINK_INDEX_PREFIX", "Trail"),
        ("TRAILSINK_INDEX_PREFIX", "trail*"),
        ("TRAILSINK_INDEX_PREFIX", "-trail"),
        ("TRAILSINK_INDEX_PREFIX", "trail,x"),
        ("TRAILSINK_INDEX_PREFIX", "x" * 101),
        ("TRAILSINK_INDEX_PREFIX", "trail\n"),
        ("TRAILSINK_INDEX_PARTITION", "week"),
        ("TRAILSINK_OPENSEARCH_AUTH", "magic"),
        ("TRAILSINK_OPENSEARCH_URL", "search.example.com"),
        ("TRAILSINK_OPENSEARCH_URL", "ftp://search.example.com"),
        ("TRAILSINK_OPENSEARCH_URL", "https://"),
        ("TRAILSINK_OPENSEARCH_URL", "https:///path"),
        ("TRAILSINK_OPENSEARCH_URL", "https://search.example.com:port"),
        ("TRAILSINK_OPENSEARCH_URL", "https://[::1"),
        ("TRAILSINK_BULK_BYTES", "1"),
        ("TRAILSINK_BULK_BYTES", "10000000"),
        ("TRAILSINK_BULK_ACTIONS", "0"),
        ("TRAILSINK_MAX_DEPTH", "1000"),
        ("TRAILSINK_FETCH_AHEAD", "0"),
        ("TRAILSINK_FETCH_AHEAD", "1000"),
        ("TRAILSINK_BACKOFF_SECONDS", "43201"),
        ("TRAILSINK_RETRY_SECONDS", "-1"),
        ("TRAILSINK_RESERVE_SECONDS", "0"),
        ("TRAILSINK_RETENTION_DAYS", "forever"),
        ("TRAILSINK_READ_ONLY_DAYS", "-1"),
    ],
)
def test_a_wrong_setting_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """One sentence that says which variable; a guess would be found out in production."""
    monkeypatch.setenv(name, value)

    with pytest.raises(SetupError, match=name):
        load_settings()


def test_an_index_is_read_only_before_it_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other order is a typing error."""
    monkeypatch.setenv("TRAILSINK_READ_ONLY_DAYS", "30")
    assert load_settings().read_only_days == 30
    monkeypatch.setenv("TRAILSINK_RETENTION_DAYS", "30")

    with pytest.raises(SetupError, match="READ_ONLY_DAYS is not below TRAILSINK_RETENTION_DAYS"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("RETENTION_DAYS", "x", "TRAILSINK_RETENTION_DAYS: it should be a whole number."),
        ("REQUEST_SECONDS", "soon", "TRAILSINK_REQUEST_SECONDS: it should be a number."),
        ("LEDGER", "perhaps", "TRAILSINK_LEDGER: it should be true or false."),
        ("RETENTION_DAYS", "-1", "TRAILSINK_RETENTION_DAYS: it should be greater than or equal to 0."),
    ],
)
def test_a_wrong_setting_is_described_in_plain_words(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, text: str
) -> None:
    """Whoever set it knows nothing of the library that reads it."""
    monkeypatch.setenv(f"TRAILSINK_{name}", value)

    with pytest.raises(SetupError) as raised:
        load_settings()

    assert str(raised.value) == f"Wrong settings: {text}"


def test_every_wrong_setting_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One deployment to mend them all."""
    monkeypatch.setenv("TRAILSINK_BULK_ACTIONS", "none")
    monkeypatch.setenv("TRAILSINK_FETCH_AHEAD", "none")

    with pytest.raises(SetupError, match=r"TRAILSINK_BULK_ACTIONS.*TRAILSINK_FETCH_AHEAD"):
        load_settings()


def test_what_is_said_of_a_wrong_setting_does_not_quote_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address may hold a password by mistake, and the sentence goes into a log."""
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", "user:SECRET@search.example.com")

    with pytest.raises(SetupError) as caught:
        load_settings()

    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("name", ["OPENSEARCH_URL", "QUEUE_URL", "DEAD_LETTER_QUEUE_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "https://ada:S3CRET@host",
        "http://ada:S3CRET@host:9200/x",
        "https://S3CRET@host",
        "https://:S3CRET@host",
        "https://ada:S3CRET@[::1",
        "https://ada:S3CRET@host:port",
        "https://ada:S3CRET@ho\u2100st",
    ],
)
def test_an_address_with_a_password_is_refused_and_not_quoted(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str
) -> None:
    """Addresses are printed, logged, and kept in state files."""
    monkeypatch.setenv(f"TRAILSINK_{name}", url)

    with pytest.raises(SetupError, match=f"TRAILSINK_{name}: ") as caught:
        load_settings()

    assert "S3CRET" not in str(caught.value)


def test_a_refused_password_comes_with_the_proper_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote it there needs to know where it belongs."""
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", "https://ada:S3CRET@host")

    with pytest.raises(SetupError, match=r"_SECRET_ARN, or TRAILSINK_OPENSEARCH_USERNAME with .*_PASSWORD_FILE\."):
        load_settings()


@pytest.mark.parametrize("name", ["opensearch_url", "queue_url", "dead_letter_queue_url"])
def test_a_setting_that_is_needed_names_its_variable_where_it_is_missing(name: str) -> None:
    """Asked for where it is used, so that a command needs only its own."""
    with pytest.raises(SetupError, match=f"TRAILSINK_{name.upper()} is not set"):
        load_settings().required(name)


def test_settings_are_frozen() -> None:
    """What was read once is what every part works with."""
    with pytest.raises(ValidationError):
        load_settings().bulk_actions = 1  # type: ignore[misc]


def test_no_setting_is_a_password() -> None:
    """Environments are printed, logged and shown in consoles: only where a password is kept may stand there."""
    secret = [name for name in Settings.model_fields if any(word in name for word in ("password", "secret", "token"))]

    assert all(name.endswith(("_file", "_arn")) for name in secret)


def test_every_setting_is_described() -> None:
    """The README's table is made of it."""
    assert all(field.description for field in Settings.model_fields.values())


def test_every_limit_of_the_consumer_is_a_setting_with_the_same_default() -> None:
    """Two defaults would be one that nobody runs with."""
    defaults = {name: Settings.model_fields[name].default for name in Limits.__struct_fields__}

    assert Limits(**defaults) == Limits()


def test_the_longest_wait_gives_a_day_of_outage_before_sqs_gives_up() -> None:
    """Forty receives, at three quarters of the wait in the worst case."""
    limits = load_settings().limits
    waits = [min(limits.backoff_seconds << receive, limits.backoff_max_seconds) * 0.75 for receive in range(39)]

    assert sum(waits) > 24 * 3600


@pytest.mark.parametrize(
    ("url", "service", "serverless"),
    [
        ("https://abc.eu-west-1.aoss.amazonaws.com", "auto", True),
        ("https://vpc-a-b.eu-west-1.es.amazonaws.com", "auto", False),
        ("https://abc.aoss.eu-west-1.on.aws", "auto", True),
        ("https://abc.cn-north-1.aoss.amazonaws.com.cn", "auto", True),
        ("https://vpc-a-b.aos.eu-west-1.on.aws", "auto", False),
        ("https://behind.example:9200/path", "aoss", True),
        ("https://abc.eu-west-1.aoss.amazonaws.com", "es", False),
        ("", "auto", False),
    ],
)
def test_a_collection_is_told_by_its_address_unless_the_service_is_named(
    monkeypatch: pytest.MonkeyPatch, url: str, service: str, *, serverless: bool
) -> None:
    """It cannot be asked, and every command has to think the same of it."""
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_URL", url)
    monkeypatch.setenv("TRAILSINK_OPENSEARCH_SERVICE", service)

    assert load_settings().is_serverless is serverless


@pytest.mark.parametrize("url", ["https://sqs.eu-west-1.amazonaws.com/1/trail", "http://127.0.0.1:1/1/trail/", "trail"])
def test_a_queue_is_named_by_the_end_of_its_url(url: str) -> None:
    """Metrics are written and read under that name."""
    assert queue_name(url) == "trail"


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("BUCKET_ACCOUNT", "acme", "the 12 digits of an account"),
        ("INDEX_PREFIX", "A b", "lower-case letters, digits"),
        ("TRAIL_PREFIX", "AWSLogs", "with a slash at its end"),
        ("TRAIL_PREFIX", "/AWSLogs/", "with a slash at its end, and none at its start"),
    ],
)
def test_a_value_that_does_not_match_is_refused_with_its_rule(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, rule: str
) -> None:
    """A pattern says nothing to most people."""
    monkeypatch.setenv(f"TRAILSINK_{name}", value)

    with pytest.raises(SetupError, match=f"TRAILSINK_{name}: {rule}"):
        load_settings()
