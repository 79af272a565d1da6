"""Promises about what an object is, told by its key."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import ACCOUNT, key
from worker.cloudtrail.keys import KINDS, Ignored, LogFile, classify


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
        pytest.param(
            f"AWSLogs/{ACCOUNT}/BedrockModelInvocationLogs/eu-west-1/2026/11/23/10/x.json.gz",
            "service_BedrockModelInvocationLogs",
            id="Bedrock",
        ),
        pytest.param(f"AWSLogs/{ACCOUNT}/CloudFront/E2.2026-11-23-10.abc.gz", "service_CloudFront", id="CloudFront v2"),
        pytest.param(f"AWSLogs/o-abcdefghij/{ACCOUNT}/SomethingNew/x.json.gz", "service_SomethingNew", id="any other"),
        pytest.param(
            f"AWSLogs/aws-account-id={ACCOUNT}/aws-service=vpcflowlogs/aws-region=eu-west-1/year=2026/x.log.gz",
            "service_vpcflowlogs",
            id="Hive",
        ),
        pytest.param(
            f"p/AWSLogs/o-abcdefghij/aws-account-id={ACCOUNT}/aws-service=new/x.gz", "service_new", id="Hive, any other"
        ),
        pytest.param(f"AWSLogs/{ACCOUNT}/ELBAccessLogTestFile", "service_ELBAccessLogTestFile", id="ELB's test"),
        pytest.param(f"AWSLogs/{ACCOUNT}/a\nb\x1b[2J/x.json.gz", "service_other", id="a folder of odd characters"),
        pytest.param(f"AWSLogs/{ACCOUNT}/{'a' * 41}/x.json.gz", "service_other", id="a folder of a long name"),
    ],
)
def test_what_holds_no_events_is_ignored_by_name(name: str, expected: str) -> None:
    """A digest arrives every hour per region: as an error it would fill the dead letters, unnamed it would hide."""
    assert classify(name) == Ignored(expected)


DIGEST = f"{ACCOUNT}_CloudTrail-Digest_eu-west-1_trail_eu-west-1_20261123T070000Z.json.gz"


@pytest.mark.parametrize(
    "folder", ["", "replica/", f"{ACCOUNT}/CloudTrail-Digest/eu-west-1/2026/11/23/", f"AWSLogs/copy/{ACCOUNT}/Digest/"]
)
def test_a_digest_is_known_by_its_name_in_any_folder(folder: str) -> None:
    """Copies keep the name and lose the layout: each was a dead letter per region and hour."""
    assert classify(folder + DIGEST) == Ignored("digest")


@pytest.mark.parametrize("folder", ["", "copies/", f"AWSLogs/{ACCOUNT}/Config/", f"AWSLogs/{ACCOUNT}/mine/2026/"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_with_a_log_files_name_is_read_in_any_folder(folder: str, kind: str) -> None:
    """A folder of another name must not hide a copy of a log file, so the file's own name goes first."""
    name = key(kind=kind).rpartition("/")[2]

    assert classify(folder + name) == LogFile(kind, datetime(2026, 11, 23, 10, 5, tzinfo=UTC))


@pytest.mark.parametrize(
    "name",
    [
        f"AWSLogs/{ACCOUNT}/CloudTrail_$folder$",
        "AWSLogs_$folder$",
        "a/.emptyDir",
        "a/.keep",
        "a/_SUCCESS",
        "a/b/",
        f"AWSLogs/{ACCOUNT}/CloudTrail/eu-west-1/2026/",
    ],
)
def test_an_empty_marker_of_any_tool_is_ignored(name: str) -> None:
    """Hadoop, consoles and sync tools write objects of 0 bytes for folders and finished jobs."""
    assert classify(name, 0) == Ignored("folder_marker")
    assert classify(name, 1) == classify(name, None)
    assert isinstance(classify(name, 1), LogFile)


@pytest.mark.parametrize("name", [key(), "a.json.gz", "a/.hidden.json.gz", "a/_b.gz", "a/_b.JSON", "a/named by hand"])
def test_an_empty_file_is_no_marker(name: str) -> None:
    """A file that should hold events and holds nothing has to be looked at."""
    assert isinstance(classify(name, 0), LogFile)


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
        f"AWSLogs/{ACCOUNT}/x.json.gz",
        f"AWSLogs/copy/{ACCOUNT}/SomethingNew/x.json.gz",
        f"AWSLogs/{ACCOUNT}/CloudTrail-SomethingNew/x.json.gz",
        f"AWSLogs/{ACCOUNT}/CloudTrail-Lake/Query/2026/11/23/id/result_1.csv.gz",
        f"AWSLogs/aws-account-id={ACCOUNT}/aws-service=cloudtrail/x.gz",
        "AWSLogs/aws-account-id=12/aws-service=vpcflowlogs/x.gz",
        f"myAWSLogs/{ACCOUNT}/CloudTrail-Digest/x.json.gz",
        "AWSLogs/12345/CloudTrail-Digest/x.json.gz",
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


PARTS = st.sampled_from(
    [
        "AWSLogs",
        "",
        ACCOUNT,
        "o-abcdefghij",
        "CloudTrail",
        "CloudTrail-Insight",
        "CloudTrail-New",
        "Config",
        "p",
        "2026",
    ]
)


@given(folders=st.lists(PARTS, max_size=6), name=st.sampled_from(["x.json.gz", key().rpartition("/")[2]]))
def test_only_below_an_account_can_a_folder_hide_a_file(folders: list[str], name: str) -> None:
    """The rule for other services must not reach into folders that somebody else laid out."""
    kind = classify("/".join([*folders, name]), 10)

    assert isinstance(kind, LogFile) or (ACCOUNT in folders and "AWSLogs" in folders and name == "x.json.gz")
