"""Each panel's search, as Dashboards sends it, on a real node with the events of tests/data, counted again in code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.dashboards_client import MISSING, answers, rows, visualizations
from tests.support.event_files import event, real_records
from tests.support.index_documents import index
from worker.boards.importer import newest_times
from worker.boards.index_pattern import event_fields, leaf_names, ledger_fields, pattern_attributes, verdict_fields
from worker.boards.panels import Pattern
from worker.boards.saved_objects import BOARDS, ndjson, saved_objects
from worker.boards.searches import panel_aggregations, panel_rows
from worker.cloudtrail.request_fields import read_request
from worker.opensearch.field_kinds import read_field_kinds
from worker.opensearch.ledger_setup import LedgerOptions, install_ledger
from worker.opensearch.query import translate
from worker.opensearch.security import verdict_index
from worker.opensearch.verdicts import record_verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Bench

CHECKOUT = Path(__file__).parents[2]
MOMENT = datetime(2026, 3, 1, tzinfo=UTC)

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


def as_indexed(record: Record) -> Record:
    """An event with the request parameters that the loader picks out of it."""
    request = json.loads(read_request(json.dumps(record).encode()) or b"{}")
    origin = {"object": "s3://b/k", "position": 0, "indexed_at": "2026-03-01T10:06:00Z"} | record.get("trailsink", {})
    return record | {"trailsink": origin | {"request": request}}


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


def is_failed_login(record: Record) -> bool:
    return record["eventName"] == "ConsoleLogin" and bool(record.get("errorMessage"))


def is_login(record: Record) -> bool:
    return record["eventName"] == "ConsoleLogin" and not record.get("errorMessage")


def assumes_role(record: Record) -> bool:
    return record["eventName"] in ASSUMES and not record.get("errorCode")


def is_root(record: Record) -> bool:
    return caller_type(record) == "Root" and not field("userIdentity.invokedBy")(record)


def outcome(record: Record) -> list[str]:
    if not record.get("errorCode"):
        return ["succeeded"]
    return ["denied" if is_denied(record) else "failed"]


def is_role(arn: str) -> bool:
    return ":role/" in arn


def every(_: Record) -> bool:
    return True


ASSUMES = ("AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity")
ARN, KIND, ADDRESS = field("userIdentity.arn", MISSING), field("userIdentity.type"), field("sourceIPAddress")
EXPECTED: dict[str, tuple[Callable[[Record], bool], list[Callable[[Record], list[Any]]]]] = {
    "outcome-over-time": (every, [outcome, ten_minutes]),
    "changes-over-time": (
        lambda record: record.get("readOnly") is False,
        [field("eventSource"), ten_minutes],
    ),
    "denied-calls": (is_denied, [field("userIdentity.type", MISSING), ARN, field("eventName"), field("errorCode")]),
    "failed-logins": (is_failed_login, [ARN, ADDRESS, field("errorMessage")]),
    "successful-logins": (is_login, [ARN, ADDRESS, field("additionalEventData.MFAUsed", MISSING)]),
    "assumed-roles": (
        lambda record: assumes_role(record) and caller_type(record) != "AWSService",
        [KIND, ARN, only(field("resources.ARN"), is_role)],
    ),
    "roles-of-services": (
        lambda record: assumes_role(record) and caller_type(record) == "AWSService",
        [field("userIdentity.invokedBy", MISSING), only(field("resources.ARN"), is_role)],
    ),
    "root-use": (is_root, [field("recipientAccountId"), field("eventName"), ADDRESS]),
    "busiest-callers": (every, [field("userIdentity.arn")]),
    "errors": (lambda record: bool(record.get("errorCode")), [field("errorCode"), field("eventName")]),
    "calls-by-address": (every, [ADDRESS]),
    "calls-by-agent": (every, [field("userAgent")]),
    "calls-by-region": (every, [field("recipientAccountId", MISSING), field("awsRegion")]),
    "without-mfa": (is_user_without_mfa, [ARN, field("eventName")]),
    "data-events": (
        lambda record: record.get("eventCategory") == "Data" and record.get("eventSource") == "s3.amazonaws.com",
        [only(field("resources.ARN"), lambda arn: "/" not in arn), field("eventName")],
    ),
    "calls-over-time": (every, [field("eventSource"), ten_minutes]),
    "what-it-did": (
        every,
        [
            field("eventSource"),
            field("eventName"),
            lambda record: ["failed" if record.get("errorCode") else "succeeded"],
        ],
    ),
    "what-failed": (
        lambda record: bool(record.get("errorCode")),
        [field("eventName"), field("errorCode"), field("errorMessage", MISSING)],
    ),
    "callers": (every, [field("userIdentity.type", MISSING), ARN, field("userIdentity.accessKeyId", MISSING)]),
    "from-where": (every, [ADDRESS, field("userAgent")]),
    "roles-assumed": (
        lambda record: record["eventName"] in ASSUMES,
        [field("trailsink.request.roleArn"), ARN, field("errorCode", MISSING)],
    ),
    "resources": (every, [field("resources.ARN"), field("eventName")]),
    "buckets": (every, [field("trailsink.request.bucketName"), field("eventName")]),
    "instances": (every, [field("trailsink.request.instanceId"), field("eventName")]),
    "first-and-last": (every, [field("recipientAccountId", MISSING), field("awsRegion")]),
    "degraded": (
        lambda record: bool(field("trailsink.degraded")(record)),
        [field("trailsink.degraded"), field("eventSource", MISSING)],
    ),
    "newest-by-account": (every, [field("recipientAccountId", MISSING), field("awsRegion")]),
}

IAM_CHANGES = ("Create", "Delete", "Put", "Attach", "Detach", "Update", "Add", "Remove")
TRAIL_CHANGES = ("StopLogging", "DeleteTrail", "UpdateTrail", "PutEventSelectors", "DeleteFlowLogs", "DeleteDetector")
COUNTED: dict[str, Callable[[Record], bool]] = {
    "count-root": is_root,
    "count-login-no-mfa": lambda record: (
        is_login(record)
        and field("additionalEventData.MFAUsed")(record) != ["Yes"]
        and caller_type(record) in ("IAMUser", "Root")
    ),
    "count-login-failed": is_failed_login,
    "count-denied": is_denied,
    "count-trail-changed": lambda record: record["eventName"] in TRAIL_CHANGES,
    "count-iam-changed": lambda record: (
        record.get("eventSource") == "iam.amazonaws.com"
        and not record.get("errorCode")
        and record["eventName"].startswith(IAM_CHANGES)
    ),
    "count-network-changed": lambda record: (
        not record.get("errorCode")
        and re.match(
            r"(Authorize|Revoke)SecurityGroup|(Create|Delete)SecurityGroup$"
            r"|(?!Describe).*(NetworkAcl|(RouteTable|Route|InternetGateway|Vpc)$)",
            record["eventName"],
        )
        is not None
    ),
    "count-bucket-access": lambda record: (
        record.get("eventSource") == "s3.amazonaws.com"
        and not record.get("errorCode")
        and re.fullmatch(
            r"(Put|Delete)BucketPolicy|PutBucketAcl|(Put|Delete)BucketPublicAccessBlock|DeletePublicAccessBlock"
            r"|PutBucket(Cors|Lifecycle|Replication)|DeleteBucketEncryption",
            record["eventName"],
        )
        is not None
    ),
    "count-keys-disabled": lambda record: (
        not record.get("errorCode") and record["eventName"] in ("DisableKey", "ScheduleKeyDeletion", "PutKeyPolicy")
    ),
    "count-foreign-callers": lambda record: (
        record["eventName"] == "AssumeRole" and caller_type(record) == "AWSAccount" and not record.get("errorCode")
    ),
    "count-insights": lambda record: record.get("eventCategory") == "Insight",
    "count-degraded": lambda record: bool(field("trailsink.degraded")(record)),
}


def expected_rows(records: list[Record], title: str) -> Counter[tuple[Any, ...]]:
    is_counted, groups = EXPECTED[title]
    counted = (record for record in records if is_counted(record))
    return Counter(row for record in counted for row in product(*(group(record) for group in groups)))


@pytest.mark.parametrize("with_synthetic", [False, True], ids=["real events", "synthetic events, too"])
def test_every_panel_counts_the_events(bench: Bench, with_synthetic: bool) -> None:  # noqa: FBT001
    """A panel that is silently wrong is worse than none: each number is counted again from the files.

    It is asked twice: as Dashboards asks, with a query string, and as the report does.
    """
    records = [*real_records(), *(synthetic_events() if with_synthetic else [])]
    records = [as_indexed({"sourceIPAddress": "192.0.2.1", "userAgent": "x", **record}) for record in records]
    index(bench, records)
    pattern = f"{bench.prefix}-*"
    panels = visualizations(ndjson(saved_objects(bench.prefix)))
    kinds = read_field_kinds(bench.opensearch, bench.prefix)
    by_id = {panel.id: panel for board in BOARDS for panel in board.data_panels}

    empty = set()
    for name in EXPECTED:
        panel = panels[name]
        shown = rows(answers(bench.opensearch, pattern, panel), panel)
        body = {
            "size": 0,
            "query": translate(by_id[name].query, kinds),
            "aggs": panel_aggregations(by_id[name], kinds, 600),
        }
        reported = panel_rows(by_id[name], bench.opensearch.search(index=pattern, body=body)["aggregations"])
        expected = expected_rows(records, name)
        counted = [agg["type"] for agg in panel["state"]["aggs"]].index("count")

        assert {row[:-1]: row[-1] for row in shown} == {row[:-1]: expected[row[:-1]] for row in shown}, name
        assert {row.keys: row.values[counted] for row in reported} == {row[:-1]: row[-1] for row in shown}, name
        assert all(number for *_, number in shown)
        groups = [agg for agg in panel["state"]["aggs"] if agg["schema"] != "metric"]
        size = groups[0]["params"].get("size", len(records))
        assert len({row[0] for row in shown}) == min(size, len({row[0] for row in expected})), name
        if not shown:
            empty.add(name)
    for name, is_counted in COUNTED.items():
        answer = answers(bench.opensearch, pattern, panels[name])
        assert answer["hits"]["total"]["value"] == sum(map(is_counted, records)), name

    assert set(EXPECTED) | set(COUNTED) | COUNTED_ELSEWHERE == set(panels)
    synthetic = {"root-use", "data-events", "degraded", "failed-logins"}
    assert empty == (set() if with_synthetic else synthetic)


# By the tests below, and the ledger's by tests/integration/test_report.py.
COUNTED_ELSEWHERE = {"totals", "pipeline-totals", "indexed-over-time", "lag", "newest-files", "unsearchable"}
COUNTED_ELSEWHERE |= {"silent-accounts", "records-by-account", "dead-letters", "verdicts"}


def test_the_index_patterns_have_the_fields_that_the_node_reports(bench: Bench) -> None:
    """A field that is missing is an error on a board; one that is wrong cannot be filtered, or makes a panel fail."""
    index(bench, [event()])
    ledger = f"trailsink-files-{bench.prefix}-2026-03"
    list(install_ledger(bench.opensearch, LedgerOptions(bench.prefix)))
    bench.opensearch.indices.create(index=ledger)
    record_verdict(bench.opensearch, bench.prefix, MOMENT, {"verdict": "complete: nothing", "complete": True})
    leaves = set(leaf_names())
    for pattern, fields in (
        (f"{bench.prefix}-*", event_fields(bench.prefix)),
        (ledger, ledger_fields(bench.prefix)),
        (verdict_index(bench.prefix), verdict_fields()),
    ):
        reported = bench.opensearch.field_caps(index=pattern, params={"fields": "*"})["fields"]
        types = {name: next(iter(caps.items())) for name, caps in reported.items() if not name.startswith("_")}
        roots = {name for name, (type_, _) in types.items() if type_ == "flat_object"} & {
            name.partition(".")[0] for name in leaves
        }

        expected = {
            name: (type_, caps["searchable"], caps["aggregatable"])
            for name, (type_, caps) in types.items()
            if type_ not in ("object", "nested") and name not in roots and not name.endswith(".")
        }

        assert expected == {
            field["name"]: (field["esTypes"][0], field["searchable"], field["aggregatable"])
            for field in fields
            if field["name"] not in leaves and not field["name"].startswith("_")
        }


def test_the_boards_answer_over_no_event_and_over_a_single_one(bench: Bench) -> None:
    """A board is opened before the first event, and after it; no panel may be an error."""
    panels = visualizations(ndjson(saved_objects(bench.prefix)))
    for events in ([], [event()]):
        index(bench, events) if events else None
        for name, panel in panels.items():
            answer = answers(bench.opensearch, f"{bench.prefix}-*", panel)

            assert answer["_shards"]["failed"] == 0, name
            assert answer["hits"]["total"]["value"] <= len(events), name


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

    subprocess.run(command, cwd=CHECKOUT, capture_output=True, timeout=240, check=True)

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
    panels = visualizations(ndjson(saved_objects(bench.prefix)))

    def answer(title: str) -> Any:
        return answers(bench.opensearch, f"{bench.prefix}-*", panels[title])

    totals, lag = answer("pipeline-totals"), answer("lag")
    over_time = answer("indexed-over-time")

    assert totals["hits"]["total"]["value"] == 3
    assert totals["aggregations"]["2"]["value"] == 2
    files = answer("newest-files")["aggregations"]["3"]["buckets"]
    assert {bucket["key"]: bucket["1"]["value_as_string"] for bucket in files} == {
        "s3://b/a": f"{day}05:00.000Z",
        "s3://b/b": f"{day}09:00.000Z",
    }
    (bucket,) = lag["aggregations"]["2"]["buckets"]
    assert bucket["1"]["values"]["50.0"] == 300.0
    assert bucket["1"]["values"]["99.0"] == 540.0
    assert [bucket["doc_count"] for bucket in over_time["aggregations"]["2"]["buckets"]] == [3]
    assert answer("totals")["aggregations"]["2"]["value"] == 1
    moments = newest_times(bench.opensearch, bench.prefix)
    assert moments == {
        Pattern.EVENTS: datetime(2026, 3, 1, 10, tzinfo=UTC),
        Pattern.INDEXED: datetime(2026, 3, 1, 10, 9, tzinfo=UTC),
    }
    assert set(newest_times(bench.opensearch, "no-such-prefix").values()) == {None}


def test_the_verdicts_are_shown_with_the_last_run_of_each(bench: Bench) -> None:
    """From an index that may not exist, and next to that of a prefix with a longer name."""
    panel = visualizations(ndjson(saved_objects(bench.prefix)))["verdicts"]
    pattern = pattern_attributes(bench.prefix, Pattern.VERDICTS)["title"]
    assert answers(bench.opensearch, pattern, panel)["hits"]["total"]["value"] == 0
    for hour, verdict in ((1, "complete"), (2, "not complete: 1 file is lost"), (3, "complete")):
        summary = {"verdict": verdict, "complete": verdict == "complete"}
        record_verdict(bench.opensearch, bench.prefix, MOMENT.replace(hour=hour), summary)
    record_verdict(bench.opensearch, f"{bench.prefix}-eu", MOMENT, {"verdict": "of another", "complete": True})

    aggregations = answers(bench.opensearch, pattern, panel)["aggregations"].values()

    (group,) = (aggregation for aggregation in aggregations if "buckets" in aggregation)
    shown = [(bucket["key"], bucket["1"]["value_as_string"]) for bucket in group["buckets"]]
    assert shown == [
        ("complete", "2026-03-01T03:00:00.000Z"),
        ("not complete: 1 file is lost", "2026-03-01T02:00:00.000Z"),
    ]
