"""Each panel's search, as Dashboards sends it, on a real node with the events of tests/data, counted again in code."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from datetime import datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.dashboards_client import MISSING, answers, rows, visualizations
from tests.support.event_files import event, real_records
from tests.support.index_documents import index
from worker.opensearch.dashboards import ndjson

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Bench

CHECKOUT = Path(__file__).parents[2]

Record = dict[str, Any]

BUCKET = {"accountId": "123456789012", "type": "AWS::S3::Bucket", "ARN": "arn:aws:s3:::acme"}
ROOT = {"type": "Root", "arn": "arn:aws:iam::123456789012:root", "accountId": "123456789012"}


def synthetic_events() -> list[Record]:
    """Events of kinds that the busy hour of tests/data does not have."""
    objects = [{"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::acme/{number}"} for number in range(3)]
    failed = {"eventName": "ConsoleLogin", "eventSource": "signin.amazonaws.com", "eventCategory": "Management"}
    degraded = {"object": "s3://b/odd", "position": 0, "indexed_at": "2026-03-01T10:06:00Z", "degraded": "too_deep"}
    return [
        *(event(resources=[BUCKET, object_], recipientAccountId="123456789012") for object_ in objects),
        event(eventName="PutObject", resources=[objects[0], BUCKET]),
        event(**failed, errorMessage="Failed authentication", userIdentity={"type": "IAMUser", "userName": "x"}),
        event(eventName="CreateUser", eventCategory="Management", userIdentity=ROOT, recipientAccountId="123456789012"),
        event(eventName="CreateUser", userIdentity=ROOT | {"invokedBy": "AWS Internal"}),
        event(trailsink=degraded),
        event(trailsink=degraded | {"position": 1, "degraded": "mapper_parsing_exception"}, eventSource=None),
    ]


def field(path: str, default: str | None = None) -> Callable[[Record], list[Any]]:
    """A function that returns an event's values at a path, those in lists too; `default` in place of none."""

    def values(record: Record) -> list[Any]:
        nodes: list[Any] = [record]
        for name in path.split("."):
            children = [node.get(name) for node in nodes if isinstance(node, dict)]
            nodes = [value for node in children for value in (node if isinstance(node, list) else [node])]
        present = [value for value in nodes if value is not None]
        return present or ([default] if default else [])

    return values


def only(values: Callable[[Record], list[Any]], keep: Callable[[str], bool]) -> Callable[[Record], list[Any]]:
    return lambda record: [value for value in values(record) if keep(value)]


def ten_minutes(record: Record) -> list[int]:
    seconds = datetime.fromisoformat(record["eventTime"]).timestamp()
    return [int(seconds // 600 * 600_000)]


def caller_type(record: Record) -> str:
    return str((field("userIdentity.type")(record) or [""])[0])


def is_denied(record: Record) -> bool:
    code = record.get("errorCode") or ""
    return "AccessDenied" in code or "Unauthorized" in code


def is_user_without_mfa(record: Record) -> bool:
    with_mfa = field("userIdentity.sessionContext.attributes.mfaAuthenticated")(record) == ["true"]
    return caller_type(record) in ("IAMUser", "Root") and not with_mfa and not field("userIdentity.invokedBy")(record)


ASSUMES = ("AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity")
EXPECTED: dict[str, tuple[Callable[[Record], bool], list[Callable[[Record], list[Any]]]]] = {
    "Calls by service over time": (lambda _: True, [field("eventSource"), ten_minutes]),
    "Calls by service": (lambda _: True, [field("eventSource")]),
    "Errors": (lambda record: bool(record.get("errorCode")), [field("errorCode"), field("eventName")]),
    "Console logins": (
        lambda record: record["eventName"] == "ConsoleLogin",
        [
            field("userIdentity.arn", MISSING),
            field("sourceIPAddress"),
            field("additionalEventData.MFAUsed", MISSING),
            lambda record: ["failed" if record.get("errorMessage") else "succeeded"],
        ],
    ),
    "Use of root": (
        lambda record: caller_type(record) == "Root" and not field("userIdentity.invokedBy")(record),
        [field("recipientAccountId"), field("eventName"), field("sourceIPAddress")],
    ),
    "Who assumed what": (
        lambda record: record["eventName"] in ASSUMES and not record.get("errorCode"),
        [field("userIdentity.arn", MISSING), only(field("resources.ARN"), lambda arn: ":role/" in arn)],
    ),
    "Denied calls by principal": (
        is_denied,
        [field("userIdentity.arn", MISSING), field("eventName"), field("errorCode")],
    ),
    "Calls by region": (lambda _: True, [field("awsRegion")]),
    "Calls by source address": (lambda _: True, [field("sourceIPAddress")]),
    "Calls by user agent": (lambda _: True, [field("userAgent")]),
    "Calls of users without MFA": (is_user_without_mfa, [field("userIdentity.arn", MISSING), field("eventName")]),
    "Data events by bucket": (
        lambda record: record.get("eventCategory") == "Data" and record.get("eventSource") == "s3.amazonaws.com",
        [only(field("resources.ARN"), lambda arn: "/" not in arn), field("eventName")],
    ),
    "Degraded records by cause": (
        lambda record: bool(field("trailsink.degraded")(record)),
        [field("trailsink.degraded"), field("eventSource", MISSING)],
    ),
    "Newest by account and region": (lambda _: True, [field("recipientAccountId", MISSING), field("awsRegion")]),
}


def expected_rows(records: list[Record], title: str) -> Counter[tuple[Any, ...]]:
    is_counted, groups = EXPECTED[title]
    counted = (record for record in records if is_counted(record))
    return Counter(row for record in counted for row in product(*(group(record) for group in groups)))


@pytest.mark.parametrize("with_synthetic", [False, True], ids=["real events", "synthetic events, too"])
def test_every_panel_counts_the_events(bench: Bench, with_synthetic: bool) -> None:  # noqa: FBT001
    """A panel that is silently wrong is worse than none: each number is counted again from the files."""
    records = [*real_records(), *(synthetic_events() if with_synthetic else [])]
    records = [{"sourceIPAddress": "192.0.2.1", **record} for record in records]
    index(bench, records)
    panels = visualizations(ndjson(bench.prefix))

    empty = set()
    for title in EXPECTED:
        panel = panels[title]
        shown = rows(answers(bench.opensearch, f"{bench.prefix}-*", panel), panel)
        expected = expected_rows(records, title)

        assert {row[:-1]: row[-1] for row in shown} == {row[:-1]: expected[row[:-1]] for row in shown}, title
        assert all(number for *_, number in shown)
        groups = [agg for agg in panel["state"]["aggs"] if agg["schema"] != "metric"]
        size = groups[0]["params"].get("size", len(records))
        assert len({row[0] for row in shown}) == min(size, len({row[0] for row in expected})), title
        if not shown:
            empty.add(title)

    assert empty == (set() if with_synthetic else {"Use of root", "Data events by bucket", "Degraded records by cause"})


def test_the_pictures_of_the_readme_show_what_the_panels_answer(bench: Bench, tmp_path: Path) -> None:
    """`make pictures` draws them; the committed files must be those that it would draw now."""
    index(bench, real_records())
    command = [
        sys.executable,
        "-m",
        "infra.generate.pictures",
        bench.settings.opensearch_url,
        bench.prefix,
        str(tmp_path),
    ]

    subprocess.run(command, cwd=CHECKOUT, capture_output=True, timeout=60, check=True)

    committed = sorted((CHECKOUT / "docs" / "pictures").iterdir())
    assert [path.name for path in committed] == sorted(path.name for path in tmp_path.iterdir())
    for path in committed:
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
        assert path.stat().st_size < 60_000
        assert b"<script" not in path.read_bytes()


def test_the_panels_of_numbers_show_totals_files_and_lag(bench: Bench) -> None:
    """A script computes the lag from two dates, in seconds."""
    day = "2026-03-01T10:"
    for minute, file in ((1, "a"), (5, "a"), (9, "b")):
        origin = {"object": f"s3://b/{file}", "position": minute, "indexed_at": f"{day}{minute:02}:00Z"}
        index(bench, [event(eventTime=f"{day}00:00Z", trailsink=origin)])
    panels = visualizations(ndjson(bench.prefix))

    def answer(title: str) -> Any:
        return answers(bench.opensearch, f"{bench.prefix}-*", panels[title])

    totals, lag = answer("Indexed"), answer("Seconds from event to index")
    over_time = answer("Events by the time they were indexed")

    assert totals["hits"]["total"]["value"] == 3
    assert totals["aggregations"]["2"]["value"] == 2
    assert totals["aggregations"]["3"]["value_as_string"] == f"{day}09:00.000Z"
    (bucket,) = lag["aggregations"]["2"]["buckets"]
    assert bucket["1"]["values"]["50.0"] == 300.0
    assert bucket["1"]["values"]["99.0"] == 540.0
    assert [bucket["doc_count"] for bucket in over_time["aggregations"]["2"]["buckets"]] == [3]
    assert answer("Events")["aggregations"]["2"]["value"] == 1
