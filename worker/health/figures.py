"""The pipeline's figures in CloudWatch: which metrics they are, and one request for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from worker.health.snapshot import ERROR_WINDOW, RATE_WINDOW
from worker.telemetry import DIMENSION, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

_PERIOD_SECONDS = 60

# The values of metrics by our names, newest first.
Figures: TypeAlias = dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """One metric: its values by the minute are read as far back as its window."""

    namespace: str
    name: str
    statistic: str
    window: timedelta
    dimensions: Mapping[str, str]


def pipeline_metrics(queue: str, dead_letter_queue: str, function: str = "") -> dict[str, MetricQuery]:
    """Return the metrics of a pipeline by our names; those of the function only when it is known."""
    metrics = {
        "oldest_message": _age_of_oldest(queue),
        "oldest_letter": _age_of_oldest(dead_letter_queue),
        "files": MetricQuery(NAMESPACE, "FilesIndexed", "Sum", RATE_WINDOW, {DIMENSION: queue}),
        "records": MetricQuery(NAMESPACE, "RecordsRead", "Sum", RATE_WINDOW, {DIMENSION: queue}),
        "filtered": MetricQuery(NAMESPACE, "RecordsFiltered", "Sum", RATE_WINDOW, {DIMENSION: queue}),
    }
    if function:
        dimensions = {"FunctionName": function}
        metrics["errors"] = MetricQuery("AWS/Lambda", "Errors", "Sum", ERROR_WINDOW, dimensions)
        metrics["throttles"] = MetricQuery("AWS/Lambda", "Throttles", "Sum", ERROR_WINDOW, dimensions)
    return metrics


def read_figures(client: Any, metrics: Mapping[str, MetricQuery], now: datetime) -> Figures:  # noqa: ANN401 - untyped
    """Read metrics up to `now`; one without any value is left out. Lets errors of the SDK pass."""
    response = client.get_metric_data(
        MetricDataQueries=[_query(name, metric) for name, metric in metrics.items()],
        StartTime=now - max(metric.window for metric in metrics.values()),
        EndTime=now,
        ScanBy="TimestampDescending",
    )
    results = {
        result["Id"]: list(zip(result["Timestamps"], result["Values"], strict=True))
        for result in response["MetricDataResults"]
    }
    recent = {
        name: [value for time, value in results.get(name, ()) if time >= now - metric.window]
        for name, metric in metrics.items()
    }
    return {name: values for name, values in recent.items() if values}


def _age_of_oldest(queue: str) -> MetricQuery:
    return MetricQuery("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", RATE_WINDOW, {"QueueName": queue})


def _query(name: str, metric: MetricQuery) -> dict[str, Any]:
    return {
        "Id": name,
        "MetricStat": {
            "Metric": {
                "Namespace": metric.namespace,
                "MetricName": metric.name,
                "Dimensions": [{"Name": key, "Value": value} for key, value in metric.dimensions.items()],
            },
            "Period": _PERIOD_SECONDS,
            "Stat": metric.statistic,
        },
    }
