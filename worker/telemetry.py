"""What a batch did, told once: a line of metrics, a line of summary, and a line per object that did not end well.

docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from worker.pipeline.consumer import FileOutcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.pipeline.consumer import BatchResult, FileTally

NAMESPACE = "Trailsink"

# One dimension, so that two pipelines in one region have figures and alarms of their own; each further combination of
# dimensions would be billed as a metric more.
DIMENSION = "Queue"

# Name -> unit.
METRICS = {
    "Messages": "Count",
    "MessagesFailed": "Count",
    "MessagesMalformed": "Count",
    "NoticesIgnored": "Count",
    "FilesIndexed": "Count",
    "FilesHandedBack": "Count",
    "FilesDeadLettered": "Count",
    "RecordsRead": "Count",
    "RecordsIndexed": "Count",
    "RecordsDuplicate": "Count",
    "RecordsDegraded": "Count",
    "RecordsRejected": "Count",
    "DeadLetters": "Count",
    "Crashes": "Count",
    "BytesStored": "Bytes",
    "BytesInflated": "Bytes",
    "BytesSent": "Bytes",
    "BulkRequests": "Count",
    "BulkRetries": "Count",
    "BulkThrottled": "Count",
    "FetchSeconds": "Seconds",
    "ReadSeconds": "Seconds",
    "SendSeconds": "Seconds",
    "TotalSeconds": "Seconds",
    "DeliveryLag": "Seconds",  # now minus the oldest event time of each file that was indexed
    "NotificationLag": "Seconds",  # now minus the time of the notice
}

# CloudWatch takes at most so many values of one metric from one line.
_VALUES = 100


def counts(result: BatchResult) -> dict[str, float]:
    """Sum a batch: every metric but the lags. Records of a file that goes back count when it is through, not before."""
    files, effort = result.files, result.effort
    settled = [file for file in files if file.outcome is not FileOutcome.HANDED_BACK]
    outcomes = [file.outcome for file in files]
    return {
        "Messages": result.messages,
        "MessagesFailed": len(result.failed),
        "MessagesMalformed": len(result.malformed),
        "NoticesIgnored": sum(result.ignored.values()),
        "FilesIndexed": outcomes.count(FileOutcome.INDEXED),
        "FilesHandedBack": outcomes.count(FileOutcome.HANDED_BACK),
        "FilesDeadLettered": outcomes.count(FileOutcome.DEAD_LETTER),
        "RecordsRead": sum(file.read for file in settled),
        "RecordsIndexed": sum(file.indexed for file in settled),
        "RecordsDuplicate": sum(file.duplicate for file in settled),
        "RecordsDegraded": sum(file.degraded for file in settled),
        "RecordsRejected": sum(file.rejected for file in settled),
        "DeadLetters": result.dead_letters,
        "Crashes": len(result.crashes),
        "BytesStored": sum(file.stored_bytes for file in files),
        "BytesInflated": sum(file.text_bytes for file in files),
        "BytesSent": effort.bulk_bytes,
        "BulkRequests": effort.bulk_requests,
        "BulkRetries": effort.bulk_retries,
        "BulkThrottled": effort.bulk_throttled,
        "FetchSeconds": round(effort.fetch_seconds, 3),
        "ReadSeconds": round(effort.read_seconds, 3),
        "SendSeconds": round(effort.send_seconds, 3),
        "TotalSeconds": round(effort.total_seconds, 3),
    }


def _lags(result: BatchResult) -> dict[str, list[float]]:
    indexed = [file for file in result.files if file.outcome is FileOutcome.INDEXED]
    delivery = [_seconds(result.ended_at, datetime.fromisoformat(file.oldest)) for file in indexed if file.oldest]
    notice = [_seconds(result.ended_at, file.ref.notified_at) for file in indexed if file.ref.notified_at]
    return {name: lags[:_VALUES] for name, lags in (("DeliveryLag", delivery), ("NotificationLag", notice)) if lags}


def _seconds(later: datetime, earlier: datetime) -> float:
    return round((later - earlier).total_seconds(), 3)


def report_lines(result: BatchResult, *, queue: str | None) -> Iterator[str]:
    """Write all that a log is told of a batch; the metrics last, under the source queue's name, None for no metrics."""
    yield from log_lines(result)
    if queue is not None:
        yield metrics_line(result, queue)


def metrics_line(result: BatchResult, queue: str) -> str:
    """Write the batch as one EMF document, its dimension the name of the source queue."""
    values: dict[str, Any] = counts(result) | _lags(result)
    definitions = [{"Name": name, "Unit": METRICS[name]} for name in values]
    head = {
        "Timestamp": int(result.ended_at.timestamp() * 1000),
        "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": definitions}],
    }
    return msgspec.json.encode({"_aws": head, DIMENSION: queue, **values}).decode()


def log_lines(result: BatchResult) -> Iterator[str]:
    """Write one line per object that did not end well, and one summary of the batch."""
    for id_, detail in result.malformed:
        yield _line(result, "ERROR", "message is malformed", message_id=id_, reason="malformed_message", detail=detail)
    for file in result.files:
        if file.outcome is not FileOutcome.INDEXED or file.note:
            yield _file_line(result, file)
    for cause in result.unburied:
        yield _line(result, "ERROR", "dead letter not sent", detail=cause)
    for crash in result.crashes:
        yield _line(result, "ERROR", "crash", detail=crash)
    yield _line(result, "INFO", "batch", ignored=dict(result.ignored), **counts(result))


def _file_line(result: BatchResult, file: FileTally) -> str:
    said: dict[str, Any] = {"object": f"s3://{file.ref.bucket}/{file.ref.key}", "version": file.ref.version_id}
    said |= {
        "outcome": file.outcome,
        "reason": file.reason or None,
        "read": file.read,
        "rejected": file.rejected or None,
    }
    said["detail"] = (file.problem.detail if file.problem else "") or file.note or None
    said["positions"] = [position for position, _ in file.rejections[:20]] or None
    level = {FileOutcome.INDEXED: "INFO", FileOutcome.HANDED_BACK: "WARNING", FileOutcome.DEAD_LETTER: "ERROR"}[
        file.outcome
    ]
    return _line(result, level, "object", **{name: value for name, value in said.items() if value is not None})


def _line(result: BatchResult, level: str, message: str, **said: Any) -> str:  # noqa: ANN401 - JSON values
    head = {"timestamp": result.ended_at.isoformat(timespec="milliseconds"), "level": level, "message": message}
    return msgspec.json.encode(head | said).decode()
