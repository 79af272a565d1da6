"""The doctor's checks of the trail, and of how its new files are announced to the queue."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any, TypeAlias

from botocore.exceptions import ClientError

from worker.aws.bucket_notifications import (
    OwnNotification,
    conflicts,
    encode_filter,
    entries_for_queue,
    key_filter,
    unencoded_filters,
)
from worker.health.check import check
from worker.health.findings import Judgement
from worker.health.iam import EVENT_BRIDGE, S3, SNS, named_sources, parse_statements
from worker.health.observe import fact, require
from worker.health.rules import PASSED_OVER_WINDOW, judge_trails
from worker.health.snapshot import Unobserved

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from worker.health.aws_facts import AwsFacts
    from worker.settings import Settings

# What announces files to the queue: a service, and the ARN of the bucket, topic or rule that it does so for.
Announcer: TypeAlias = tuple[str, str]


class TrailChecks:
    """The trail's bucket with its notifications, and the trails that write to it."""

    def __init__(self, settings: Settings, facts: AwsFacts, now: datetime) -> None:
        self._settings, self._facts, self._now = settings, facts, now

    @property
    def _queue_arn(self) -> str:
        return require(self._facts.source_queue, "the source queue cannot be checked").arn

    @property
    def _bucket_arn(self) -> str:
        # The partition (aws, aws-cn, aws-us-gov) is the queue's.
        return f"arn:{self._queue_arn.split(':')[1]}:s3:::{self._facts.bucket}"

    @property
    def _notifications(self) -> dict[str, Any]:
        return require(self._facts.bucket_notifications)

    # What announces new files

    def announcers(self) -> list[Announcer]:
        """Return what announces files to the queue; nothing where no bucket is set.

        It is the bucket itself where nothing does. Where that cannot be seen, as with a topic of another account, it is
        what the queue's policy names.
        """
        if not self._settings.bucket:
            return []
        bucket = (S3, self._bucket_arn)
        notifications, relays = self._facts.bucket_notifications, self.relays
        if isinstance(notifications, Unobserved):
            return self._allowed_senders() or [bucket]
        direct = [bucket] if entries_for_queue(notifications, self._queue_arn) else []
        if isinstance(relays, Unobserved):
            return direct or self._allowed_senders() or [bucket]
        return [*direct, *relays] or [bucket]

    def _allowed_senders(self) -> list[Announcer]:
        """Return the topics and rules that the queue's policy lets send."""
        queue = require(self._facts.source_queue, "the source queue cannot be checked")
        statements = parse_statements(queue.attributes.get("Policy"))
        return [
            (service, arn)
            for service in (SNS, EVENT_BRIDGE)
            for arn in named_sources(statements, service, "sqs:SendMessage")
        ]

    @fact
    def relays(self) -> list[Announcer]:
        """Read which topics of the bucket or the trail, and which EventBridge rules, announce files to the queue."""
        topics, denied = self._topics()
        relays = [*topics, *self._rules()]
        if denied and not relays:
            raise denied
        return relays

    def _topics(self) -> tuple[list[Announcer], ClientError | None]:
        """Return the topics with the queue as a subscriber, and the error of one whose subscribers may not be listed.

        That one may be of another account, and of no concern.
        """
        topics = {entry["TopicArn"] for entry in self._notifications.get("TopicConfigurations", ())}
        trails = self._facts.trails
        if not isinstance(trails, Unobserved):
            topics |= {trail.topic_arn for trail in trails if trail.topic_arn}
        found: list[Announcer] = []
        denied: ClientError | None = None
        for topic in sorted(topics):
            try:
                if self._has_queue(topic):
                    found.append((SNS, topic))
            except ClientError as error:
                denied = error
        return found, denied

    def _has_queue(self, topic: str) -> bool:
        paginator = self._facts.client("sns").get_paginator("list_subscriptions_by_topic")
        subscriptions = (entry for page in paginator.paginate(TopicArn=topic) for entry in page["Subscriptions"])
        return any(entry.get("Endpoint") == self._queue_arn for entry in subscriptions)

    def _rules(self) -> Iterator[Announcer]:
        if "EventBridgeConfiguration" not in self._notifications:
            return
        client = self._facts.client("events")
        for name in client.list_rule_names_by_target(TargetArn=self._queue_arn)["RuleNames"]:
            rule = client.describe_rule(Name=name)
            if rule.get("State") == "ENABLED":
                yield EVENT_BRIDGE, rule["Arn"]

    @check("bucket notification")
    def notification(self) -> Iterator[Judgement]:
        """Check that new files are announced to the queue, and if not, which entries prevent it."""
        entries = entries_for_queue(self._notifications, self._queue_arn)
        if entries:
            yield from map(self._judge_entry, entries)
            return
        relays = require(self.relays)
        own = OwnNotification("", self._queue_arn, self._settings.trail_prefix)
        obstacles = conflicts(self._notifications, own)
        evidence = f"s3://{self._facts.bucket} does not notify the queue"
        if relays:
            yield Judgement.ok(f"by way of {', '.join(arn for _, arn in relays)}")
        elif obstacles:
            fix = "feed the queue by that topic or by EventBridge (`trailsink deploy --set NotificationSource=...`)"
            yield Judgement.fault(f"{evidence}, and {' and '.join(obstacles)}", f"{fix}, or choose another prefix")
        else:
            again = f"trailsink deploy --set NotificationVersion={self._now:%Y%m%dT%H%M%S}"
            fix = f"{again}, then trailsink backfill --missing --since {(self._now - PASSED_OVER_WINDOW).date()}"
            others = "; without a stack, add a notification of s3:ObjectCreated:* to the queue"
            yield Judgement.fault(evidence, f"{fix}{others}")

    def _judge_entry(self, entry: dict[str, Any]) -> Judgement:
        prefix, suffix = key_filter(entry)
        files = f"s3://{self._facts.bucket}/{prefix}*{suffix}"
        own = OwnNotification(entry.get("Id", ""), self._queue_arn, prefix, suffix)
        if overlapping := conflicts(self._notifications, own):
            fix = f"remove one of the two, or give them prefixes that do not overlap; ours is {entry.get('Id')}"
            return Judgement.warning(f"{files} to the queue, but also {' and '.join(overlapping)}", fix)
        return Judgement.ok(f"{files} to the queue")

    @check("prefix")
    def prefix(self) -> Iterator[Judgement]:
        """Compare what is announced with where the trail writes; a topic or rule has filters of its own."""
        entries = entries_for_queue(self._notifications, self._queue_arn)
        if not entries:
            return
        for value in [value for entry in entries for value in unencoded_filters(entry)]:
            evidence = f"S3 compares filters with encoded keys, so the filter {value} matches none"
            yield Judgement.fault(
                evidence, f"replace it by {encode_filter(value)}; an upgrade by `trailsink deploy` does"
            )
        filters = [key_filter(entry) for entry in entries if not unencoded_filters(entry)]
        if not filters:
            return
        prefixes = require(self._facts.trail_prefixes)
        if not prefixes:
            yield Judgement.not_checked(f"no trail of this account and region writes to s3://{self._facts.bucket}")
        for prefix in sorted(prefixes):
            yield _judge_prefix(prefix, filters)

    # The trail itself

    @check("trail")
    def trail(self) -> Iterator[Judgement]:
        """Check that the trails log and deliver."""
        yield from judge_trails(require(self._facts.trail_states), self._now)


def _judge_prefix(prefix: str, filters: list[tuple[str, str]]) -> Judgement:
    """Judge whether entries with these prefixes and suffixes announce the files below a trail's prefix."""
    of_files = [(start, suffix) for start, suffix in filters if ".json.gz".endswith(suffix)]
    announced = ", ".join(f"{start}*{suffix}" for start, suffix in of_files) or "no .json.gz"
    setting = f"trailsink deploy --set {shlex.quote(f'TrailPrefix={prefix}')}"
    fix = f"give the notification the prefix {encode_filter(prefix)} (`{setting}`)"
    if any(prefix.startswith(start) for start, _ in of_files):
        return Judgement.ok(f"the trail writes below {prefix}, announced is {announced}")
    if any(start.startswith(prefix) for start, _ in of_files):
        return Judgement.warning(f"the trail writes below {prefix}, but only {announced} is announced", fix)
    return Judgement.fault(f"the trail writes below {prefix}, but announced is {announced}", fix)
