"""Promises about a selection: a time range is meant for events, and prefixes may be written in several ways."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from tests.support.fake_backfill import ACCOUNTS, START, log_key
from worker.backfill.selection import ALLOWED_LATENESS, Selection, nested_root, root_of, time_range
from worker.cloudtrail.keys import parse_key


def test_an_event_before_midnight_is_in_the_file_of_the_next_day() -> None:
    """January's last events are delivered on the first of February: selecting January must include them."""
    january = Selection(datetime(2025, 2, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    late = parse_key(
        log_key("", "", ACCOUNTS[0], "CloudTrail", "eu-west-1", datetime(2025, 2, 1, 0, 5, tzinfo=UTC)), "AWSLogs/"
    )
    too_late = parse_key(
        log_key("", "", ACCOUNTS[0], "CloudTrail", "eu-west-1", datetime(2025, 2, 1, 1, tzinfo=UTC)), "AWSLogs/"
    )

    assert late
    assert too_late
    assert january.matches(late)
    assert not january.matches(too_late)


def test_a_key_names_organisation_account_kind_region_and_time() -> None:
    """The parts of a real key of an organisation's trail."""
    key = (
        "sec/AWSLogs/o-exampleorgid/123456789012/CloudTrail-Insight/eu-west-1/2025/01/31/"
        "123456789012_CloudTrail-Insight_eu-west-1_20250131T2355Z_AbCdEf0123456789.json.gz"
    )

    parts = parse_key(key, "sec/AWSLogs/")

    assert parts
    assert (parts.org, parts.account, parts.kind, parts.region) == (
        "o-exampleorgid",
        "123456789012",
        "CloudTrail-Insight",
        "eu-west-1",
    )
    assert (parts.day, parts.delivered_at) == (date(2025, 1, 31), datetime(2025, 1, 31, 23, 55, tzinfo=UTC))


@pytest.mark.parametrize(
    ("prefix", "root"),
    [
        ("", ""),
        ("/", ""),
        ("AWSLogs/", ""),
        ("prod", "prod/"),
        ("/prod/eu/AWSLogs", "prod/eu/"),
        ("myAWSLogs", "myAWSLogs/"),
    ],
)
def test_a_root_is_what_comes_before_awslogs_however_the_prefix_is_written(prefix: str, root: str) -> None:
    """People copy it from the console: with slashes, with AWSLogs/ at its end, or without."""
    assert root_of(prefix) == root


def test_a_root_inside_another_is_found() -> None:
    """Their files would not be in order."""
    assert nested_root({"", "AWSLogs/copy/"}) == "AWSLogs/copy/"
    assert nested_root({"prod/", "prod/eu/"}) == ""


@pytest.mark.parametrize(
    ("since", "until", "last", "expected"),
    [
        (None, None, None, (None, START)),
        (None, None, timedelta(days=7), (START - timedelta(days=7), START)),
        (
            START - ALLOWED_LATENESS,
            START - ALLOWED_LATENESS / 2,
            None,
            (START - ALLOWED_LATENESS, START - ALLOWED_LATENESS / 2),
        ),
        (None, START + timedelta(hours=3), None, (None, START + timedelta(hours=3))),
        (None, START + timedelta(days=400), None, (None, START + timedelta(days=1))),
    ],
)
def test_a_time_range_ends_now_or_at_most_a_day_ahead(
    since: datetime | None, until: datetime | None, last: timedelta | None, expected: tuple[datetime | None, datetime]
) -> None:
    """No file is delivered in the future, so none of its folders is listed; clocks differ by less than a day."""
    assert time_range(START, since=since, until=until, last=last) == expected
