"""The doctor's checks of the source queue and the dead-letter queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from worker.health.check import check
from worker.health.findings import Judgement, worst
from worker.health.observe import judge_unobserved, require
from worker.health.queue_attributes import QueueAttributes
from worker.health.rules import judge_letters, judge_oldest_letter, judge_oldest_message
from worker.health.snapshot import Missing, Observed
from worker.humanize import format_duration
from worker.pipeline.limits import MAX_RECEIVE_COUNT
from worker.settings import variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.health.aws_facts import AwsFacts

_DAY = 86_400

# With fewer receives, throttling alone makes dead letters.
_MIN_RECEIVES = 5

# SigV4 allows five minutes, and a clock that is a minute off goes on drifting.
_MAX_CLOCK_SECONDS = 60

_MAX_RETENTION_SECONDS = 14 * _DAY  # of SQS


class QueueChecks:
    """What happens to messages, and to letters."""

    def __init__(self, facts: AwsFacts) -> None:
        self._facts = facts

    @property
    def _source(self) -> QueueAttributes:
        return require(self._facts.source_queue, "the source queue cannot be checked")

    @property
    def _dead_letters(self) -> QueueAttributes:
        return require(self._facts.dead_letter_queue, "the dead-letter queue cannot be checked")

    @check("source queue")
    def source_queue(self) -> Iterator[Judgement]:
        """Check that the source queue exists."""
        yield _judge_existence(self._facts.source_queue, "queue_url")

    @check("dead-letter queue")
    def dead_letter_queue(self) -> Iterator[Judgement]:
        """Check that the dead-letter queue exists."""
        yield _judge_existence(self._facts.dead_letter_queue, "dead_letter_queue_url")

    @check("redrive policy")
    def redrive(self) -> Iterator[Judgement]:
        """Check that a message that crashes the consumer becomes a letter, but not too soon."""
        policy, dead_letter_arn = self._source.policy("RedrivePolicy"), self._dead_letters.arn
        target, receives = policy.get("deadLetterTargetArn"), int(policy.get("maxReceiveCount", 0))
        expected = {"deadLetterTargetArn": dead_letter_arn, "maxReceiveCount": MAX_RECEIVE_COUNT}
        fix = set_attributes(self._source.url, RedrivePolicy=_json(expected))
        if target != dead_letter_arn:
            yield Judgement.fault(f"it points to {target or 'nothing'}", fix)
        elif receives < _MIN_RECEIVES:
            yield Judgement.fault(f"maxReceiveCount is {receives}: throttling alone makes letters", fix)
        elif receives < MAX_RECEIVE_COUNT:
            evidence = f"to the dead-letter queue after {receives} receives; {MAX_RECEIVE_COUNT} outlast 36 hours"
            yield Judgement.warning(evidence, fix)
        else:
            yield Judgement.ok(f"to the dead-letter queue after {receives} receives")

    @check("redrive allow policy")
    def redrive_allow(self) -> Iterator[Judgement]:
        """Check that the dead-letter queue accepts letters of the source queue."""
        policy = self._dead_letters.policy("RedriveAllowPolicy")
        permission, sources = policy.get("redrivePermission", "allowAll"), policy.get("sourceQueueArns", [])
        if permission == "denyAll" or (permission == "byQueue" and self._source.arn not in sources):
            expected = {"redrivePermission": "byQueue", "sourceQueueArns": [*sources, self._source.arn]}
            fix = set_attributes(self._dead_letters.url, RedriveAllowPolicy=_json(expected))
            yield Judgement.fault(f"{permission}, without the source queue", fix)
        else:
            yield Judgement.ok(permission)

    @check("retention of the queues")
    def retention(self) -> Iterator[Judgement]:
        """Check how long messages and letters are kept. A letter that SQS moved keeps its age as a message."""
        source, dead_letters = self._source.retention_seconds, self._dead_letters.retention_seconds
        evidence = f"messages {format_duration(source)}, letters {format_duration(dead_letters)}"
        longest = str(_MAX_RETENTION_SECONDS)
        if source < _DAY:
            fix = set_attributes(self._source.url, MessageRetentionPeriod=longest)
            yield Judgement.fault(f"{evidence}: a cluster that is down for a day loses messages", fix)
        elif dead_letters <= source and dead_letters < _MAX_RETENTION_SECONDS:
            fix = set_attributes(self._dead_letters.url, MessageRetentionPeriod=longest)
            yield Judgement.warning(f"{evidence}: a letter that SQS moves may be deleted before anybody sees it", fix)
        else:
            yield Judgement.ok(evidence)

    @check("dead letters")
    def letters(self) -> Iterator[Judgement]:
        """Count the dead letters."""
        yield judge_letters(self._dead_letters.messages)

    @check("age of the oldest message")
    def age(self) -> Iterator[Judgement]:
        """Check how old the oldest message and the oldest letter are."""
        retention = self._dead_letters.retention_seconds
        if not {"oldest_message", "oldest_letter"} & require(self._facts.figures).keys():
            yield Judgement.not_checked("CloudWatch has no figure of the last quarter of an hour")
            return
        message, letter = require(self._facts.oldest_message), require(self._facts.oldest_letter)
        judgements = [
            judge_oldest_message(0 if self._source.is_empty else message),
            judge_oldest_letter(0 if self._dead_letters.is_empty else letter, retention),
        ]
        status = worst(judgement.status for judgement in judgements)
        evidence = ", ".join(judgement.evidence for judgement in judgements)
        yield Judgement(status, evidence, next(judgement.fix for judgement in judgements if judgement.status is status))

    @check("clock")
    def clock(self) -> Iterator[Judgement]:
        """Compare this machine's clock with that of SQS."""
        seconds = self._source.clock_seconds
        if seconds is None:
            yield Judgement.not_checked("SQS did not report its time")
        elif seconds < _MAX_CLOCK_SECONDS:
            yield Judgement.ok(f"{seconds:.0f} s from AWS's")
        else:
            fix = "set this machine's clock, and keep it synchronised: AWS refuses old signatures"
            yield Judgement.fault(f"{seconds:.0f} s from AWS's", fix)


def _judge_existence(queue: Observed[QueueAttributes], setting: str) -> Judgement:
    match queue:
        case QueueAttributes() if queue.attributes.get("FifoQueue") == "true":
            fix = f"create a standard queue, and set {variable(setting)} to it"
            return Judgement.fault(f"{queue.arn} is a FIFO queue: S3 cannot send to it", fix)
        case QueueAttributes():
            return Judgement.ok(queue.arn)
        case Missing():
            return Judgement.fault(queue.why, f"set {variable(setting)}, and AWS_REGION to its region")
    return judge_unobserved(queue)


def set_attributes(url: str, **attributes: str) -> str:
    """Return the command that sets attributes of a queue."""
    return f"aws sqs set-queue-attributes --queue-url {url} --attributes '{_json(attributes)}'"


def _json(document: dict[str, Any]) -> str:
    return msgspec.json.encode(document).decode()
