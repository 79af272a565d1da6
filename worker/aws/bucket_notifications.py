"""A bucket's event notifications: our own queue configuration in, changed or out, and nobody else's touched.

S3 knows only the whole configuration of a bucket: what is left out of a put is gone.
docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketNotificationConfiguration.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


EVENTS = "s3:ObjectCreated:*"


_QUEUES = "QueueConfigurations"


_EVENT_BRIDGE = "EventBridgeConfiguration"


# Where each kind of destination stands, what its address is called, and what people call it.
_KINDS = {
    _QUEUES: ("QueueArn", "queue"),
    "TopicConfigurations": ("TopicArn", "topic"),
    "LambdaFunctionConfigurations": ("LambdaFunctionArn", "Lambda function"),
}


@dataclass(frozen=True, slots=True)
class OwnNotification:
    """The one configuration that is ours: new objects of one prefix and suffix are announced to one queue."""

    id: str
    queue_arn: str
    prefix: str = ""
    suffix: str = ""

    @property
    def entry(self) -> dict[str, Any]:
        """As S3 takes it."""
        entry: dict[str, Any] = {"Id": self.id, "QueueArn": self.queue_arn, "Events": [EVENTS]}
        rules = [{"Name": name, "Value": value} for name, value in self._filters if value]
        return entry | ({"Filter": {"Key": {"FilterRules": rules}}} if rules else {})

    @property
    def _filters(self) -> tuple[tuple[str, str], ...]:
        return ("prefix", self.prefix), ("suffix", self.suffix)


def add_queue(there: Mapping[str, Any], ours: OwnNotification) -> dict[str, Any]:
    """Add our configuration, or put it in the place of the one that has its id."""
    queues = list(there.get(_QUEUES, ()))
    at = next((at for at, one in enumerate(queues) if one.get("Id") == ours.id), len(queues))
    queues[at : at + 1] = [ours.entry]
    return _rest(there) | {_QUEUES: queues}


def remove_queue(there: Mapping[str, Any], id_: str, queue_arn: str) -> dict[str, Any]:
    """Take our configuration out: the one that has both our id and our queue.

    One of the same id that feeds another queue is another's.
    """
    queues = [one for one in there.get(_QUEUES, ()) if (one.get("Id"), one.get("QueueArn")) != (id_, queue_arn)]
    return _rest(there) | ({_QUEUES: queues} if queues else {})


def with_event_bridge(there: Mapping[str, Any]) -> dict[str, Any]:
    """Have the bucket's events sent to EventBridge as well; that is one switch for all who listen there."""
    return normalized(there) | {_EVENT_BRIDGE: {}}


def normalized(there: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration without the SDK's remarks and without empty lists, as it can be put again."""
    return {name: value for name, value in there.items() if name != "ResponseMetadata" and value != []}


def equivalent(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two configurations mean the same; S3 changes their order and how names are written."""
    return _meaning(one) == _meaning(other)


def conflicts(there: Mapping[str, Any], ours: OwnNotification) -> list[str]:
    """Name each configuration of others that S3 would not have beside ours.

    Two configurations of the same events may not have overlapping prefixes, unless their suffixes do not overlap; what
    is not said overlaps everything. docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
    """
    found = []
    for kind, entry in _entries(there):
        address, name = _KINDS[kind]
        if entry.get("Id") == ours.id:
            if kind != _QUEUES:
                found.append(f"configuration {ours.id} for {name} {entry.get(address)} has the id that is to be ours")
        elif _overlaps(entry, ours):
            prefix, suffix = key_filter(entry)
            found.append(
                f"configuration {entry.get('Id')} announces {', '.join(entry.get('Events', ()))} under "
                f"{_quoted('prefix', prefix)} and {_quoted('suffix', suffix)} to {name} {entry.get(address)}"
            )
    return found


def entries_for_queue(there: Mapping[str, Any], queue_arn: str) -> list[dict[str, Any]]:
    """Return the configurations that announce new objects to a queue."""
    return [
        one
        for one in there.get(_QUEUES, ())
        if one.get("QueueArn") == queue_arn and any(_same_family(event, EVENTS) for event in one.get("Events", ()))
    ]


def key_filter(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Read prefix and suffix, "" where there is none; S3 answers `Prefix` where `prefix` was put."""
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", ())
    given = {str(rule.get("Name", "")).lower(): str(rule.get("Value", "")) for rule in rules}
    return given.get("prefix", ""), given.get("suffix", "")


def _rest(there: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in normalized(there).items() if name != _QUEUES}


def _entries(there: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((kind, entry) for kind in _KINDS for entry in there.get(kind, ()))


def _meaning(there: Mapping[str, Any]) -> object:
    entries = {
        (kind, entry.get("Id"), entry.get(_KINDS[kind][0]), frozenset(entry.get("Events", ())), key_filter(entry))
        for kind, entry in _entries(there)
    }
    return _EVENT_BRIDGE in there, entries


def _overlaps(entry: Mapping[str, Any], ours: OwnNotification) -> bool:
    prefix, suffix = key_filter(entry)
    return (
        any(_same_family(event, EVENTS) for event in entry.get("Events", ()))
        and (prefix.startswith(ours.prefix) or ours.prefix.startswith(prefix))
        and (suffix.endswith(ours.suffix) or ours.suffix.endswith(suffix))
    )


def _same_family(one: str, other: str) -> bool:
    """Compare event types, each of which may end in an asterisk."""
    if one.endswith("*"):
        return other.startswith(one[:-1]) or (other.endswith("*") and one.startswith(other[:-1]))
    return one.startswith(other[:-1]) if other.endswith("*") else one == other


def _quoted(name: str, value: str) -> str:
    return f"{name} '{value}'" if value else f"any {name}"
