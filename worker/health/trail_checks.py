"""The doctor's look at the trail, and at how the queue gets to know of its files."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.bucket_notifications import OwnNotification, conflicts, entries_for_queue, key_filter
from worker.health.findings import fault, not_checked, ok, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.health.findings import Finding
    from worker.health.queue_checks import Announcer, QueueChecks
    from worker.settings import Settings

_S3, _SNS, _EVENTS = "s3.amazonaws.com", "sns.amazonaws.com", "events.amazonaws.com"


class TrailChecks:
    """The trail's bucket with its notifications, and the trails that write to it."""

    def __init__(self, settings: Settings, aws: Callable[[str], Any], queues: QueueChecks, trail_prefix: str) -> None:
        self._settings, self._aws, self._queues, self._given_prefix = settings, aws, queues, trail_prefix

    @property
    def _bucket(self) -> str:
        return self._settings.required("bucket")

    @property
    def _bucket_arn(self) -> str:
        # The partition (aws, aws-cn, aws-us-gov) is the queue's.
        return f"arn:{self._queues.arn.split(':')[1]}:s3:::{self._bucket}"

    @cached_property
    def _there(self) -> dict[str, Any]:
        found: Any = self._aws("s3").get_bucket_notification_configuration(Bucket=self._bucket)
        return dict(found)

    @cached_property
    def _trails(self) -> list[dict[str, Any]]:
        found: Any = self._aws("cloudtrail").describe_trails()["trailList"]
        return [one for one in found if one.get("S3BucketName") == self._bucket]

    # Who tells the queue

    def announcers(self) -> list[Announcer]:
        """Name those who tell the queue; the bucket itself, where that cannot be seen or nobody does.

        Nobody is known where no bucket is.
        """
        if not self._settings.bucket:
            return []
        try:
            return [*self._direct(), *self._by_way()] or [(_S3, self._bucket_arn)]
        except (ClientError, BotoCoreError):
            return [(_S3, self._bucket_arn)]

    def _direct(self) -> list[Announcer]:
        return [(_S3, self._bucket_arn)] if entries_for_queue(self._there, self._queues.arn) else []

    def _by_way(self) -> Iterator[Announcer]:
        """Look who else is told, and tells the queue: topics of the bucket or of the trail, rules of EventBridge."""
        for topic in self._topics():
            sns: Any = self._aws("sns")
            pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
            subscribed = (one for page in pages for one in page["Subscriptions"])
            if any(one.get("Endpoint") == self._queues.arn for one in subscribed):
                yield _SNS, topic
        if "EventBridgeConfiguration" in self._there:
            events: Any = self._aws("events")
            for name in events.list_rule_names_by_target(TargetArn=self._queues.arn)["RuleNames"]:
                rule = events.describe_rule(Name=name)
                if rule.get("State") == "ENABLED":
                    yield _EVENTS, rule["Arn"]

    def _topics(self) -> set[str]:
        of_the_bucket = {one["TopicArn"] for one in self._there.get("TopicConfigurations", ())}
        try:
            return of_the_bucket | {one["SnsTopicARN"] for one in self._trails if one.get("SnsTopicARN")}
        except (ClientError, BotoCoreError):
            return of_the_bucket

    def notification(self) -> Iterator[Finding]:
        """Say who announces new files to the queue, and who stands in the way when nobody does."""
        check = "bucket notification"
        entries = entries_for_queue(self._there, self._queues.arn)
        if entries:
            for entry in entries:
                yield from self._overlaps(entry)
            return
        others = list(self._by_way())
        in_the_way = conflicts(self._there, OwnNotification("", self._queues.arn, self._given_prefix))
        if others:
            yield ok(check, f"by way of {', '.join(arn for _, arn in others)}")
        elif in_the_way:
            evidence = f"s3://{self._bucket} does not tell the queue, and {' and '.join(in_the_way)}"
            fix = "feed the queue by that topic or by EventBridge (`trailsink deploy --set NotificationSource=...`)"
            yield fault(check, evidence, f"{fix}, or choose another prefix")
        else:
            fix = "add a notification of s3:ObjectCreated:* to the queue; `trailsink deploy` does"
            yield fault(check, f"s3://{self._bucket} does not tell the queue", fix)

    def _overlaps(self, entry: dict[str, Any]) -> Iterator[Finding]:
        prefix, suffix = key_filter(entry)
        where = f"s3://{self._bucket}/{prefix}*{suffix}"
        others = conflicts(self._there, OwnNotification(entry.get("Id", ""), self._queues.arn, prefix, suffix))
        if others:
            fix = f"remove one of the two, or give them prefixes apart; ours is {entry.get('Id')}"
            yield warning("bucket notification", f"{where} to the queue, but also {' and '.join(others)}", fix)
        else:
            yield ok("bucket notification", f"{where} to the queue")

    def prefix(self) -> Iterator[Finding]:
        """Compare what is announced with where the trail writes; the topic and the rule have filters of their own."""
        entries = entries_for_queue(self._there, self._queues.arn)
        if not entries:
            return
        wanted = self._prefixes()
        if not wanted:
            yield not_checked("prefix", f"no trail of this account and region writes to s3://{self._bucket}")
        for prefix in sorted(wanted):
            yield self._covered(prefix, [key_filter(entry) for entry in entries])

    def _prefixes(self) -> set[str]:
        if self._given_prefix:
            return {self._given_prefix}
        return {f"{one['S3KeyPrefix']}/AWSLogs/" if one.get("S3KeyPrefix") else "AWSLogs/" for one in self._trails}

    @staticmethod
    def _covered(prefix: str, filters: list[tuple[str, str]]) -> Finding:
        filters = [(begins, ends) for begins, ends in filters if ".json.gz".endswith(ends)]
        announced = ", ".join(f"{begins}*{ends}" for begins, ends in filters) or "no .json.gz"
        fix = f"give the notification the prefix {prefix} (`trailsink deploy --set TrailPrefix={prefix}`)"
        if any(prefix.startswith(begins) for begins, _ in filters):
            return ok("prefix", f"the trail writes below {prefix}, announced is {announced}")
        if any(begins.startswith(prefix) for begins, _ in filters):
            return warning("prefix", f"the trail writes below {prefix}, and only {announced} is announced", fix)
        return fault("prefix", f"the trail writes below {prefix}, and announced is {announced}", fix)

    # The trail itself

    def trail(self) -> Iterator[Finding]:
        """Say whether the trails log and deliver."""
        if not self._trails:
            yield not_checked("trail", f"none of this account and region writes to s3://{self._bucket}")
        client = self._aws("cloudtrail")
        for trail in self._trails:
            name = trail.get("Name", "")
            status: Any = client.get_trail_status(Name=trail["TrailARN"])
            if not status.get("IsLogging"):
                yield fault("trail", f"{name} is not logging", f"aws cloudtrail start-logging --name {name}")
            elif wrong := status.get("LatestDeliveryError"):
                fix = f"let cloudtrail.amazonaws.com s3:PutObject in the policy of s3://{self._bucket}, and use its key"
                yield fault("trail", f"{name} cannot deliver: {wrong}", fix)
            else:
                yield ok("trail", f"{name} is logging, delivered {status.get('LatestDeliveryTime', 'nothing yet')}")
