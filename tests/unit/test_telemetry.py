"""Promises about what a batch says of itself: valid metrics, and no word of an event."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.factories import as_json, event, key, log_file, message, packed, s3_entry, s3_notice
from tests.support.fakes import DOWN, FakePipeline, make_pipeline
from worker.errors import StoreUnavailable
from worker.pipeline.bulk import BulkResponse
from worker.pipeline.limits import Limits
from worker.telemetry import METRICS, counts, log_lines, metrics_line

if TYPE_CHECKING:
    from worker.pipeline.accounting import BatchResult

UNITS = {"Seconds", "Bytes", "Count"}
SECRET = "SECRET-2f0a"  # stands in every value of the events of these tests


def secretive(number: int, **changes: Any) -> dict[str, Any]:
    return event(
        number,
        userAgent=SECRET,
        requestParameters={SECRET: SECRET},
        errorMessage=SECRET,
        eventName=SECRET,
        userIdentity={"arn": SECRET, "type": SECRET},
        **changes,
    )


def eventful(pipeline: FakePipeline) -> BatchResult:
    """A batch in which everything happens that can."""
    pipeline.index.refuse = lambda document: "mapper_parsing_exception" if document.get("errorCode") == "BAD" else ""
    pipeline.index.throttle = 1
    batch = [
        pipeline.announce("good", log_file(secretive(1), secretive(2)), 1),
        pipeline.announce("twin", log_file(secretive(1)), 2),
        pipeline.announce("bad", log_file(secretive(3), secretive(4, errorCode="BAD"), as_json(SECRET)), 3),
        pipeline.announce("odd", log_file(as_json(secretive(5))[:-1] + b',"a":NaN}'), 4),
        pipeline.announce("truncated", log_file(secretive(6))[:-4], 5),
        pipeline.announce("garbage", SECRET.encode(), 6),
        pipeline.announce("down", StoreUnavailable("s3:SlowDown"), 7),
        pipeline.announce("crash", ZeroDivisionError(SECRET), 8),
        pipeline.announce("noted", log_file(secretive(7)) + b"more", 9),
        message(s3_notice(s3_entry("a", eventName="ObjectRemoved:Delete")), 10),
        message(f'{{"{SECRET}":"{SECRET}"}}', 11),
        message(s3_notice(s3_entry("a", eventName=SECRET, eventSource=SECRET)), 12),
    ]
    return pipeline.consume(*batch)


def assert_valid_emf(line: str) -> dict[str, Any]:
    """The rules of the Embedded Metric Format specification; CloudWatch drops what breaks one, without a word."""
    assert "\n" not in line
    assert len(line.encode()) <= 1_000_000
    whole: dict[str, Any] = json.loads(line, parse_constant=pytest.fail)
    assert isinstance(whole["_aws"]["Timestamp"], int)
    for directive in whole["_aws"]["CloudWatchMetrics"]:
        assert 1 <= len(directive["Namespace"]) <= 1_024
        assert directive["Dimensions"]
        for dimensions in directive["Dimensions"]:
            assert len(dimensions) <= 30
            assert all(isinstance(whole[name], str) and 1 <= len(whole[name]) <= 1_024 for name in dimensions)
        assert 1 <= len(directive["Metrics"]) <= 100
        for metric in directive["Metrics"]:
            value = whole[metric["Name"]]
            values = value if isinstance(value, list) else [value]
            assert metric["Unit"] in UNITS
            assert 1 <= len(values) <= 100
            assert all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
    return whole


def test_the_metrics_of_a_batch_are_one_valid_emf_line() -> None:
    """An invalid one is logged like any other line, and the metric is silently not there."""
    with make_pipeline() as pipeline:
        whole = assert_valid_emf(metrics_line(eventful(pipeline), "trailsink"))

    assert whole["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Trailsink"
    assert {metric["Name"] for metric in whole["_aws"]["CloudWatchMetrics"][0]["Metrics"]} == {
        metric.name for metric in METRICS
    }


def test_the_metrics_of_an_empty_batch_are_valid_too() -> None:
    """A lag that nobody had is left out: an empty list would make the line invalid."""
    with make_pipeline() as pipeline:
        whole = assert_valid_emf(metrics_line(pipeline.consume(), "trailsink"))

    assert "DeliveryLag" not in whole
    assert whole["Messages"] == 0


def test_a_batch_of_many_files_stays_within_a_hundred_values() -> None:
    """Lambda's batch may hold thousands of messages; CloudWatch takes a hundred values of one metric."""
    with make_pipeline() as pipeline:
        result = pipeline.consume(*(pipeline.announce(f"file-{n}", log_file(event(n)), n) for n in range(150)))

        whole = assert_valid_emf(metrics_line(result, "trailsink"))

    assert len(whole["DeliveryLag"]) == len(whole["NotificationLag"]) == 100


def test_the_one_dimension_is_the_source_queue() -> None:
    """Two pipelines in one region must not share an alarm; each further combination is a metric that is billed."""
    with make_pipeline() as pipeline:
        whole = json.loads(metrics_line(eventful(pipeline), "trailsink"))

    assert whole["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["Queue"]]
    assert whole["Queue"] == "trailsink"


def test_lags_are_counted_from_event_and_notice() -> None:
    """The first is what the operator promises, the second what this consumer adds to it."""
    with make_pipeline() as pipeline:
        result = pipeline.consume(
            pipeline.announce("one", log_file(event(1, eventTime="2026-11-23T09:00:00Z"), event(2)))
        )

        whole = json.loads(metrics_line(result, "trailsink"))

    assert whole["DeliveryLag"] == [3 * 3600.0]
    assert whole["NotificationLag"] == [114 * 60 + 29.877]


def test_a_file_that_goes_back_says_how_long_it_has_waited() -> None:
    """SQS leaves a message out of its age after three receives, and an alarm needs one. Some notices have no time."""
    with make_pipeline() as pipeline:
        result = pipeline.consume(pipeline.announce("down", DOWN))
        (file,) = result.files
        announced = json.loads(metrics_line(result, "trailsink"))
        file.ref = replace(file.ref, notified_at=None)
        file.delivered_at = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)

        delivered = json.loads(metrics_line(result, "trailsink"))

    assert announced["FilesHandedBack"] == 1
    assert announced["HandedBackLag"] == [114 * 60 + 29.877]
    assert delivered["HandedBackLag"] == [2 * 3600.0]


def test_the_longest_wait_is_always_among_the_values() -> None:
    """A line holds a hundred of them, and the alarm looks at the maximum."""
    with make_pipeline() as pipeline:
        result = pipeline.consume(*(pipeline.announce(f"file-{n}", DOWN, n) for n in range(150)))
        oldest = result.files[-1]
        assert oldest.ref.notified_at
        oldest.ref = replace(oldest.ref, notified_at=oldest.ref.notified_at - timedelta(days=1))

        whole = assert_valid_emf(metrics_line(result, "trailsink"))

    assert len(whole["HandedBackLag"]) == 100
    assert max(whole["HandedBackLag"]) > 24 * 3600


def test_everything_that_happens_is_counted_once() -> None:
    """Sums of lines are what dashboards and alarms are made of."""
    with make_pipeline() as pipeline:
        found = counts(eventful(pipeline))

    expected = {
        "Messages": 12,
        "MessagesFailed": 2,
        "MessagesMalformed": 2,
        "NoticesIgnored": 1,
        "FilesIndexed": 4,
        "FilesHandedBack": 2,
        "FilesDeadLettered": 3,
        "RecordsRead": 9,
        "RecordsIndexed": 5,
        "RecordsDuplicate": 1,
        "RecordsDegraded": 1,
        "RecordsRejected": 2,
        "DeadLetters": 5,
        "Crashes": 1,
    }
    assert {name: found[name] for name in expected} == expected


@settings(max_examples=30)
@given(
    answers=st.lists(
        st.sampled_from(
            [BulkResponse(429, "r"), BulkResponse(503), BulkResponse(400, "i"), BulkResponse(413), BulkResponse(401)]
        ),
        max_size=6,
    ),
    rounds=st.integers(1, 3),
    bulk_actions=st.integers(1, 5),
)
def test_the_sums_of_a_line_always_meet(answers: list[BulkResponse], rounds: int, bulk_actions: int) -> None:
    """RecordsRead = indexed + duplicate + degraded + rejected: what is not through is not counted yet."""
    with make_pipeline(Limits(bulk_actions=bulk_actions)) as pipeline:
        pipeline.index.rounds = rounds
        pipeline.index.script.extend(answers)

        found = counts(eventful(pipeline))

    parts = ("RecordsIndexed", "RecordsDuplicate", "RecordsDegraded", "RecordsRejected")
    assert found["RecordsRead"] == sum(found[name] for name in parts)
    assert found["FilesIndexed"] + found["FilesHandedBack"] + found["FilesDeadLettered"] == 9


def test_a_file_that_comes_again_is_not_counted_twice() -> None:
    """Records count when their file is through; a peer counted each attempt."""
    with make_pipeline(Limits(bulk_actions=1, bulk_in_flight=1)) as pipeline:
        one = pipeline.announce("one", log_file(event(1), event(2), event(3)))
        fails = iter([[], [BulkResponse(401)]])
        pipeline.index.on_deliver = lambda: pipeline.index.script.extend(next(fails, []))

        first, second = counts(pipeline.consume(one)), counts(pipeline.consume(one))

    assert first["FilesHandedBack"] == second["FilesIndexed"] == 1
    assert (first["RecordsRead"], first["RecordsIndexed"]) == (0, 0)
    assert second["RecordsRead"] == second["RecordsIndexed"] + second["RecordsDuplicate"] == 3


def test_no_line_holds_anything_of_an_event() -> None:
    """Logs are read by people who may not read the trail."""
    with make_pipeline() as pipeline:
        result = eventful(pipeline)

        lines = [*log_lines(result), metrics_line(result, "trailsink")]

    assert not [line for line in lines if SECRET in line]


def test_every_line_is_one_json_document() -> None:
    """Logs Insights finds fields only in those."""
    with make_pipeline() as pipeline:
        result = eventful(pipeline)

        lines = [json.loads(line) for line in log_lines(result)]

    assert all({"timestamp", "level", "message"} <= set(line) for line in lines)
    assert [line["message"] for line in lines].count("batch") == 1
    assert lines[-1]["message"] == "batch"


def test_every_object_that_did_not_end_well_has_a_line_with_its_reason() -> None:
    """Bucket, key and reason: enough to look at it and to redrive it."""
    with make_pipeline() as pipeline:
        lines = [json.loads(line) for line in log_lines(eventful(pipeline))]

    said = {line["object"].rsplit("_", 1)[1]: line for line in lines if line["message"] == "object"}
    assert {name: (line["level"], line["outcome"], line.get("reason")) for name, line in said.items()} == {
        "bad.json.gz": ("ERROR", "dead_letter", "records_rejected"),
        "truncated.json.gz": ("ERROR", "dead_letter", "truncated"),
        "garbage.json.gz": ("ERROR", "dead_letter", "not_json"),
        "down.json.gz": ("WARNING", "handed_back", "s3:SlowDown"),
        "crash.json.gz": ("WARNING", "handed_back", "crash"),
        "noted.json.gz": ("INFO", "indexed", None),
    }
    assert said["bad.json.gz"]["object"].startswith("s3://trail-bucket/")
    assert sorted(said["bad.json.gz"]["positions"]) == [1, 2]
    assert said["noted.json.gz"]["detail"] == "4 bytes after the gzip stream were ignored"


def test_a_batch_in_which_all_is_well_says_one_line() -> None:
    """In normal operation nothing else: logs cost, and hide what matters."""
    with make_pipeline() as pipeline:
        result = pipeline.consume(*(pipeline.announce(f"file-{n}", log_file(event(n)), n) for n in range(10)))

    assert len(list(log_lines(result))) == 1


def test_the_summary_names_what_was_ignored() -> None:
    """Ignored for a named reason is the only way to be ignored."""
    with make_pipeline() as pipeline:
        result = pipeline.consume(
            message(s3_notice(key(kind="CloudTrail-Digest"), s3_entry("a", eventName="ObjectTagging:Put")))
        )

    (summary,) = [json.loads(line) for line in log_lines(result)]
    assert summary["ignored"] == {"digest": 1, "event_ObjectTagging": 1}
    assert summary["NoticesIgnored"] == 2


def test_a_long_list_of_rejected_records_does_not_make_a_long_line() -> None:
    """CloudWatch cuts events; the letter has the list."""
    with make_pipeline(Limits(bulk_actions=50)) as pipeline:
        result = pipeline.consume(pipeline.announce("one", packed(b'{"Records":[' + b",".join([b"1"] * 5_000) + b"]}")))

    assert max(len(line) for line in log_lines(result)) < 1_500
