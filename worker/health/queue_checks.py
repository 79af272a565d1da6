"""The doctor's look at the source queue and the dead-letter queue, and at who may send to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from worker.aws.errors import error_text, is_missing_queue
from worker.errors import SetupError
from worker.health.findings import fault, not_checked, ok, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from worker.health.findings import Finding
    from worker.settings import Settings

_FEWEST_RECEIVES = 5  # below it, throttling alone fills the dead-letter queue
_RECEIVES = 40  # waits double from 30 s to 1 h, so that these outlast a day without a cluster
_CLOCK_SECONDS = 60  # SigV4 allows five minutes; a clock that is one off goes on drifting
_DAY = 86_400
_LONGEST_DAYS = 14  # that SQS keeps a message
_LATE_SECONDS = 3_600  # the longest wait of a message that went back
_LAST_DAYS = 3  # a weekend, before letters are deleted

_SERVICES = {"s3.amazonaws.com": "S3", "sns.amazonaws.com": "SNS", "events.amazonaws.com": "EventBridge"}

# docs.aws.amazon.com/AmazonS3/latest/userguide/grant-destinations-permissions-to-s3.html
_KEY_ACTIONS = ("kms:GenerateDataKey", "kms:Decrypt")

# Who announces files to the queue: a service, and the ARN of the bucket, topic or rule that it does so for.
Announcer = tuple[str, str]


_NAMES = {"queue_url": "source queue", "dead_letter_queue_url": "dead-letter queue"}


@dataclass(frozen=True, slots=True)
class _Answer:
    """What SQS says of a queue, and by how many seconds its clock was off ours; `trouble` when it says nothing."""

    attributes: dict[str, str] = field(default_factory=dict)
    clock_seconds: float | None = None
    trouble: str = ""
    is_missing: bool = False


class QueueChecks:
    """Both queues, each asked once."""

    def __init__(self, settings: Settings, aws: Callable[[str], Any], now: datetime) -> None:
        self._settings, self._aws, self._now = settings, aws, now

    @property
    def arn(self) -> str:
        """The source queue's; raises SetupError when the queue cannot be asked."""
        return self._source["QueueArn"]

    @property
    def visibility_seconds(self) -> int:
        """How long a received message is hidden."""
        return int(self._source["VisibilityTimeout"])

    @property
    def url(self) -> str:
        """The source queue's; raises SetupError when it is not set."""
        return self._settings.required("queue_url")

    @property
    def _letters_url(self) -> str:
        return self._settings.required("dead_letter_queue_url")

    @property
    def _source(self) -> dict[str, str]:
        return self._answer("queue_url").attributes

    @property
    def _letters(self) -> dict[str, str]:
        return self._answer("dead_letter_queue_url").attributes

    def _answer(self, setting: str) -> _Answer:
        answer = self._answers[setting]
        if answer.trouble:
            raise SetupError(f"the {_NAMES[setting]} cannot be asked")
        return answer

    @cached_property
    def _answers(self) -> dict[str, _Answer]:
        return {setting: self._ask(setting) for setting in _NAMES}

    def _ask(self, setting: str) -> _Answer:
        try:
            url = self._settings.required(setting)
            answer = self._aws("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])
        except (ClientError, BotoCoreError) as error:
            return _Answer(trouble=error_text(error), is_missing=is_missing_queue(error))
        except SetupError as error:
            return _Answer(trouble=str(error).rstrip("."))
        told = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        off = abs((datetime.now(UTC) - parsedate_to_datetime(told)).total_seconds()) if told else None
        return _Answer(dict(answer["Attributes"]), off)

    def queues(self) -> Iterator[Finding]:
        """Say whether both queues are there."""
        for setting, name in _NAMES.items():
            answer = self._answers[setting]
            if answer.is_missing:
                evidence = f"there is no queue {getattr(self._settings, setting)}"
                yield fault(name, evidence, f"set TRAILSINK_{setting.upper()}, and AWS_REGION to its region")
            elif answer.trouble:
                yield not_checked(name, answer.trouble)
            else:
                yield ok(name, answer.attributes["QueueArn"])

    # What becomes of messages

    def redrive(self) -> Iterator[Finding]:
        """Say whether what crashes the consumer becomes a letter, and not too soon."""
        policy = msgspec.json.decode(self._source.get("RedrivePolicy") or "{}")
        target, receives = policy.get("deadLetterTargetArn"), int(policy.get("maxReceiveCount", 0))
        wanted = {"deadLetterTargetArn": self._letters["QueueArn"], "maxReceiveCount": _RECEIVES}
        fix = _set(self.url, RedrivePolicy=msgspec.json.encode(wanted).decode())
        if target != self._letters["QueueArn"]:
            yield fault("redrive policy", f"it points to {target or 'nothing'}", fix)
        elif receives < _FEWEST_RECEIVES:
            yield fault("redrive policy", f"maxReceiveCount is {receives}: throttling alone makes letters", fix)
        else:
            yield ok("redrive policy", f"to the dead-letter queue after {receives} receives")

    def redrive_allow(self) -> Iterator[Finding]:
        """Say whether the dead-letter queue takes letters of this source."""
        allow = msgspec.json.decode(self._letters.get("RedriveAllowPolicy") or "{}")
        permission, sources = allow.get("redrivePermission", "allowAll"), allow.get("sourceQueueArns", [])
        if permission == "denyAll" or (permission == "byQueue" and self.arn not in sources):
            wanted = {"redrivePermission": "byQueue", "sourceQueueArns": [*sources, self.arn]}
            fix = _set(self._letters_url, RedriveAllowPolicy=msgspec.json.encode(wanted).decode())
            yield fault("redrive allow policy", f"{permission}, without the source queue", fix)
        else:
            yield ok("redrive allow policy", permission)

    def retention(self) -> Iterator[Finding]:
        """Say how long messages and letters are kept: a letter that SQS moved has the age that it had."""
        source, letters = (int(one.get("MessageRetentionPeriod", 0)) for one in (self._source, self._letters))
        kept = f"messages {_days(source)}, letters {_days(letters)}"
        longest = str(_LONGEST_DAYS * _DAY)
        if source < _DAY:
            evidence = f"{kept}: a cluster that is away for a day loses messages"
            yield fault("retention of the queues", evidence, _set(self.url, MessageRetentionPeriod=longest))
        elif letters <= source and letters < _LONGEST_DAYS * _DAY:
            evidence = f"{kept}: a letter that SQS moves may be deleted before anybody sees it"
            fix = _set(self._letters_url, MessageRetentionPeriod=longest)
            yield warning("retention of the queues", evidence, fix)
        else:
            yield ok("retention of the queues", kept)

    def letters(self) -> Iterator[Finding]:
        """Count what could not be indexed."""
        letters = int(self._letters.get("ApproximateNumberOfMessages", 0))
        if letters:
            yield warning("dead letters", f"{letters} are there", "trailsink dlq list")
        else:
            yield ok("dead letters", "none")

    def age(self) -> Iterator[Finding]:
        """Ask CloudWatch how old the oldest message and letter are."""
        check = "age of the oldest message"
        source, letters = (self._oldest(one["QueueArn"].rpartition(":")[2]) for one in (self._source, self._letters))
        if source is None and letters is None:
            yield not_checked(check, "CloudWatch has no number of the last quarter of an hour")
            return
        ages = f"{source or 0:.0f} s in the queue, {_days(letters or 0)} in the dead-letter queue"
        longest = int(self._letters.get("MessageRetentionPeriod", 0))
        if letters and letters > longest - _LAST_DAYS * _DAY:
            yield warning(check, f"{ages}: letters are deleted after {_days(longest)}", "trailsink dlq list")
        elif source and source > _LATE_SECONDS:
            fix = "see what the consumer logs: nobody consumes, or the cluster takes less than comes"
            yield warning(check, ages, fix)
        else:
            yield ok(check, ages)

    def _oldest(self, queue: str) -> float | None:
        answer: Any = self._aws("cloudwatch").get_metric_statistics(
            Namespace="AWS/SQS",
            MetricName="ApproximateAgeOfOldestMessage",
            Dimensions=[{"Name": "QueueName", "Value": queue}],
            StartTime=self._now - timedelta(minutes=15),
            EndTime=self._now,
            Period=300,
            Statistics=["Maximum"],
        )
        return max((float(one["Maximum"]) for one in answer["Datapoints"]), default=None)

    def clock(self) -> Iterator[Finding]:
        """Compare this machine's clock with that of SQS."""
        off = self._answer("queue_url").clock_seconds
        if off is None:
            yield not_checked("clock", "SQS did not say its time")
        elif off < _CLOCK_SECONDS:
            yield ok("clock", f"{off:.0f} s from AWS's")
        else:
            yield fault(
                "clock", f"{off:.0f} s from AWS's", "set this machine's clock, and have it kept: signatures age"
            )

    # Who may send

    def policy(self, announcers: Sequence[Announcer]) -> Iterator[Finding]:
        """Say whether those who announce files may send to the queue."""
        statements = _statements(self._source.get("Policy"))
        if not announcers:
            yield not_checked("queue policy", "for whom it must be open is not known: TRAILSINK_BUCKET is not set")
        for service, arn in announcers:
            name = _SERVICES.get(service, service)
            if any(_lets(one, service, "sqs:SendMessage", arn) for one in statements):
                yield ok("queue policy", f"lets {name} send for {arn}")
                continue
            statement = {
                "Effect": "Allow",
                "Principal": {"Service": service},
                "Action": "sqs:SendMessage",
                "Resource": self.arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": arn}},
            }
            fix = f"add to the queue's Policy: {msgspec.json.encode(statement).decode()}"
            yield fault("queue policy", f"does not let {name} send for {arn}", fix)

    def encryption(self, announcers: Sequence[Announcer]) -> Iterator[Finding]:
        """Say whether those who announce files can use the queue's key."""
        key = self._source.get("KmsMasterKeyId", "")
        if key:
            yield from self._key(key, [service for service, _ in announcers] or ["s3.amazonaws.com"])
        elif self._source.get("SqsManagedSseEnabled") == "true":
            yield ok("queue encryption", "SSE-SQS")
        else:
            yield warning("queue encryption", "none", _set(self.url, SqsManagedSseEnabled="true"))

    def _key(self, key: str, services: Sequence[str]) -> Iterator[Finding]:
        names = ", ".join(_SERVICES.get(service, service) for service in services)
        own = "use SSE-SQS, or a key of your own whose policy lets the service use it"
        if key.endswith("alias/aws/sqs"):
            yield fault("queue encryption", f"{names} cannot use the key alias/aws/sqs", own)
            return
        kms = self._aws("kms")
        try:
            about: Any = kms.describe_key(KeyId=key)["KeyMetadata"]
            policy = kms.get_key_policy(KeyId=about["KeyId"], PolicyName="default")["Policy"]
        except (ClientError, BotoCoreError) as error:
            yield not_checked(
                "queue encryption", f"whether {names} may use the key {key} cannot be seen: {error_text(error)}"
            )
            return
        statements = _statements(policy)
        shut_out = [
            service
            for service in services
            if not all(any(_lets(one, service, action) for one in statements) for action in _KEY_ACTIONS)
        ]
        if about.get("KeyState", "Enabled") != "Enabled":
            fix = f"aws kms enable-key --key-id {about['KeyId']}"
            yield fault("queue encryption", f"the key {key} is {about['KeyState']}: no message gets in or out", fix)
        elif shut_out:
            fix = (
                f"let {', '.join(shut_out)} use {' and '.join(_KEY_ACTIONS)} in the policy of the key {about['KeyId']}"
            )
            yield fault("queue encryption", f"the policy of the key {key} does not let {names} use it", fix)
        else:
            yield ok("queue encryption", f"key {key}, which {names} may use")


def _set(url: str, **attributes: str) -> str:
    return f"aws sqs set-queue-attributes --queue-url {url} --attributes '{msgspec.json.encode(attributes).decode()}'"


def _days(seconds: float) -> str:
    return f"{seconds / _DAY:.0f} d" if seconds >= _DAY else f"{seconds / 3600:.1f} h"


def _statements(policy: str | None) -> list[dict[str, Any]]:
    found: Any = msgspec.json.decode(policy or "{}").get("Statement", [])
    return found if isinstance(found, list) else [found]


def _lets(statement: dict[str, Any], service: str, action: str, source: str = "") -> bool:
    """Say whether a statement allows a service an action on behalf of a source; what it denies is not looked at."""
    return (
        statement.get("Effect") == "Allow"
        and _is_for(statement.get("Principal"), service)
        and any(fnmatchcase(action.lower(), one.lower()) for one in _several(statement.get("Action")))
        and (not source or _covers(statement.get("Condition", {}), source))
    )


def _is_for(principal: Any, service: str) -> bool:  # noqa: ANN401 - as the policy has it
    if not isinstance(principal, dict):
        return bool(principal == "*")
    return "*" in _several(principal.get("AWS")) or service in _several(principal.get("Service"))


def _covers(conditions: dict[str, dict[str, Any]], source: str) -> bool:
    """Say whether the conditions on the source's ARN, if there are any, hold for it."""
    asked = [
        _several(values)
        for tests in conditions.values()
        for name, values in tests.items()
        if name.lower() == "aws:sourcearn"
    ]
    return all(any(fnmatchcase(source, pattern) for pattern in patterns) for patterns in asked)


def _several(value: Any) -> list[str]:  # noqa: ANN401 - one or many, as policies allow
    return [] if value is None else [str(one) for one in value] if isinstance(value, list) else [str(value)]
