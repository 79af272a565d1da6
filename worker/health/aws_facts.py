"""Facts of AWS for both `trailsink status` and `trailsink doctor`: each is read once, and only when it is needed."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from worker.aws.errors import is_missing_queue
from worker.aws.session import expect_bucket_owner
from worker.cloudtrail.keys import ROOT
from worker.health.figures import pipeline_metrics, read_figures
from worker.health.observe import NotObservedError, fact, require
from worker.health.queue_attributes import QueueAttributes
from worker.health.snapshot import (
    EventSourceMapping,
    FunctionConfiguration,
    Missing,
    Trail,
    TrailState,
    Unobserved,
)
from worker.settings import queue_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.health.aws_clients import AwsClients
    from worker.health.figures import Figures
    from worker.settings import Settings


# Of 1,000 folders each; an organization has at most 10,000 accounts, if AWS has raised its quota.
# docs.aws.amazon.com/organizations/latest/userguide/orgs_reference_limits.html
_MAX_PAGES = 10


class AwsFacts:
    """What AWS reports about the pipeline that the settings describe."""

    def __init__(self, settings: Settings, clients: AwsClients, now: datetime) -> None:
        self._settings, self._clients, self._now = settings, clients, now

    def client(self, service: str) -> Any:  # noqa: ANN401 - a client of any service
        """Return the client of a service; raises NotObservedError where no request can be signed."""
        require(self.sign_in)  # only once: where there are no credentials, the search for them takes seconds
        return self._clients(service)

    @fact
    def sign_in(self) -> None:
        """Open the session; a failure is why nothing of AWS can be observed."""
        self._clients.sign_in()

    # SQS

    @fact
    def source_queue(self) -> QueueAttributes:
        """Read the source queue; Missing when it does not exist."""
        return self._read_queue("queue_url")

    @fact
    def dead_letter_queue(self) -> QueueAttributes:
        """Read the dead-letter queue; Missing when it does not exist."""
        return self._read_queue("dead_letter_queue_url")

    def _read_queue(self, setting: str) -> QueueAttributes:
        url = self._settings.required(setting)
        client = self.client("sqs")
        try:
            response = client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        except ClientError as error:
            if is_missing_queue(error):
                missing = Missing(f"there is no queue {url} in {client.meta.region_name}", error)
                raise NotObservedError(missing) from error
            raise
        return QueueAttributes(url, response.get("Attributes", {}), _clock_difference(response))

    # Lambda

    @fact
    def mappings(self) -> list[EventSourceMapping]:
        """Read the event source mappings of the source queue."""
        queue = require(self.source_queue, "the source queue cannot be checked")
        response = self.client("lambda").list_event_source_mappings(EventSourceArn=queue.arn)
        return [_parse_mapping(mapping) for mapping in response["EventSourceMappings"]]

    @fact
    def function(self) -> FunctionConfiguration | None:
        """Read the configuration of the function that consumes the queue, None where there is none."""
        mappings = require(self.mappings)
        if not mappings:
            return None
        return _parse_function(self.client("lambda").get_function_configuration(FunctionName=mappings[0].function_arn))

    @fact
    def reserved_concurrency(self) -> int | None:
        """Read the reserved concurrency of the function, None where none is reserved or no function consumes."""
        mappings = require(self.mappings)
        if not mappings:
            return None
        response = self.client("lambda").get_function_concurrency(FunctionName=mappings[0].function)
        reserved: int | None = response.get("ReservedConcurrentExecutions")
        return reserved

    # CloudWatch

    @fact
    def figures(self) -> Figures:
        """Read the metrics of the queues, of the pipeline and, where it is known, of the function."""
        queue, dead_letters = queue_name(self._settings.queue_url), queue_name(self._settings.dead_letter_queue_url)
        mappings = [] if isinstance(self.mappings, Unobserved) else self.mappings
        metrics = pipeline_metrics(queue, dead_letters, mappings[0].function if mappings else "")
        return read_figures(self.client("cloudwatch"), metrics, self._now)

    @fact
    def oldest_message(self) -> float | None:
        """Return the age in seconds of the oldest message, None in an empty queue or where CloudWatch has no figure."""
        return None if require(self.source_queue).is_empty else self._latest("oldest_message")

    @fact
    def oldest_letter(self) -> float | None:
        """Return the age in seconds of the oldest dead letter, None for no letter or where CloudWatch has no figure."""
        return None if require(self.dead_letter_queue).is_empty else self._latest("oldest_letter")

    def _latest(self, metric: str) -> float | None:
        # CloudWatch is minutes behind: its figure for a queue means nothing once that is empty.
        values = require(self.figures).get(metric)
        return values[0] if values else None

    # CloudTrail and S3

    @property
    def bucket(self) -> str:
        """The trail's bucket; raises SetupError when it is not set."""
        return self._settings.required("bucket")

    @fact
    def trails(self) -> list[Trail]:
        """Read the trails of this account and region that write to the bucket."""
        bucket = self.bucket
        response = self.client("cloudtrail").describe_trails()
        return [_parse_trail(trail) for trail in response["trailList"] if trail.get("S3BucketName") == bucket]

    @fact
    def trail_prefixes(self) -> set[str]:
        """Return the prefixes of the trail's keys: of the setting, or else of this account's trails."""
        if self._settings.trail_prefix:
            return {self._settings.trail_prefix}
        return {f"{trail.key_prefix}/{ROOT}" if trail.key_prefix else ROOT for trail in require(self.trails)}

    @fact
    def trail_states(self) -> list[TrailState]:
        """Read whether these trails log and deliver."""
        return [self._read_trail_state(trail) for trail in require(self.trails)]

    def _read_trail_state(self, trail: Trail) -> TrailState:
        response = self.client("cloudtrail").get_trail_status(Name=trail.arn)
        return TrailState(
            name=trail.name,
            bucket=self.bucket,
            logging=bool(response.get("IsLogging")),
            delivered=response.get("LatestDeliveryTime"),
            delivery_error=response.get("LatestDeliveryError", ""),
        )

    @cached_property
    def _s3(self) -> Any:  # noqa: ANN401 - the client as the tests have it
        client = self.client("s3")
        expect_bucket_owner(client, self._settings.bucket_account)
        return client

    @fact
    def bucket_notifications(self) -> dict[str, Any]:
        """Read the bucket's notification configuration, as S3 returns it."""
        response = self._s3.get_bucket_notification_configuration(Bucket=self.bucket)
        return dict(response)

    def uploads_after(self, bucket: str, folder: str, name: str) -> list[tuple[str, datetime]]:
        """List up to 1,000 files of a folder that follow a name, with the times of their upload."""
        response = self._s3.list_objects_v2(Bucket=bucket, Prefix=folder, StartAfter=name)
        return [(entry["Key"], entry["LastModified"]) for entry in response.get("Contents", [])]

    def folders(self, path: str) -> list[str]:
        """List the folders directly below a path of the bucket, which ends with a slash: up to 10,000 of them."""
        found: list[str] = []
        position: dict[str, str] = {}
        for _ in range(_MAX_PAGES):
            response = self._s3.list_objects_v2(Bucket=self.bucket, Prefix=path, Delimiter="/", **position)
            found += [entry["Prefix"] for entry in response.get("CommonPrefixes", [])]
            if not response.get("NextContinuationToken"):
                break
            position = {"ContinuationToken": response["NextContinuationToken"]}
        return found


def _parse_mapping(mapping: Mapping[str, Any]) -> EventSourceMapping:
    return EventSourceMapping(
        uuid=mapping.get("UUID", ""),
        state=mapping.get("State", ""),
        function_arn=mapping.get("FunctionArn", ""),
        max_concurrency=mapping.get("ScalingConfig", {}).get("MaximumConcurrency"),
        reports_batch_item_failures="ReportBatchItemFailures" in mapping.get("FunctionResponseTypes", []),
    )


def _parse_function(configuration: Mapping[str, Any]) -> FunctionConfiguration:
    network = configuration.get("VpcConfig") or {}
    return FunctionConfiguration(
        role=configuration.get("Role", ""),
        timeout_seconds=int(configuration["Timeout"]),
        environment=configuration.get("Environment", {}).get("Variables", {}),
        vpc_id=network.get("VpcId", ""),
        subnets=network.get("SubnetIds", []),
        security_groups=network.get("SecurityGroupIds", []),
    )


def _parse_trail(trail: Mapping[str, Any]) -> Trail:
    return Trail(
        name=trail.get("Name", ""),
        arn=trail.get("TrailARN", ""),
        key_prefix=trail.get("S3KeyPrefix", ""),
        topic_arn=trail.get("SnsTopicARN", ""),
    )


def _clock_difference(response: Mapping[str, Any]) -> float | None:
    """Return how many seconds apart this machine's clock and that of AWS are, None where the response has no date."""
    date = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    return abs((datetime.now(UTC) - parsedate_to_datetime(date)).total_seconds()) if date else None
