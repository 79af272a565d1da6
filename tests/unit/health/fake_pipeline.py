"""A pipeline for health checks: fakes of AWS and of a cluster where all is well, of which a test changes one thing."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote, urlsplit

from botocore.exceptions import ClientError

from tests.support.http_server import serving, told
from worker.health.doctor import Doctor
from worker.health.probe import Probe
from worker.health.status import StatusPart, StatusReport, report
from worker.opensearch.client import Client
from worker.opensearch.schema import index_template, ledger_template, retention_policy
from worker.opensearch.security import API, loader_role
from worker.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from boto3 import Session
    from opensearchpy import OpenSearch

    from tests.support.http_server import Given
    from worker.health.findings import Finding

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUEUE_ARN = "arn:aws:sqs:eu-west-1:123456789012:trailsink"
DEAD_LETTER_ARN = f"{QUEUE_ARN}-dead-letters"
QUEUE_URL, DEAD_LETTER_URL = "https://sqs/trailsink", "https://sqs/trailsink-dead-letters"
ROLE = "arn:aws:iam::123456789012:role/trailsink-loader"
FUNCTION_ARN = "arn:aws:lambda:eu-west-1:123456789012:function:loader"
BUCKET = "acme-trail"
ISM = "/_plugins/_ism"
OWN_BLOCKS = (
    "/trailsink-files-cloudtrail-*,trailsink-consumers-cloudtrail,trailsink-holds-cloudtrail,"
    "trailsink-verdicts-cloudtrail/_settings/index.blocks.*,index.verified_before_close,index.uuid"
)
EXPLAIN = f"{ISM}/explain/cloudtrail-*,trailsink-reindexed*-cloudtrail-*"
INDEX = "cloudtrail-2026-03-01"
FOLDER = "AWSLogs/123456789012/CloudTrail/eu-west-1/"


def client_error(code: str, message: str = "no", operation: str = "Call") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, operation)


class Denied:
    """A service that these credentials may not use."""

    meta = SimpleNamespace(region_name="eu-west-1")

    def __getattr__(self, name: str) -> Any:
        def refuse(**_: Any) -> None:
            raise client_error("AccessDenied", f"may not {name}", name)

        return refuse


@dataclass
class FakeSqs:
    """Queues: attributes by URL, on a clock that may be off."""

    queues: dict[str, dict[str, str]]
    clock_off: timedelta = timedelta()
    requests: list[str] = field(default_factory=list)
    meta: Any = field(default_factory=lambda: SimpleNamespace(region_name="eu-west-1"))

    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: list[str]) -> dict[str, Any]:  # noqa: N803
        assert AttributeNames == ["All"]
        self.requests.append(QueueUrl)
        if QueueUrl not in self.queues:
            raise client_error("AWS.SimpleQueueService.NonExistentQueue")
        date = format_datetime(datetime.now(UTC) + self.clock_off, usegmt=True)
        metadata = {"HTTPHeaders": {"date": date}}
        return {"Attributes": self.queues[QueueUrl], "ResponseMetadata": metadata}


def make_sqs(source: dict[str, str] | None = None, dead_letters: dict[str, str] | None = None) -> FakeSqs:
    """Both queues as `trailsink deploy` creates them, with changed attributes."""
    redrive = json.dumps({"deadLetterTargetArn": DEAD_LETTER_ARN, "maxReceiveCount": 60})
    statement = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sqs:SendMessage"}
    condition = {
        "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{BUCKET}"},
        "StringEquals": {"aws:SourceAccount": "123456789012"},
    }
    policy = json.dumps({"Statement": [statement | {"Condition": condition}]})
    retention = {"MessageRetentionPeriod": "1209600", "SqsManagedSseEnabled": "true"}
    queue = {"QueueArn": QUEUE_ARN, "VisibilityTimeout": "1800", "RedrivePolicy": redrive, "Policy": policy} | retention
    letters = {"QueueArn": DEAD_LETTER_ARN} | retention
    return FakeSqs({QUEUE_URL: queue | (source or {}), DEAD_LETTER_URL: letters | (dead_letters or {})})


@dataclass
class FakeLambda:
    """Mappings from the queue to a function; `reserved` is a number, None, or a refusal."""

    mappings: list[dict[str, Any]] = field(default_factory=lambda: [make_mapping()])
    reserved: int | ClientError | None = None
    vpc: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def list_event_source_mappings(self, *, EventSourceArn: str) -> dict[str, Any]:  # noqa: N803
        assert EventSourceArn == QUEUE_ARN
        self.requests.append("mappings")
        return {"EventSourceMappings": self.mappings}

    def get_function_configuration(self, *, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        assert FunctionName == FUNCTION_ARN
        self.requests.append("configuration")
        configuration = {"FunctionName": "loader", "Timeout": 300, "Role": ROLE, "VpcConfig": self.vpc}
        return configuration | {"Environment": {"Variables": self.variables}}

    def get_function_concurrency(self, *, FunctionName: str) -> dict[str, Any]:  # noqa: N803
        assert FunctionName == "loader"
        self.requests.append("concurrency")
        if isinstance(self.reserved, ClientError):
            raise self.reserved
        return {} if self.reserved is None else {"ReservedConcurrentExecutions": self.reserved}


def make_mapping(state: str = "Enabled", maximum: int | None = 10, **changes: Any) -> dict[str, Any]:
    scaling = {} if maximum is None else {"ScalingConfig": {"MaximumConcurrency": maximum}}
    reports = {"FunctionResponseTypes": ["ReportBatchItemFailures"]}
    return {"UUID": "u-1", "FunctionArn": FUNCTION_ARN, "State": state} | scaling | reports | changes


@dataclass
class FakeCloudWatch:
    """Values of metrics by name and dimension, each with its age in minutes; the newest comes first."""

    values: Mapping[tuple[str, str], Sequence[tuple[float, float]]] = field(default_factory=dict)
    requests: list[list[str]] = field(default_factory=list)

    def get_metric_data(
        self,
        *,
        MetricDataQueries: list[dict[str, Any]],  # noqa: N803
        StartTime: datetime,  # noqa: N803
        EndTime: datetime,  # noqa: N803
        ScanBy: str,  # noqa: N803
    ) -> dict[str, Any]:
        assert ScanBy == "TimestampDescending"
        self.requests.append([query["Id"] for query in MetricDataQueries])
        results = []
        for query in MetricDataQueries:
            metric = query["MetricStat"]["Metric"]
            name = metric["MetricName"], metric["Dimensions"][0]["Value"]
            points = [(EndTime - timedelta(minutes=minutes), value) for minutes, value in self.values.get(name, [])]
            points = [(time, value) for time, value in points if time >= StartTime]
            timestamps, values = [time for time, _ in points], [value for _, value in points]
            results.append({"Id": query["Id"], "Timestamps": timestamps, "Values": values})
        return {"MetricDataResults": results}


def make_ages(message: float | None = None, letter: float | None = None) -> FakeCloudWatch:
    """CloudWatch with the ages of the oldest message and the oldest letter, in seconds."""
    ages = {"trailsink": message, "trailsink-dead-letters": letter}
    name = "ApproximateAgeOfOldestMessage"
    return FakeCloudWatch({(name, queue): [(1, age)] for queue, age in ages.items() if age is not None})


@dataclass
class FakeCloudTrail:
    """Trails of the account: the description and the status of each."""

    trails: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=lambda: [make_trail()])

    def describe_trails(self) -> dict[str, Any]:
        return {"trailList": [trail for trail, _ in self.trails]}

    def get_trail_status(self, *, Name: str) -> dict[str, Any]:  # noqa: N803
        return next(status for trail, status in self.trails if trail["TrailARN"] == Name)


def make_trail(name: str = "main", **status: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    description = {"Name": name, "TrailARN": f"arn:trail/{name}", "S3BucketName": BUCKET}
    return description, {"IsLogging": True, "LatestDeliveryTime": NOW - timedelta(minutes=3)} | status


@dataclass
class FakeS3:
    """One bucket: its notifications, and its objects with the times of their upload."""

    notifications: dict[str, Any] = field(
        default_factory=lambda: {
            "QueueConfigurations": [{"Id": "own", "QueueArn": QUEUE_ARN, "Events": ["s3:ObjectCreated:*"]}]
        }
    )
    objects: dict[str, datetime] = field(default_factory=dict)

    def get_bucket_notification_configuration(self, *, Bucket: str) -> dict[str, Any]:  # noqa: N803
        assert Bucket == BUCKET
        return self.notifications

    def list_objects_v2(
        self,
        *,
        Bucket: str,  # noqa: N803
        Prefix: str,  # noqa: N803
        StartAfter: str = "",  # noqa: N803
        Delimiter: str = "",  # noqa: N803
        ContinuationToken: str = "",  # noqa: N803
    ) -> dict[str, Any]:
        assert Bucket == BUCKET
        keys = sorted(key for key in self.objects if key.startswith(Prefix) and key > StartAfter)
        if Delimiter:
            names = {key[len(Prefix) :].partition(Delimiter)[0] for key in keys if Delimiter in key[len(Prefix) :]}
            rest = [name for name in sorted(names) if name > ContinuationToken]
            page = {"CommonPrefixes": [{"Prefix": f"{Prefix}{name}{Delimiter}"} for name in rest[:1_000]]}
            return page | ({"NextContinuationToken": rest[999]} if len(rest) > 1_000 else {})
        return {"Contents": [{"Key": key, "LastModified": self.objects[key]} for key in keys]}


@dataclass
class FakeSession:
    """A session whose services are those given; all others refuse."""

    services: dict[str, Any]
    has_credentials: bool = True
    created: list[str] = field(default_factory=list)

    def get_credentials(self) -> object | None:
        return object() if self.has_credentials else None

    def client(self, name: str, config: object) -> Any:
        assert config
        self.created.append(name)
        return self.services.get(name, Denied())


@dataclass(frozen=True)
class FakeEvent:
    """One event in an index: when it happened, when it was indexed, and the key of its file."""

    index: str = INDEX
    time: datetime = NOW - timedelta(minutes=6)
    indexed_at: datetime = NOW - timedelta(minutes=1)
    key: str = f"{FOLDER}2026/03/01/a_1.json.gz"
    source: dict[str, Any] = field(default_factory=dict)


def make_verdict(**changes: Any) -> dict[str, Any]:
    """What the last `trailsink verify` has written."""
    return {
        "verified_at": (NOW - timedelta(hours=3)).isoformat(),
        "complete": True,
        "verdict": "complete: 3 files",
    } | changes


@dataclass
class FakeCluster:
    """A server with ISM and the security plugin. Answers can be changed by path; searches are over its events."""

    changed: dict[str, tuple[int, Any]] = field(default_factory=dict)
    events: list[FakeEvent] = field(default_factory=lambda: [FakeEvent()])
    requests: list[tuple[str, str]] = field(default_factory=list)
    failed_shards: int = 0  # of each search over the events

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Answer over HTTP; gives the address."""

        def answer(method: str, path: str, _: object, body: bytes) -> Given:
            return told(*self.answer(method, unquote(urlsplit(path).path), body))

        with serving(answer) as url:
            yield url

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        self.requests.append((method, path))
        if path in self.changed:
            return self.changed[path]
        if path.startswith("/cloudtrail-*") and path.endswith("/_search"):
            return 200, self._search(path.split("/")[1], json.loads(body))
        return 200, self._answers[path]

    @property
    def _answers(self) -> dict[str, Any]:
        mappings = index_template("cloudtrail")["template"]["mappings"]
        explained = {"index.plugins.index_state_management.policy_id": "trailsink-cloudtrail", "enabled": True}
        return {
            "/": {"version": {"distribution": "opensearch", "number": "3.4.0"}},
            "/_cluster/health": make_health("green"),
            "/_cat/allocation": [{"disk.avail": str(59 << 30), "disk.total": str(100 << 30)}, {"disk.total": None}],
            "/_cat/indices": "",
            "/_cat/indices/cloudtrail-*": [make_index()],
            "/_cluster/settings": make_node_settings(),
            "/cloudtrail-*/_stats/docs": make_stats(),
            "/cloudtrail-*/_field_caps": {"fields": {}},
            "/cloudtrail-*/_mapping": {INDEX: {"mappings": mappings}},
            "/cloudtrail-*/_settings/index.blocks.*": {INDEX: {"settings": {}}},
            OWN_BLOCKS: {"trailsink-files-cloudtrail-2026-03": {"settings": {"index.uuid": "u"}}},
            "/trailsink-consumers-cloudtrail/_search": {"hits": {"hits": []}},
            "/trailsink-holds-cloudtrail/_search": {"hits": {"hits": []}},
            "/trailsink-verdicts-cloudtrail/_search": {"hits": {"hits": [{"_source": make_verdict()}]}},
            "/_index_template": make_template(),
            "/_index_template/trailsink-files-cloudtrail": make_ledger_template(),
            "/trailsink-files-cloudtrail-*/_search": make_ledger(),
            f"/{INDEX}/_mapping": {INDEX: {"mappings": mappings}},
            f"{ISM}/policies/trailsink-cloudtrail": make_policy(90),
            f"{ISM}/explain/cloudtrail-*,trailsink-reindexed*-cloudtrail-*": {
                INDEX: explained,
                "total_managed_indices": 1,
            },
            f"{API}/roles": {"trailsink-loader-cloudtrail": loader_role("cloudtrail")},
            f"{API}/rolesmapping": {"trailsink-loader-cloudtrail": {"backend_roles": [ROLE]}},
            f"{API}/actiongroups": {},
        }

    def _search(self, expression: str, body: dict[str, Any]) -> dict[str, Any]:
        """Search the indices of an expression, as in "a-*,-a-b*"; knows only what the checks ask for."""
        patterns = expression.split(",")
        events = [
            event
            for event in self.events
            if any(fnmatchcase(event.index, pattern) for pattern in patterns if not pattern.startswith("-"))
            and not any(fnmatchcase(event.index, pattern[1:]) for pattern in patterns if pattern.startswith("-"))
        ]
        fields = {"@timestamp": "time", "trailsink.indexed_at": "indexed_at"}
        aggregations: dict[str, Any] = {}
        for name, aggregation in body.get("aggs", {}).items():
            if "max" in aggregation:
                times = [getattr(event, fields[aggregation["max"]["field"]]) for event in events]
                aggregations[name] = {"value": max((time.timestamp() * 1000 for time in times), default=None)}
            else:
                uris = {f"s3://{BUCKET}/{event.key}" for event in events}
                aggregations[name] = {"value": len(uris), "buckets": [{"key": uri} for uri in sorted(uris)]}
        newest = sorted(events, key=lambda event: event.indexed_at, reverse=True)[: body["size"]]
        hits = {
            "total": {"value": len(events)},
            "hits": [{"_index": event.index, "_source": event.source} for event in newest],
        }
        shards = {"total": 3, "successful": 3 - self.failed_shards, "failed": self.failed_shards}
        return {"_shards": shards, "hits": hits, "aggregations": aggregations}


def make_health(status: str, unassigned: int = 0, active: int = 20) -> dict[str, Any]:
    """The health of a cluster of three nodes, two of which hold data."""
    counts = {"active_shards": active, "initializing_shards": 0, "unassigned_shards": unassigned}
    return {"status": status, "number_of_nodes": 3, "number_of_data_nodes": 2, **counts}


def make_index(name: str = INDEX, created: datetime = NOW - timedelta(hours=12), replicas: int = 1) -> dict[str, str]:
    """A row of `_cat/indices`."""
    figures = {"docs.count": "1", "store.size": "9", "pri": "1", "rep": str(replicas)}
    return {"index": name, **figures, "creation.date": str(int(created.timestamp() * 1000))}


def make_node_settings(shards: int = 1_000, *, explicit_index: bool = True, scope: str = "defaults") -> dict[str, Any]:
    """Settings of the nodes: defaults, and the limit of shards in one scope."""
    allowed = {"action": {"multi": {"allow_explicit_index": str(explicit_index).lower()}}}
    defaults = {"cluster": {"max_shards_per_node": "1000"}, "rest": allowed}
    scopes: dict[str, dict[str, Any]] = {"persistent": {}, "transient": {}, "defaults": defaults}
    scopes[scope]["cluster"] = {"max_shards_per_node": str(shards)}
    return scopes


def make_stats(documents: int = 1, writes: int = 1, deleted: int = 0, index: str = INDEX) -> dict[str, Any]:
    """Documents and writes of one index with a replica, by shard."""
    docs = {"docs": {"count": documents, "deleted": deleted}, "seq_no": {"max_seq_no": writes - 1}}
    copies = [{"routing": {"primary": primary}, **docs} for primary in (True, False)]
    return {"indices": {index: {"shards": {"0": copies}}}}


def make_template(**changes: Any) -> dict[str, Any]:
    """Our index template, as the server returns it."""
    body = index_template("cloudtrail") | changes
    return {"index_templates": [{"name": "trailsink-cloudtrail", "index_template": body}]}


def make_ledger_template(**changes: Any) -> dict[str, Any]:
    """The ledger's index template, as the server returns it."""
    body = ledger_template("cloudtrail") | changes
    return {"index_templates": [{"name": "trailsink-files-cloudtrail", "index_template": body}]}


def make_ledger(**newest: timedelta) -> dict[str, Any]:
    """The answer to both searches of the ledger: how long ago the newest file of each account was delivered."""
    ages = newest or {"a111111111111": timedelta(minutes=5)}
    times = {account[1:]: f"{NOW - age:%Y-%m-%dT%H:%M:%S.000Z}" for account, age in ages.items()}
    buckets = [{"key": account, "newest": {"value_as_string": time}} for account, time in times.items()]
    aggregations = {"newest": {"value_as_string": max(times.values())}, "recent": {"accounts": {"buckets": buckets}}}
    return {"_shards": {"failed": 0}, "hits": {"hits": []}, "aggregations": aggregations}


def make_policy(days: int) -> dict[str, Any]:
    """Our retention policy, as the server returns it."""
    policy = retention_policy("cloudtrail", days)["policy"] | {"last_updated_time": 1}
    return {"_id": "trailsink-cloudtrail", "policy": policy}


def refusal(permission: str) -> tuple[int, Any]:
    """The answer of the security plugin to a request without permission."""
    reason = f"no permissions for [{permission}] and User [name=ada, backend_roles=[x], requestedTenant=null]"
    return 403, {"error": {"type": "security_exception", "reason": reason}, "status": 403}


@dataclass
class FakePipeline:
    """AWS and a cluster, for both commands. The settings may name another address than that of the fake cluster."""

    services: dict[str, Any] = field(default_factory=dict)
    cluster: FakeCluster = field(default_factory=FakeCluster)
    settings: dict[str, Any] = field(default_factory=dict)
    session: FakeSession = field(init=False)

    def __post_init__(self) -> None:
        well = {
            "sqs": make_sqs(),
            "lambda": FakeLambda(),
            "cloudwatch": make_ages(0, 0),
            "cloudtrail": FakeCloudTrail(),
            "s3": FakeS3(),
        }
        self.session = FakeSession(well | self.services)

    def _settings(self, url: str) -> Settings:
        values = {
            "opensearch_url": url,
            "queue_url": QUEUE_URL,
            "dead_letter_queue_url": DEAD_LETTER_URL,
            "bucket": BUCKET,
            "retention_days": 90,
        }
        return Settings(**(values | self.settings))

    def status(self, reasons: Callable[[], dict[str, int]] | None = None) -> StatusReport:
        """What `trailsink status` reports; `reasons` counts the letters."""
        with ExitStack() as resources:
            url = resources.enter_context(self.cluster.serving())

            def connect() -> OpenSearch:
                return Client(url, sign_in=lambda: None, ca_file=None, seconds=60).connect()

            settings = self._settings(url)
            probe = Probe(settings, session=self._session, connect=connect, now=lambda: NOW, reasons=reasons)
            return report(probe.collect())

    def parts(self, reasons: Callable[[], dict[str, int]] | None = None) -> dict[str, StatusPart]:
        """The parts of that report, by name."""
        return {part.name: part for part in self.status(reasons).parts}

    def findings(self, loader_role: str = ROLE) -> dict[str, Finding]:
        """What `trailsink doctor` finds, by check."""
        with ExitStack() as resources:
            url = resources.enter_context(self.cluster.serving())
            client = Client(url, sign_in=lambda: None, ca_file=None, seconds=60).connect()
            resources.callback(client.close)
            doctor = Doctor(self._settings(url), self._session, lambda: client, NOW, loader_role)
            return {finding.check: finding for finding in doctor.findings()}

    def _session(self) -> Session:
        return cast("Session", self.session)
