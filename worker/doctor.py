"""Read-only checks of a live pipeline: for each a verdict, the evidence, and the exact fix.

A check that cannot look says so and harms no other: the doctor works with whatever part can be reached.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from opensearchpy.exceptions import OpenSearchException

from worker.errors import SetupError
from worker.said import said
from worker.schema import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from boto3 import Session
    from opensearchpy import OpenSearch

    from worker.settings import Settings

# Six times the timeout leaves room for throttled tries:
# docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
_VISIBILITY_FACTOR = 6
_FEWEST_RECEIVES = 5  # below it, throttling alone fills the dead-letter queue
_CLOCK_SECONDS = 60  # SigV4 allows five minutes; a clock that is one off goes on drifting
_STALE_HOURS = 2  # a trail delivers about every five minutes while anything is called at all

_SENDERS = {"s3.amazonaws.com": "S3", "sns.amazonaws.com": "SNS", "events.amazonaws.com": "EventBridge"}


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was looked at, what was seen, and what to do about it ("" when nothing)."""

    verdict: Verdict
    check: str
    evidence: str
    fix: str = ""


class Doctor:
    """Looks at a pipeline as its settings describe it."""

    def __init__(self, settings: Settings, session: Session, client: Callable[[], OpenSearch], now: datetime) -> None:
        self._settings, self._session, self._client, self._now = settings, session, client, now

    def findings(self) -> Iterator[Finding]:
        """Run every check."""
        checks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
            ("source queue", self._source_queue),
            ("dead-letter queue", self._dead_letter_queue),
            ("senders to the queue", self._senders),
            ("event source mapping", self._mapping),
            ("bucket notification", self._notification),
            ("trail", self._trail),
            ("clock", self._clock),
            ("cluster", self._cluster),
            ("retention", self._retention),
            ("newest event", self._newest),
        )
        for name, check in checks:
            try:
                yield from check()
            except (ClientError, BotoCoreError) as error:
                yield Finding(Verdict.NOT_CHECKED, name, said(error))
            except OpenSearchException as error:
                yield Finding(Verdict.NOT_CHECKED, name, f"OpenSearch: {type(error).__name__}")
            except SetupError as error:
                yield Finding(Verdict.NOT_CHECKED, name, str(error))

    # Queues

    @cached_property
    def _queue(self) -> dict[str, str]:
        return self._attributes(self._settings.required("queue_url"))

    @cached_property
    def _letters(self) -> dict[str, str]:
        return self._attributes(self._settings.required("dead_letter_queue_url"))

    def _attributes(self, url: str) -> dict[str, str]:
        answer = self._session.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        return {str(name): value for name, value in answer["Attributes"].items()}

    def _source_queue(self) -> Iterator[Finding]:
        redrive = msgspec.json.decode(self._queue.get("RedrivePolicy", "{}"))
        target, receives = redrive.get("deadLetterTargetArn"), int(redrive.get("maxReceiveCount", 0))
        if target != self._letters["QueueArn"]:
            fix = (
                f"set the queue's RedrivePolicy to deadLetterTargetArn {self._letters['QueueArn']}, maxReceiveCount 40"
            )
            yield Finding(Verdict.FAULT, "redrive policy", f"it points to {target or 'nothing'}", fix)
        elif receives < _FEWEST_RECEIVES:
            yield Finding(Verdict.FAULT, "redrive policy", f"maxReceiveCount is {receives}", "set it to 40")
        else:
            yield Finding(Verdict.OK, "redrive policy", f"to the dead-letter queue after {receives} receives")
        key = self._queue.get("KmsMasterKeyId", "")
        if key.endswith("alias/aws/sqs"):
            fix = "use SSE-SQS, or a key of your own whose policy lets s3.amazonaws.com use it"
            yield Finding(Verdict.FAULT, "queue encryption", "S3 cannot use the key alias/aws/sqs", fix)
        else:
            kind = f"key {key}" if key else "SSE-SQS" if self._queue.get("SqsManagedSseEnabled") == "true" else "none"
            yield Finding(Verdict.OK if kind != "none" else Verdict.WARNING, "queue encryption", kind)

    def _dead_letter_queue(self) -> Iterator[Finding]:
        allow = msgspec.json.decode(self._letters.get("RedriveAllowPolicy", "{}"))
        permission, sources = allow.get("redrivePermission", "allowAll"), allow.get("sourceQueueArns", [])
        if permission == "denyAll" or (permission == "byQueue" and self._queue["QueueArn"] not in sources):
            fix = f"let {self._queue['QueueArn']} use it in the RedriveAllowPolicy"
            yield Finding(Verdict.FAULT, "redrive allow policy", f"{permission}, without the source queue", fix)
        else:
            yield Finding(Verdict.OK, "redrive allow policy", permission)
        letters = int(self._letters.get("ApproximateNumberOfMessages", 0))
        if letters:
            yield Finding(Verdict.WARNING, "dead letters", f"{letters} are there", "trailsink dlq list")
        else:
            yield Finding(Verdict.OK, "dead letters", "none")

    def _senders(self) -> Iterator[Finding]:
        policy = msgspec.json.decode(self._queue.get("Policy", "{}"))
        allowed = {
            name
            for statement in policy.get("Statement", [])
            if statement.get("Effect") == "Allow"
            for service, name in _SENDERS.items()
            if service in str(statement.get("Principal"))
        }
        if allowed:
            yield Finding(Verdict.OK, "queue policy", f"lets {', '.join(sorted(allowed))} send")
        else:
            fix = "allow the service s3.amazonaws.com sqs:SendMessage with aws:SourceArn of the bucket"
            yield Finding(Verdict.WARNING, "queue policy", "lets no AWS service send", fix)

    # Lambda

    def _mapping(self) -> Iterator[Finding]:
        client = self._session.client("lambda")
        found = client.list_event_source_mappings(EventSourceArn=self._queue["QueueArn"])["EventSourceMappings"]
        if not found:
            evidence = "none on the queue: `trailsink run` has to consume it"
            yield Finding(Verdict.NOT_CHECKED, "event source mapping", evidence)
            return
        mapping = found[0]
        if "ReportBatchItemFailures" in mapping.get("FunctionResponseTypes", []):
            yield Finding(Verdict.OK, "ReportBatchItemFailures", "on")
        else:
            fix = "aws lambda update-event-source-mapping --function-response-types ReportBatchItemFailures"
            evidence = "off: what the function hands back is deleted"
            yield Finding(Verdict.FAULT, "ReportBatchItemFailures", evidence, fix)
        if mapping.get("State") != "Enabled":
            yield Finding(Verdict.FAULT, "event source mapping", f"it is {mapping.get('State')}", "enable it")
        name = mapping["FunctionArn"]
        timeout = client.get_function_configuration(FunctionName=name)["Timeout"]
        yield self._visibility(int(self._queue["VisibilityTimeout"]), timeout)
        reserved = client.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
        most = mapping.get("ScalingConfig", {}).get("MaximumConcurrency")
        if reserved is not None and (most is None or reserved < most):
            fix = "remove the reserved concurrency, or raise it to the mapping's MaximumConcurrency"
            evidence = f"{reserved}, less than the mapping may use: throttled receives fill the dead-letter queue"
            yield Finding(Verdict.FAULT, "reserved concurrency", evidence, fix)
        else:
            yield Finding(Verdict.OK, "reserved concurrency", f"{reserved or 'none'}, mapping at most {most or 'any'}")

    @staticmethod
    def _visibility(visibility: int, timeout: int) -> Finding:
        evidence = f"{visibility} s, the function's timeout is {timeout} s"
        if visibility >= _VISIBILITY_FACTOR * timeout:
            return Finding(Verdict.OK, "visibility timeout", evidence)
        fix = f"set the queue's VisibilityTimeout to {_VISIBILITY_FACTOR * timeout} or more"
        return Finding(Verdict.FAULT, "visibility timeout", evidence, fix)

    # The trail's side

    def _notification(self) -> Iterator[Finding]:
        bucket = self._settings.required("bucket")
        found = self._session.client("s3").get_bucket_notification_configuration(Bucket=bucket)
        ours = [one for one in found.get("QueueConfigurations", []) if one["QueueArn"] == self._queue["QueueArn"]]
        if ours:
            rules = ours[0].get("Filter", {}).get("Key", {}).get("FilterRules", [])
            prefix = next((rule.get("Value", "") for rule in rules if rule.get("Name", "").lower() == "prefix"), "")
            yield Finding(Verdict.OK, "bucket notification", f"s3://{bucket}/{prefix}* to the queue")
        elif "EventBridgeConfiguration" in found or found.get("TopicConfigurations"):
            evidence = "none to the queue itself; EventBridge or a topic is told, and may tell the queue"
            yield Finding(Verdict.WARNING, "bucket notification", evidence)
        else:
            fix = "add a notification of s3:ObjectCreated:* to the queue; `trailsink deploy` does"
            yield Finding(Verdict.FAULT, "bucket notification", f"s3://{bucket} tells nobody", fix)

    def _trail(self) -> Iterator[Finding]:
        client, bucket = self._session.client("cloudtrail"), self._settings.required("bucket")
        trails = [one for one in client.describe_trails()["trailList"] if one.get("S3BucketName") == bucket]
        if not trails:
            evidence = f"none of this account and region writes to s3://{bucket}"
            yield Finding(Verdict.NOT_CHECKED, "trail", evidence)
        for trail in trails:
            status = client.get_trail_status(Name=trail["TrailARN"])
            if not status.get("IsLogging"):
                fix = f"aws cloudtrail start-logging --name {trail.get('Name')}"
                yield Finding(Verdict.FAULT, "trail", f"{trail.get('Name')} is not logging", fix)
            elif wrong := status.get("LatestDeliveryError"):
                fix = "mend the bucket's policy"
                yield Finding(Verdict.FAULT, "trail", f"{trail.get('Name')} cannot deliver: {wrong}", fix)
            else:
                yield Finding(
                    Verdict.OK, "trail", f"{trail.get('Name')} is logging, delivered {status.get('LatestDeliveryTime')}"
                )

    def _clock(self) -> Iterator[Finding]:
        answer = self._session.client("sqs").get_queue_attributes(
            QueueUrl=self._settings.required("queue_url"), AttributeNames=["QueueArn"]
        )
        told = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        if not told:
            yield Finding(Verdict.NOT_CHECKED, "clock", "SQS did not say its time")
            return
        off = abs((datetime.now(UTC) - parsedate_to_datetime(told)).total_seconds())
        verdict = Verdict.OK if off < _CLOCK_SECONDS else Verdict.FAULT
        yield Finding(
            verdict, "clock", f"{off:.0f} s from AWS's", "" if verdict is Verdict.OK else "set this machine's clock"
        )

    # The cluster's side

    @cached_property
    def _opensearch(self) -> OpenSearch:
        return self._client()

    def _cluster(self) -> Iterator[Finding]:
        name = f"trailsink-{self._settings.index_prefix}"
        found: Any = self._opensearch.indices.get_index_template(params={"ignore": 404})
        templates = {one["name"]: one["index_template"] for one in found.get("index_templates", [])}
        meta = templates.get(name, {}).get("_meta", {})
        if meta.get("owner") != "trailsink":
            evidence = f"no index template {name} of ours: fields are guessed, and records will be refused"
            yield Finding(Verdict.FAULT, "index template", evidence, "trailsink setup")
        elif meta.get("version") != VERSION:
            evidence = f"{name} is of version {meta.get('version')}, this is {VERSION}"
            yield Finding(Verdict.WARNING, "index template", evidence, "trailsink setup")
        else:
            yield Finding(Verdict.OK, "index template", f"{name} version {VERSION}")

    def _retention(self) -> Iterator[Finding]:
        days = self._settings.retention_days
        if not days:
            yield Finding(Verdict.OK, "retention", "none asked for; indices are kept")
            return
        path = f"/_plugins/_ism/policies/trailsink-{self._settings.index_prefix}"
        found: Any = self._opensearch.transport.perform_request("GET", path, params={"ignore": (400, 404)})
        if "policy" in found:
            yield Finding(Verdict.OK, "retention", found["policy"].get("description", ""))
        else:
            yield Finding(Verdict.FAULT, "retention", f"{days} days asked for, and no policy there", "trailsink setup")

    def _newest(self) -> Iterator[Finding]:
        body = {"size": 0, "aggs": {name: {"max": {"field": field}} for name, field in _NEWEST.items()}}
        found: Any = self._opensearch.search(
            index=f"{self._settings.index_prefix}-*", body=body, params={"ignore_unavailable": "true"}
        )
        times = {name: one.get("value") for name, one in found.get("aggregations", {}).items()}
        if not times.get("indexed"):
            fix = "see whether files arrive in the bucket, messages in the queue, and what the consumer logs"
            yield Finding(Verdict.WARNING, "newest event", "there is none", fix)
            return
        event, indexed = (datetime.fromtimestamp(times[name] / 1000, UTC) for name in ("event", "indexed"))
        hours = (self._now - indexed).total_seconds() / 3600
        evidence = f"of {event:%Y-%m-%d %H:%M}, indexed {hours:.1f} h ago"
        fix = "" if hours < _STALE_HOURS else "see whether files arrive in the bucket and messages in the queue"
        yield Finding(Verdict.OK if hours < _STALE_HOURS else Verdict.WARNING, "newest event", evidence, fix)


_NEWEST = {"event": "@timestamp", "indexed": "trailsink.indexed_at"}
