"""What a batch did: a line of metrics, a line of summary, and a line per object that did not end well.

docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from worker.humanize import ascii_json
from worker.pipeline.accounting import FileOutcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from worker.pipeline.accounting import BatchResult, FileTally

NAMESPACE = "Trailsink"

# One dimension, so that two pipelines in one region have figures and alarms of their own. Each further combination of
# dimensions would be billed as another metric.
DIMENSION = "Queue"

# The maximum number of values of one metric that CloudWatch takes from one line.
_MAX_VALUES = 100

_SHOWN_POSITIONS = 20


class Metric(NamedTuple):
    """One metric of a batch: its unit in CloudWatch, and how it is measured, None for the lags."""

    name: str
    unit: str
    meaning: str
    measure: Callable[[BatchResult], float] | None = None


def _files(outcome: FileOutcome) -> Callable[[BatchResult], float]:
    return lambda result: sum(file.outcome is outcome for file in result.files)


def _records(attribute: str) -> Callable[[BatchResult], float]:
    # Records of a file that goes back count when the file is done, not before.
    return lambda result: sum(
        getattr(file, attribute) for file in result.files if file.outcome is not FileOutcome.HANDED_BACK
    )


METRICS = (
    Metric("Messages", "Count", "messages received", lambda result: result.messages),
    Metric("MessagesFailed", "Count", "messages that stay in the queue", lambda result: len(result.failed)),
    Metric("MessagesMalformed", "Count", "messages that could not be parsed", lambda result: len(result.malformed)),
    Metric("NoticesIgnored", "Count", "objects and events ignored by name", lambda r: sum(r.ignored.values())),
    Metric("FilesIndexed", "Count", "files whose records are all in the index", _files(FileOutcome.INDEXED)),
    Metric("FilesHandedBack", "Count", "files that go back to the queue", _files(FileOutcome.HANDED_BACK)),
    Metric("FilesDeadLettered", "Count", "files with a dead letter", _files(FileOutcome.DEAD_LETTER)),
    Metric("RecordsRead", "Count", "records read", _records("read")),
    Metric("RecordsIndexed", "Count", "records indexed for the first time", _records("indexed")),
    Metric("RecordsDuplicate", "Count", "records that were in the index already", _records("duplicate")),
    Metric("RecordsDegraded", "Count", "records indexed in degraded form", _records("degraded")),
    Metric("RecordsRejected", "Count", "records named in a dead letter", _records("rejected")),
    Metric("RecordsFiltered", "Count", "records that a filter left out", _records("filtered")),
    Metric("DeadLetters", "Count", "dead letters sent", lambda result: result.dead_letters),
    Metric("Crashes", "Count", "faults of trailsink itself", lambda result: len(result.crashes)),
    Metric("BytesStored", "Bytes", "bytes read from S3", lambda r: sum(file.stored_bytes for file in r.files)),
    Metric("BytesInflated", "Bytes", "the same, inflated", lambda r: sum(file.inflated_bytes for file in r.files)),
    Metric("BytesSent", "Bytes", "bytes of bulk requests, compressed", lambda result: result.stats.bulk_bytes),
    Metric("BulkRequests", "Count", "bulk requests", lambda result: result.stats.bulk_requests),
    Metric("BulkRetries", "Count", "bulk requests that repeat an earlier one", lambda r: r.stats.bulk_retries),
    Metric("BulkThrottled", "Count", "bulk requests answered with 429", lambda result: result.stats.bulk_throttled),
    Metric("FetchSeconds", "Seconds", "time for fetching", lambda result: round(result.stats.fetch_seconds, 3)),
    Metric("ReadSeconds", "Seconds", "time for reading records", lambda r: round(r.stats.read_seconds, 3)),
    Metric("SendSeconds", "Seconds", "time for bulk requests", lambda r: round(r.stats.send_seconds, 3)),
    Metric("TotalSeconds", "Seconds", "time for the whole batch", lambda r: round(r.stats.total_seconds, 3)),
    Metric("DeliveryLag", "Seconds", "now minus the oldest event time of each file that was indexed"),
    Metric("NotificationLag", "Seconds", "now minus the time of the notification of each file that was indexed"),
    Metric(
        "HandedBackLag",
        "Seconds",
        "now minus the time of the notification of each file that goes back",
    ),
)

_UNITS = {metric.name: metric.unit for metric in METRICS}


def counts(result: BatchResult) -> dict[str, float]:
    """Return every metric of a batch but the lags, by name."""
    return {metric.name: metric.measure(result) for metric in METRICS if metric.measure}


def filtered_by(result: BatchResult) -> Counter[str]:
    """Return how many records of the files that are done were left out, by the name of the selector."""
    finished = (file for file in result.files if file.outcome is not FileOutcome.HANDED_BACK)
    return sum((file.filtered_by for file in finished if file.filtered_by), Counter())


def lags(result: BatchResult) -> dict[str, list[float]]:
    """Return the lags of a batch in seconds, one for each file, by the name of the metric."""
    indexed = [file for file in result.files if file.outcome is FileOutcome.INDEXED]
    delivery = [
        _seconds_since(result, datetime.fromisoformat(file.oldest_event)) for file in indexed if file.oldest_event
    ]
    notification = [_seconds_since(result, file.ref.notified_at) for file in indexed if file.ref.notified_at]
    returned = [file for file in result.files if file.outcome is FileOutcome.HANDED_BACK]
    # CloudTrail's own notices have no time; then the name of the file says when it was delivered.
    announced = [file.ref.notified_at or file.delivered_at for file in returned]
    waiting = sorted((_seconds_since(result, moment) for moment in announced if moment), reverse=True)
    # The longest ones first, because an alarm needs the maximum.
    by_name = {"DeliveryLag": delivery, "NotificationLag": notification, "HandedBackLag": waiting}
    return {name: values[:_MAX_VALUES] for name, values in by_name.items() if values}


def _seconds_since(result: BatchResult, moment: datetime) -> float:
    return round((result.ended_at - moment).total_seconds(), 3)


def report_lines(result: BatchResult, *, queue: str | None) -> Iterator[str]:
    """Yield all log lines of a batch; the metrics last, under the source queue's name, None for no metrics."""
    yield from log_lines(result)
    if queue is not None:
        yield metrics_line(result, queue)


def metrics_line(result: BatchResult, queue: str) -> str:
    """Return the batch as one EMF document; its dimension is the name of the source queue."""
    return emf_line(counts(result) | lags(result), _UNITS, queue, result.ended_at)


def emf_line(values: Mapping[str, Any], units: Mapping[str, str], queue: str, moment: datetime) -> str:
    """Return metrics as one EMF document; `values` and `units` are by the metrics' names."""
    definitions = [{"Name": name, "Unit": units[name]} for name in values]
    head = {
        "Timestamp": int(moment.timestamp() * 1000),
        "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": definitions}],
    }
    return ascii_json(msgspec.json.encode({"_aws": head, DIMENSION: queue, **values}).decode())


def log_lines(result: BatchResult) -> Iterator[str]:
    """Yield one line per object that did not end well, and one summary of the batch."""
    for id_, detail in result.malformed:
        yield _line(result, "ERROR", "message is malformed", message_id=id_, reason="malformed_message", detail=detail)
    for file in result.files:
        if file.outcome not in (FileOutcome.INDEXED, FileOutcome.IGNORED) or file.note:
            yield _file_line(result, file)
    for cause in result.dead_letters_unsent:
        yield _line(result, "ERROR", "dead letter not sent", detail=cause)
    for crash in result.crashes:
        yield _line(result, "ERROR", "crash", detail=crash)
    filtered = {"filtered": by_selector} if (by_selector := filtered_by(result)) else {}
    yield _line(result, "INFO", "batch", ignored=dict(result.ignored), **filtered, **counts(result))


_LEVELS = {
    FileOutcome.INDEXED: "INFO",
    FileOutcome.IGNORED: "INFO",
    FileOutcome.HANDED_BACK: "WARNING",
    FileOutcome.DEAD_LETTER: "ERROR",
}


def _file_line(result: BatchResult, file: FileTally) -> str:
    members: dict[str, Any] = {
        "object": file.ref.uri,
        "version": file.ref.version_id,
        "outcome": file.outcome,
        "reason": file.reason or None,
        "read": file.read,
        "rejected": file.rejected or None,
        "detail": (file.problem.detail if file.problem else "") or file.note or None,
        "positions": [position for position, _ in file.rejections[:_SHOWN_POSITIONS]] or None,
    }
    members = {name: value for name, value in members.items() if value is not None}
    return _line(result, _LEVELS[file.outcome], "object", **members)


def _line(result: BatchResult, level: str, message: str, **members: Any) -> str:  # noqa: ANN401 - JSON values
    head = {"timestamp": result.ended_at.isoformat(timespec="milliseconds"), "level": level, "message": message}
    return ascii_json(msgspec.json.encode(head | members).decode())
