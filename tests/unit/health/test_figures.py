"""The pipeline's figures in CloudWatch."""

from __future__ import annotations

from tests.unit.health.fake_pipeline import NOW, FakeCloudWatch
from worker.health.figures import pipeline_metrics, read_figures


def test_the_metrics_of_the_function_are_read_only_when_it_is_known() -> None:
    """Those of the queues and of the pipeline go by the queue's name."""
    without, with_function = pipeline_metrics("q", "d"), pipeline_metrics("q", "d", "loader")

    assert list(without) == ["oldest_message", "oldest_letter", "files", "records", "filtered"]
    assert with_function.keys() - without.keys() == {"errors", "throttles"}
    assert without["oldest_letter"].dimensions == {"QueueName": "d"}
    assert without["files"].dimensions == {"Queue": "q"}
    assert with_function["errors"].dimensions == {"FunctionName": "loader"}


def test_each_metric_has_its_own_window_and_the_newest_value_comes_first() -> None:
    """One request reads them all, as far back as the longest window."""
    cloudwatch = FakeCloudWatch(
        {
            ("FilesIndexed", "q"): [(3, 1.0), (14, 2.0), (16, 4.0)],
            ("Errors", "loader"): [(16, 1.0), (59, 2.0)],
            ("RecordsRead", "q"): [(30, 9.0)],
        }
    )

    figures = read_figures(cloudwatch, pipeline_metrics("q", "d", "loader"), NOW)

    assert figures == {"files": [1.0, 2.0], "errors": [1.0, 2.0]}
    assert len(cloudwatch.requests) == 1
