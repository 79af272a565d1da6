"""A bucket's notification configuration: adds, changes or removes our own entry, and leaves all others alone.

S3 replaces the whole configuration with each put, so an entry that is left out is deleted.
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

# Each kind of destination: the member that holds its ARN, and its name in messages.
_DESTINATIONS = {
    _QUEUES: ("QueueArn", "queue"),
    "TopicConfigurations": ("TopicArn", "topic"),
    "LambdaFunctionConfigurations": ("LambdaFunctionArn", "Lambda function"),
}


@dataclass(frozen=True, slots=True)
class OwnNotification:
    """Our entry in a bucket: new objects of one prefix and suffix are announced to one queue."""

    id: str
    queue_arn: str
    prefix: str = ""
    suffix: str = ""

    @property
    def entry(self) -> dict[str, Any]:
        """The entry as S3 takes it."""
        entry: dict[str, Any] = {"Id": self.id, "QueueArn": self.queue_arn, "Events": [EVENTS]}
        filters = ("prefix", self.prefix), ("suffix", self.suffix)
        rules = [{"Name": name, "Value": value} for name, value in filters if value]
        return entry | ({"Filter": {"Key": {"FilterRules": rules}}} if rules else {})


def add_queue(existing: Mapping[str, Any], own: OwnNotification) -> dict[str, Any]:
    """Return the configuration with our entry, in the place of an older one that has our id."""
    # Not a dict by id: S3 names every entry, but a compatible store that does not would lose all but one.
    queues = [own.entry if entry.get("Id") == own.id else entry for entry in existing.get(_QUEUES, ())]
    if own.entry not in queues:
        queues.append(own.entry)
    return _without_queues(existing) | {_QUEUES: queues}


def remove_queue(existing: Mapping[str, Any], id_: str, queue_arn: str) -> dict[str, Any]:
    """Return the configuration without our entry: the one that has both our id and our queue.

    An entry of the same id for another queue belongs to another stack.
    """
    queues = [
        entry for entry in existing.get(_QUEUES, ()) if (entry.get("Id"), entry.get("QueueArn")) != (id_, queue_arn)
    ]
    return _without_queues(existing) | ({_QUEUES: queues} if queues else {})


def add_event_bridge(existing: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with EventBridge enabled: a single switch, shared by everyone who uses it."""
    return normalized(existing) | {_EVENT_BRIDGE: {}}


def normalized(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as it can be put: without the SDK's metadata and without empty lists."""
    return {name: value for name, value in configuration.items() if name != "ResponseMetadata" and value != []}


def equivalent(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Return whether two configurations mean the same; S3 changes the order of entries and the case of names."""
    return _meaning(first) == _meaning(second)


def conflicts(existing: Mapping[str, Any], own: OwnNotification) -> list[str]:
    """Describe each entry because of which S3 would refuse ours.

    Two entries for the same events must not have overlapping prefixes, unless their suffixes do not overlap. A missing
    prefix or suffix overlaps with any. docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
    """
    descriptions = []
    for kind, entry in _entries(existing):
        address, destination = _DESTINATIONS[kind]
        if entry.get("Id") == own.id:
            if kind != _QUEUES:
                descriptions.append(f"configuration {own.id} for {destination} {entry.get(address)} uses our id")
        elif _overlaps(entry, own):
            prefix, suffix = key_filter(entry)
            descriptions.append(
                f"configuration {entry.get('Id')} announces {', '.join(entry.get('Events', ()))} under "
                f"{_quoted('prefix', prefix)} and {_quoted('suffix', suffix)} to {destination} {entry.get(address)}"
            )
    return descriptions


def entries_for_queue(existing: Mapping[str, Any], queue_arn: str) -> list[dict[str, Any]]:
    """Return the entries that announce new objects to a queue."""
    return [
        entry
        for entry in existing.get(_QUEUES, ())
        if entry.get("QueueArn") == queue_arn
        and any(_events_overlap(event, EVENTS) for event in entry.get("Events", ()))
    ]


def key_filter(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return an entry's prefix and suffix, "" where it has none; S3 returns `Prefix` where `prefix` was put."""
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", ())
    values = {str(rule.get("Name", "")).lower(): str(rule.get("Value", "")) for rule in rules}
    return values.get("prefix", ""), values.get("suffix", "")


def _without_queues(configuration: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in normalized(configuration).items() if name != _QUEUES}


def _entries(configuration: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    return ((kind, entry) for kind in _DESTINATIONS for entry in configuration.get(kind, ()))


def _meaning(configuration: Mapping[str, Any]) -> object:
    entries = {
        (
            kind,
            entry.get("Id"),
            entry.get(_DESTINATIONS[kind][0]),
            frozenset(entry.get("Events", ())),
            key_filter(entry),
        )
        for kind, entry in _entries(configuration)
    }
    return _EVENT_BRIDGE in configuration, entries


def _overlaps(entry: Mapping[str, Any], own: OwnNotification) -> bool:
    prefix, suffix = key_filter(entry)
    return (
        any(_events_overlap(event, EVENTS) for event in entry.get("Events", ()))
        and (prefix.startswith(own.prefix) or own.prefix.startswith(prefix))
        and (suffix.endswith(own.suffix) or own.suffix.endswith(suffix))
    )


def _events_overlap(first: str, second: str) -> bool:
    """Compare event types, each of which may end in an asterisk."""
    if first.endswith("*"):
        return second.startswith(first[:-1]) or (second.endswith("*") and first.startswith(second[:-1]))
    return first.startswith(second[:-1]) if second.endswith("*") else first == second


def _quoted(name: str, value: str) -> str:
    return f"{name} '{value}'" if value else f"any {name}"
