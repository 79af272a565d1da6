"""Promises about what an object is, told by its key."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import ACCOUNT, key
from worker.cloudtrail.keys import Ignored, LogFile, classify


@pytest.mark.parametrize(
    "kind", ["CloudTrail", "CloudTrail-Insight", "CloudTrail-NetworkActivity", "CloudTrail-Aggregated"]
)
@pytest.mark.parametrize("prefix", ["", "trail/", "a/b/"])
@pytest.mark.parametrize("organisation", ["", "o-abcdefghij/"])
def test_every_kind_of_event_file_is_read_wherever_the_trail_puts_it(prefix: str, organisation: str, kind: str) -> None:
    """Prefixes are the operator's, and organisation trails insert their id."""
    name = prefix + key(kind=kind).replace("AWSLogs/", f"AWSLogs/{organisation}")

    found = classify(name)

    assert found == LogFile(kind, datetime(2026, 11, 23, 10, 5, tzinfo=UTC))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param(key(kind="CloudTrail-Digest"), "digest", id="digest"),
        pytest.param(f"AWSLogs/o-abcdefghij/{ACCOUNT}/CloudTrail-Digest/x.json.gz", "digest", id="organisation digest"),
        pytest.param(key(kind="Config"), "service_Config", id="Config"),
        pytest.param(f"p/AWSLogs/{ACCOUNT}/vpcflowlogs/eu-central-1/x.log.gz", "service_vpcflowlogs", id="flow logs"),
        pytest.param(f"AWSLogs/{ACCOUNT}/elasticloadbalancing/x.log.gz", "service_elasticloadbalancing", id="ELB"),
    ],
)
def test_what_holds_no_events_is_ignored_by_name(name: str, expected: str) -> None:
    """A digest arrives every hour per region: as an error it would fill the dead letters, unnamed it would hide."""
    assert classify(name) == Ignored(expected)


def test_a_folder_marker_with_content_is_read() -> None:
    """Only an empty object can be thrown away by the look of its name."""
    assert isinstance(classify("somebody/", 10), LogFile)
    assert isinstance(classify("somebody/", None), LogFile)
    assert classify("somebody/", 0) == Ignored("folder_marker")
    assert classify(f"AWSLogs/{ACCOUNT}/CloudTrail/", 0) == Ignored("folder_marker")


@pytest.mark.parametrize(
    "name",
    [
        "x.json.gz",
        "AWSLogs/x.json.gz",
        f"AWSLogs/{ACCOUNT}/SomethingNew/x.json.gz",
        f"AWSLogs/{ACCOUNT}/config/x.json.gz",
        f"myAWSLogs/{ACCOUNT}/CloudTrail-Digest/x.json.gz",
        "AWSLogs/12345/CloudTrail-Digest/x.json.gz",
        f"AWSLogs/{ACCOUNT}/ConfigWritabilityCheckFile",
    ],
)
def test_a_key_of_no_known_layout_is_read(name: str) -> None:
    """Not recognising a key must never mean losing its events: the content decides."""
    assert isinstance(classify(name), LogFile)


@pytest.mark.parametrize(
    ("delivered", "expected"),
    [
        ("20261123T1005Z", datetime(2026, 11, 23, 10, 5, tzinfo=UTC)),
        ("20240229T2359Z", datetime(2024, 2, 29, 23, 59, tzinfo=UTC)),
        ("20230229T1005Z", None),
        ("20261123T2505Z", None),
        ("00000000T0000Z", None),
        ("20261123T100500Z", None),
        ("now", None),
    ],
)
def test_the_delivery_time_is_the_one_in_the_files_name(delivered: str, expected: datetime | None) -> None:
    """It dates records that have no time of their own; digits that are no date date nothing."""
    found = classify(key(delivered=delivered))

    assert found == LogFile("CloudTrail", expected)


@given(name=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_no_key_is_too_strange_to_classify(name: str) -> None:
    """Keys come from outside."""
    assert isinstance(classify(name), LogFile | Ignored)
