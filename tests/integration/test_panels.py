"""Each panel's search, as Dashboards sends it, on a real node with the events of tests/data, counted again by hand."""

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


def made() -> list[Record]:
    """Events of kinds that the busy hour of tests/data does not have."""
    objects = [{"type": "AWS::S3::Object", "ARN": f"arn:aws:s3:::acme/{number}"} for number in range(3)]
    failed = {"eventName": "ConsoleLogin", "eventSource": "signin.amazonaws.com", "eventCategory": "Management"}
    degraded = {"object": "s3://b/odd", "position": 0, "indexed_at": "2026-03-01T10:06:00Z", "degraded": "too_deep"}
    return [
        *(event(resources=[BUCKET, one], recipientAccountId="123456789012") for one in objects),
        event(eventName="PutObject", resources=[objects[0], BUCKET]),
        event(**failed, errorMessage="Failed authentication", userIdentity={"type": "IAMUser", "userName": "x"}),
        event(eventName="CreateUser", eventCategory="Management", userIdentity=ROOT, recipientAccountId="123456789012"),
        event(eventName="CreateUser", userIdentity=ROOT | {"invokedBy": "AWS Internal"}),
        event(trailsink=degraded),
        event(trailsink=degraded | {"position": 1, "degraded": "mapper_parsing_exception"}, eventSource=None),
    ]


def at(path: str, instead: str | None = None) -> Callable[[Record], list[Any]]:
    """What an event has at a path: values, and lists of values in lists."""

    def values(one: Record) -> list[Any]:
        found: list[Any] = [one]
        for name in path.split("."):
            below = [node.get(name) for node in found if isinstance(node, dict)]
            found = [value for node in below for value in (node if isinstance(node, list) else [node])]
        told = [value for value in found if value is not None]
        return told or ([instead] if instead else [])

    return values


def only(values: Callable[[Record], list[Any]], keep: Callable[[str], bool]) -> Callable[[Record], list[Any]]:
    return lambda one: [value for value in values(one) if keep(value)]


def ten_minutes(one: Record) -> list[int]:
    seconds = datetime.fromisoformat(one["eventTime"]).timestamp()
    return [int(seconds // 600 * 600_000)]


def caller(one: Record) -> str:
    return str((at("userIdentity.type")(one) or [""])[0])


def is_denied(one: Record) -> bool:
    code = one.get("errorCode") or ""
    return "AccessDenied" in code or "Unauthorized" in code


def is_user_without_mfa(one: Record) -> bool:
    with_mfa = at("userIdentity.sessionContext.attributes.mfaAuthenticated")(one) == ["true"]
    return caller(one) in ("IAMUser", "Root") and not with_mfa and not at("userIdentity.invokedBy")(one)


ASSUMES = ("AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity")
EXPECTED: dict[str, tuple[Callable[[Record], bool], list[Callable[[Record], list[Any]]]]] = {
    "Calls by service over time": (lambda _: True, [at("eventSource"), ten_minutes]),
    "Calls by service": (lambda _: True, [at("eventSource")]),
    "Errors": (lambda one: bool(one.get("errorCode")), [at("errorCode"), at("eventName")]),
    "Console logins": (
        lambda one: one["eventName"] == "ConsoleLogin",
        [
            at("userIdentity.arn", MISSING),
            at("sourceIPAddress"),
            at("additionalEventData.MFAUsed", MISSING),
            lambda one: ["failed" if one.get("errorMessage") else "succeeded"],
        ],
    ),
    "Use of root": (
        lambda one: caller(one) == "Root" and not at("userIdentity.invokedBy")(one),
        [at("recipientAccountId"), at("eventName"), at("sourceIPAddress")],
    ),
    "Who assumed what": (
        lambda one: one["eventName"] in ASSUMES and not one.get("errorCode"),
        [at("userIdentity.arn", MISSING), only(at("resources.ARN"), lambda arn: ":role/" in arn)],
    ),
    "Denied calls by principal": (is_denied, [at("userIdentity.arn", MISSING), at("eventName"), at("errorCode")]),
    "Calls by region": (lambda _: True, [at("awsRegion")]),
    "Calls by source address": (lambda _: True, [at("sourceIPAddress")]),
    "Calls by user agent": (lambda _: True, [at("userAgent")]),
    "Calls of users without MFA": (is_user_without_mfa, [at("userIdentity.arn", MISSING), at("eventName")]),
    "Data events by bucket": (
        lambda one: one.get("eventCategory") == "Data" and one.get("eventSource") == "s3.amazonaws.com",
        [only(at("resources.ARN"), lambda arn: "/" not in arn), at("eventName")],
    ),
    "Degraded records by cause": (
        lambda one: bool(at("trailsink.degraded")(one)),
        [at("trailsink.degraded"), at("eventSource", MISSING)],
    ),
    "Newest by account and region": (lambda _: True, [at("recipientAccountId", MISSING), at("awsRegion")]),
}


def counted(given: list[Record], title: str) -> Counter[tuple[Any, ...]]:
    wanted, groups = EXPECTED[title]
    return Counter(row for one in given if wanted(one) for row in product(*(group(one) for group in groups)))


@pytest.mark.parametrize("also", [False, True], ids=["real events", "made events, too"])
def test_every_panel_counts_what_the_events_hold(bench: Bench, also: bool) -> None:  # noqa: FBT001
    """A panel that is silently wrong is worse than none: each number is counted again from the files."""
    given = [*real_records(), *(made() if also else [])]
    given = [{"sourceIPAddress": "192.0.2.1", **one} for one in given]
    index(bench, given)
    panels = visualizations(ndjson(bench.prefix))

    empty = set()
    for title in EXPECTED:
        panel = panels[title]
        found = rows(answers(bench.opensearch, f"{bench.prefix}-*", panel), panel)
        expected = counted(given, title)

        assert {row[:-1]: row[-1] for row in found} == {row[:-1]: expected[row[:-1]] for row in found}, title
        assert all(number for *_, number in found)
        groups = [one for one in panel["state"]["aggs"] if one["schema"] != "metric"]
        most = groups[0]["params"].get("size", len(given))
        assert len({row[0] for row in found}) == min(most, len({row[0] for row in expected})), title
        if not found:
            empty.add(title)

    assert empty == (set() if also else {"Use of root", "Data events by bucket", "Degraded records by cause"})


def test_the_pictures_of_the_readme_show_what_the_panels_answer(bench: Bench, tmp_path: Path) -> None:
    """`make pictures` draws them; what is committed must be what it would draw now."""
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


def test_the_panels_of_figures_tell_totals_files_and_lag(bench: Bench) -> None:
    """Lag is reckoned from two dates by a script, in seconds."""
    day = "2026-03-01T10:"
    for minute, file in ((1, "a"), (5, "a"), (9, "b")):
        mark = {"object": f"s3://b/{file}", "position": minute, "indexed_at": f"{day}{minute:02}:00Z"}
        index(bench, [event(eventTime=f"{day}00:00Z", trailsink=mark)])
    panels = visualizations(ndjson(bench.prefix))

    def ask(title: str) -> Any:
        return answers(bench.opensearch, f"{bench.prefix}-*", panels[title])

    totals, lag, over_time = (
        ask("Indexed"),
        ask("Seconds from event to index"),
        ask("Events by the time they were indexed"),
    )

    assert totals["hits"]["total"]["value"] == 3
    assert totals["aggregations"]["2"]["value"] == 2
    assert totals["aggregations"]["3"]["value_as_string"] == f"{day}09:00.000Z"
    (bucket,) = lag["aggregations"]["2"]["buckets"]
    assert bucket["1"]["values"]["50.0"] == 300.0
    assert bucket["1"]["values"]["99.0"] == 540.0
    assert [one["doc_count"] for one in over_time["aggregations"]["2"]["buckets"]] == [3]
    assert ask("Events")["aggregations"]["2"]["value"] == 1
