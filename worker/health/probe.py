"""Looks at all parts of a pipeline at once, read-only; what cannot be seen harms nothing else, and no wait is long."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from opensearchpy.exceptions import OpenSearchException, TransportError

from worker.aws.errors import error_text, is_missing_queue
from worker.errors import SetupError, TrailsinkError
from worker.health.snapshot import (
    BucketLag,
    ClusterState,
    ConsumerState,
    DeadLetterState,
    DiskUsage,
    IndexFreshness,
    IndexSize,
    Observed,
    QueueState,
    RetentionState,
    Snapshot,
    TemplateState,
    Throughput,
    TrailState,
    Unobserved,
)
from worker.health.status import ERRORS_WINDOW, WINDOW
from worker.opensearch.errors import describe_error
from worker.opensearch.schema import POLICIES, VERSION, name_of
from worker.settings import queue_name
from worker.telemetry import DIMENSION, NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from boto3 import Session
    from opensearchpy import OpenSearch

    from worker.settings import Settings


T = TypeVar("T")


# Short waits and one more try: the next look comes soon enough.
_CONFIG = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})


_MINUTE = 60


_NO_SUCH_THING = (400, 404)  # "no handler found", or nothing by that name


# What a look at the bucket may cost: one request for each folder of a trail (an account in a region), of those that
# files were indexed from last; `_RECENT` bounds how many files are asked for to know that.
_FOLDERS = 20


_RECENT = 10_000


_DATED = re.compile(r"s3://([^/]+)/((.*/)\d{4}/\d\d/\d\d/[^/]+)")


class Probe:
    """Looks at a pipeline as its settings describe it.

    `session` and `connect` open what it looks through, and raise SetupError where that cannot be; `reasons` counts the
    dead letters by reason, which receives them all, and is None where that was not asked for.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        session: Callable[[], Session],
        connect: Callable[[], OpenSearch],
        now: Callable[[], datetime],
        reasons: Callable[[], Mapping[str, int]] | None = None,
    ) -> None:
        self._settings, self._session, self._connect, self._now = settings, session, connect, now
        self._reasons, self._indices = reasons, f"{settings.index_prefix}-*"

    def look(self) -> Snapshot:
        """Look at everything once."""
        at = self._now()
        aws = _seen(lambda: self._aws)
        with ThreadPoolExecutor(2) as pool:
            indexed = pool.submit(self._look_at_cluster, aws, at)
            trails = pool.submit(_through, aws, self._trails)
            queue, letters, consumer, rates = self._look_at_queue(aws, at)
            found = indexed.result()
            return Snapshot(
                at=at,
                queue=queue,
                letters=letters,
                consumer=consumer,
                trails=trails.result(),
                rates=rates or found.pop("rates"),
                **{name: value for name, value in found.items() if name != "rates"},
            )

    # AWS

    @cached_property
    def _aws(self) -> _AwsProbe:
        # Kept for the next look: clients are dear to make, and credentials refresh themselves.
        session = self._session()
        if session.get_credentials() is None:
            raise SetupError("No AWS credentials were found.")
        return _AwsProbe(session)

    def _look_at_queue(
        self, aws: Observed[_AwsProbe], at: datetime
    ) -> tuple[Observed[QueueState], Observed[DeadLetterState], Observed[ConsumerState | None], Throughput | None]:
        """Look at SQS, then at Lambda, whose mapping is found by the queue, then at CloudWatch for both."""
        queue = _through(aws, lambda one: one.queue_attributes(self._settings.required("queue_url")))
        dead = _through(aws, lambda one: one.queue_attributes(self._settings.required("dead_letter_queue_url")))
        consumer = (
            queue if isinstance(queue, Unobserved) else _through(aws, lambda one: one.consumer(queue["QueueArn"]))
        )
        figures = _through(aws, lambda one: one.figures(_metrics(self._settings, consumer), at))
        known = {} if isinstance(figures, Unobserved) else figures
        if isinstance(consumer, ConsumerState) and not isinstance(figures, Unobserved):
            errors, throttles = (round(sum(known.get(name, ()))) for name in ("errors", "throttles"))
            consumer = replace(consumer, errors=errors, throttles=throttles)
        rates = None
        if "files" in known or "records" in known:
            files, records = (_a_minute(sum(known.get(name, ()))) for name in ("files", "records"))
            rates = Throughput(files, records, "CloudWatch")
        return _queue(queue, known), self._letters(dead, known), consumer, rates

    def _letters(
        self, seen: Observed[dict[str, str]], known: Mapping[str, Sequence[float]]
    ) -> Observed[DeadLetterState]:
        if isinstance(seen, Unobserved):
            return seen
        number = int(seen.get("ApproximateNumberOfMessages", 0)) + int(
            seen.get("ApproximateNumberOfMessagesNotVisible", 0)
        )
        reasons = _seen(self._reasons) if self._reasons else None
        if isinstance(reasons, Unobserved):
            return reasons
        return DeadLetterState(number, known.get("oldest_letter", (None,))[0] if number else None, reasons)

    def _trails(self, aws: _AwsProbe) -> list[TrailState]:
        return aws.trails(self._settings.required("bucket"))

    # The cluster, and the bucket by what the cluster knows of it

    def _look_at_cluster(self, aws: Observed[_AwsProbe], at: datetime) -> dict[str, Any]:
        client = _seen(self._connect)
        if isinstance(client, Unobserved):
            return _NOTHING_INDEXED | {"cluster": client}
        with closing(client):  # opened for each look: a password may have been rotated
            return self._ask_cluster(client, aws, at)

    def _ask_cluster(self, client: OpenSearch, aws: Observed[_AwsProbe], at: datetime) -> dict[str, Any]:
        cluster = _seen(lambda: self._cluster(client))
        if isinstance(cluster, _Unreachable):  # one silence is enough: it need not be waited for eight times
            return _NOTHING_INDEXED | {"cluster": cluster}
        newest = _seen(lambda: self._newest(client))
        return {
            "cluster": cluster,
            "disk": _seen(lambda: self._disk(client)),
            "template": _seen(lambda: self._template(client)),
            "retention": _seen(lambda: self._retention(client)),
            "indices": _seen(lambda: self._sizes(client)),
            "newest": newest,
            "rates": _seen(lambda: self._indexed_lately(client, at)),
            "files": _through(aws, lambda one: self._files(client, one, newest)),
        }

    def _cluster(self, client: OpenSearch) -> ClusterState:
        if self._settings.is_serverless:
            client.search(index=self._indices, body={"size": 0})
            return ClusterState("OpenSearch Serverless", None, None, None)
        health: Any = client.cluster.health()
        version: Any = client.info()
        server = f"{version['version'].get('distribution', 'server')} {version['version']['number']}"
        return ClusterState(server, health["status"], health["number_of_nodes"], health["unassigned_shards"])

    def _disk(self, client: OpenSearch) -> DiskUsage | None:
        if self._settings.is_serverless:
            return None
        rows: Any = client.cat.allocation(params={"format": "json", "bytes": "b"})
        disks = [
            DiskUsage(100 - 100 * int(row["disk.avail"]) / int(row["disk.total"]), int(row["disk.avail"]))
            for row in rows
            if row.get("disk.total")
        ]
        return max(disks, key=lambda one: one.used_percent, default=None)

    def _template(self, client: OpenSearch) -> TemplateState:
        name = name_of(self._settings.index_prefix)
        found: Any = client.indices.get_index_template(params={"ignore": 404})
        there = {one["name"]: one["index_template"].get("_meta") or {} for one in found.get("index_templates", [])}
        meta = there.get(name, {})
        return TemplateState(meta.get("version") if meta.get("owner") == "trailsink" else None, VERSION)

    def _retention(self, client: OpenSearch) -> RetentionState | None:
        if self._settings.is_serverless:
            return None
        path = f"{POLICIES}/{name_of(self._settings.index_prefix)}"
        try:
            found: Any = client.transport.perform_request("GET", path)
        except TransportError as error:
            if error.status_code not in _NO_SUCH_THING:
                raise
            found = {}
        return RetentionState(self._settings.retention_days, found.get("policy", {}).get("description", ""))

    def _sizes(self, client: OpenSearch) -> list[IndexSize]:
        options = {"format": "json", "bytes": "b", "h": "index,docs.count,store.size"}
        rows: Any = client.cat.indices(index=self._indices, params=options)
        # A closed index has neither.
        return [IndexSize(row["index"], int(row["docs.count"] or 0), int(row["store.size"] or 0)) for row in rows]

    def _newest(self, client: OpenSearch) -> IndexFreshness:
        # Events with an absurd time have an index of their own, and are no measure of lag.
        dated = f"{self._indices},-{self._settings.index_prefix}-undated*"  # with a star it need not be there
        fields = {"event": "@timestamp", "indexed": "trailsink.indexed_at"}
        body = {"size": 0, "aggs": {name: {"max": {"field": field}} for name, field in fields.items()}}
        found: Any = client.search(index=dated, body=body)
        times = {name: one.get("value") for name, one in found.get("aggregations", {}).items()}
        return IndexFreshness(_moment(times.get("event")), _moment(times.get("indexed")))

    def _indexed_lately(self, client: OpenSearch, at: datetime) -> Throughput:
        body = {
            "size": 0,
            "track_total_hits": True,
            "query": {"range": {"trailsink.indexed_at": {"gte": (at - WINDOW).isoformat()}}},
            "aggs": {"files": {"cardinality": {"field": "trailsink.object"}}},
        }
        found: Any = client.search(index=self._indices, body=body)
        files = found.get("aggregations", {}).get("files", {}).get("value", 0)
        return Throughput(_a_minute(files), _a_minute(found["hits"]["total"]["value"]), "the index")

    def _files(self, client: OpenSearch, aws: _AwsProbe, newest: Observed[IndexFreshness]) -> BucketLag | None:
        """Ask the bucket for files that came after the newest indexed one, folder by folder.

        Names begin with the time, so a listing that starts after a name is short however large the bucket is.
        """
        if isinstance(newest, Unobserved) or newest.indexed is None:
            return None
        last = self._last_of_each_folder(client, newest.indexed - WINDOW)
        if not last:
            return None
        found: list[tuple[bool, datetime]] = []
        for (bucket, folder), key in list(last.items())[:_FOLDERS]:
            found += [(name != key, at) for name, at in aws.files_from(bucket, folder, key)]
        later = [at for is_later, at in found if is_later]
        latest = max((at for _, at in found), default=newest.indexed)
        return BucketLag(latest, len(later), min(later, default=None))

    def _last_of_each_folder(self, client: OpenSearch, since: datetime) -> dict[tuple[str, str], str]:
        """Name the last file, by its key, of each bucket and folder of a trail that files were indexed from since."""
        body = {
            "size": 0,
            "query": {"range": {"trailsink.indexed_at": {"gte": since.isoformat()}}},
            "aggs": {"files": {"terms": {"field": "trailsink.object", "size": _RECENT}}},
        }
        found: Any = client.search(index=self._indices, body=body)
        last: dict[tuple[str, str], str] = {}
        for one in found.get("aggregations", {}).get("files", {}).get("buckets", []):
            if told := _DATED.fullmatch(one["key"]):
                bucket, key, folder = told.groups()
                last[bucket, folder] = max(last.get((bucket, folder), ""), key)
        return last


class _Unreachable(Unobserved):
    """No answer at all."""


_WITHOUT = ("disk", "template", "retention", "indices", "newest", "rates", "files")


_NOTHING_INDEXED: dict[str, Any] = dict.fromkeys(_WITHOUT, Unobserved("the cluster cannot be asked"))


def _seen(look: Callable[[], T]) -> Observed[T]:
    """Return what a look gives, or why there is nothing to see."""
    try:
        return look()
    except (ClientError, BotoCoreError) as error:
        return Unobserved(error_text(error))
    except TransportError as error:
        return (Unobserved if isinstance(error.status_code, int) else _Unreachable)(describe_error(error))
    except OpenSearchException as error:
        return Unobserved(describe_error(error))
    except TrailsinkError as error:
        return Unobserved(str(error).rstrip("."))


def _through(aws: Observed[_AwsProbe], look: Callable[[_AwsProbe], T]) -> Observed[T]:
    return aws if isinstance(aws, Unobserved) else _seen(lambda: look(aws))


class _AwsProbe:
    """The questions that are put to AWS; SDK errors pass through."""

    def __init__(self, session: Session) -> None:
        self._sqs = session.client("sqs", config=_CONFIG)
        self._lambda = session.client("lambda", config=_CONFIG)
        self._cloudwatch: Any = session.client("cloudwatch", config=_CONFIG)
        self._cloudtrail = session.client("cloudtrail", config=_CONFIG)
        self._s3 = session.client("s3", config=_CONFIG)

    def queue_attributes(self, url: str) -> dict[str, str]:
        try:
            answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        except ClientError as error:
            if is_missing_queue(error):
                raise SetupError(f"there is no queue {url} in {self._sqs.meta.region_name}") from error
            raise
        return {str(name): value for name, value in answer.get("Attributes", {}).items()}

    def consumer(self, queue_arn: str) -> ConsumerState | None:
        found = self._lambda.list_event_source_mappings(EventSourceArn=queue_arn)["EventSourceMappings"]
        if not found:
            return None
        mapping = found[0]
        function = mapping.get("FunctionArn", "")
        reserved = self._lambda.get_function_concurrency(FunctionName=function)
        return ConsumerState(
            state=mapping.get("State", ""),
            function=function.split(":function:")[-1].split(":")[0],
            max_concurrency=mapping.get("ScalingConfig", {}).get("MaximumConcurrency"),
            reserved_concurrency=reserved.get("ReservedConcurrentExecutions"),
        )

    def figures(self, wanted: Mapping[str, _Metric], at: datetime) -> dict[str, list[float]]:
        """Read metrics of CloudWatch by the minute, newest first; those without any value are left out."""
        queries = [
            {
                "Id": name,
                "MetricStat": {
                    "Metric": {
                        "Namespace": metric.namespace,
                        "MetricName": metric.name,
                        "Dimensions": [{"Name": key, "Value": value} for key, value in metric.dimensions.items()],
                    },
                    "Period": _MINUTE,
                    "Stat": metric.statistic,
                },
            }
            for name, metric in wanted.items()
        ]
        answer = self._cloudwatch.get_metric_data(
            MetricDataQueries=queries, StartTime=at - ERRORS_WINDOW, EndTime=at, ScanBy="TimestampDescending"
        )
        found = {one["Id"]: zip(one["Timestamps"], one["Values"], strict=True) for one in answer["MetricDataResults"]}
        return {
            name: values
            for name, metric in wanted.items()
            if (values := [value for when, value in found.get(name, ()) if when >= at - metric.window])
        }

    def trails(self, bucket: str) -> list[TrailState]:
        found = []
        for trail in self._cloudtrail.describe_trails()["trailList"]:
            if trail.get("S3BucketName") == bucket:
                status = self._cloudtrail.get_trail_status(Name=trail.get("TrailARN", ""))
                found.append(
                    TrailState(
                        trail.get("Name", ""),
                        bool(status.get("IsLogging")),
                        status.get("LatestDeliveryTime"),
                        status.get("LatestDeliveryError", ""),
                    )
                )
        return found

    def files_from(self, bucket: str, folder: str, key: str) -> list[tuple[str, datetime]]:
        """List a file and up to 999 that come after it by name, with the times of their upload."""
        # The listing begins after a name: the longest one that is before the file's own.
        answer = self._s3.list_objects_v2(Bucket=bucket, Prefix=folder, StartAfter=key[:-1])
        return [(one["Key"], one["LastModified"]) for one in answer.get("Contents", []) if one["Key"] >= key]


@dataclass(frozen=True, slots=True)
class _Metric:
    namespace: str
    name: str
    statistic: str
    window: timedelta
    dimensions: Mapping[str, str]


def _metrics(settings: Settings, consumer: Observed[ConsumerState | None]) -> dict[str, _Metric]:
    """Name the metrics that a status needs; SQS's and ours are by the queue's name."""
    queue, dead = queue_name(settings.queue_url), queue_name(settings.dead_letter_queue_url)
    wanted = {
        "oldest": _Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", WINDOW, {"QueueName": queue}),
        "oldest_letter": _Metric("AWS/SQS", "ApproximateAgeOfOldestMessage", "Maximum", WINDOW, {"QueueName": dead}),
        "files": _Metric(NAMESPACE, "FilesIndexed", "Sum", WINDOW, {DIMENSION: queue}),
        "records": _Metric(NAMESPACE, "RecordsRead", "Sum", WINDOW, {DIMENSION: queue}),
    }
    if isinstance(consumer, ConsumerState):
        of = {"FunctionName": consumer.function}
        wanted["errors"] = _Metric("AWS/Lambda", "Errors", "Sum", ERRORS_WINDOW, of)
        wanted["throttles"] = _Metric("AWS/Lambda", "Throttles", "Sum", ERRORS_WINDOW, of)
    return wanted


def _queue(seen: Observed[dict[str, str]], figures: Mapping[str, Sequence[float]]) -> Observed[QueueState]:
    if isinstance(seen, Unobserved):
        return seen
    names = ("", "NotVisible", "Delayed")
    waiting, in_flight, delayed = (int(seen.get(f"ApproximateNumberOfMessages{name}", 0)) for name in names)
    # CloudWatch is minutes behind: its last word is of no interest once the queue is empty.
    oldest = figures.get("oldest", (None,))[0] if waiting + in_flight + delayed else None
    return QueueState(waiting, in_flight, delayed, oldest)


def _a_minute(number: float) -> float:
    return round(number / (WINDOW / timedelta(minutes=1)), 1)


def _moment(milliseconds: float | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
