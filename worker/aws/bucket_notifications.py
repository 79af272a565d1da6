"""A bucket's notification configuration: adds, changes or removes our own entry, and leaves all others alone.

S3 replaces the whole configuration with each put, so an entry that is left out is deleted.
docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketNotificationConfiguration.html

A filter is written as S3 writes keys in notifications: percent-encoded. One with a raw `=` matches no key.
docs.aws.amazon.com/AmazonS3/latest/userguide/notification-how-to-filtering.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus, unquote_plus

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

# What a filter holds as it is, beside letters and digits; quote_plus never encodes "~", which S3 does not list.
_SAFE = "!-_.*'()/"
_ENCODED = re.compile(r"(?:[A-Za-z0-9!_.*'()/+-]|%[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class OwnNotification:
    """Our entry in a bucket: new objects of one prefix and suffix, as keys have them, are announced to one queue."""

    id: str
    queue_arn: str
    prefix: str = ""
    suffix: str = ""

    @property
    def entry(self) -> dict[str, Any]:
        """The entry as S3 takes it."""
        entry: dict[str, Any] = {"Id": self.id, "QueueArn": self.queue_arn, "Events": [EVENTS]}
        filters = ("prefix", self.prefix), ("suffix", self.suffix)
        rules = [{"Name": name, "Value": encode_filter(value)} for name, value in filters if value]
        return entry | ({"Filter": {"Key": {"FilterRules": rules}}} if rules else {})


def encode_filter(text: str) -> str:
    """Return a part of a key as S3 expects it in a filter: a space as "+", other special characters with "%"."""
    return quote_plus(text, safe=_SAFE, errors="surrogateescape").replace("~", "%7E")


def decode_filter(value: str) -> str:
    """Return the part of a key that a filter means."""
    return unquote_plus(value, errors="surrogateescape")


def unencoded_filters(entry: Mapping[str, Any]) -> list[str]:
    """Return an entry's prefix and suffix where they hold what must be encoded: they match no key."""
    return [value for value in _written_filter(entry) if not _ENCODED.fullmatch(value)]


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
            prefix, suffix = _written_filter(entry)
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
    """Return the prefix and suffix of the keys that an entry announces, "" where it has none."""
    prefix, suffix = _written_filter(entry)
    return decode_filter(prefix), decode_filter(suffix)


def _written_filter(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return an entry's prefix and suffix as they are written; S3 returns `Prefix` where `prefix` was put."""
    rules = entry.get("Filter", {}).get("Key", {}).get("FilterRules", ())
    values = {str(rule.get("Name", "")).lower(): str(rule.get("Value", "")) for rule in rules}
    return values.get("prefix", ""), values.get("suffix", "")


def _comparable_filter(entry: Mapping[str, Any]) -> tuple[str, str]:
    """Return prefix and suffix with one spelling for each meaning; what is not encoded stays as it is."""
    prefix, suffix = (
        encode_filter(decode_filter(value)) if _ENCODED.fullmatch(value) else value for value in _written_filter(entry)
    )
    return prefix, suffix


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
            _comparable_filter(entry),
        )
        for kind, entry in _entries(configuration)
    }
    return _EVENT_BRIDGE in configuration, entries


def _overlaps(entry: Mapping[str, Any], own: OwnNotification) -> bool:
    prefix, suffix = _comparable_filter(entry)
    own_prefix, own_suffix = _comparable_filter(own.entry)
    return (
        any(_events_overlap(event, EVENTS) for event in entry.get("Events", ()))
        and (prefix.startswith(own_prefix) or own_prefix.startswith(prefix))
        and (suffix.endswith(own_suffix) or own_suffix.endswith(suffix))
    )


def _events_overlap(first: str, second: str) -> bool:
    """Compare event types, each of which may end in an asterisk."""
    if first.endswith("*"):
        return second.startswith(first[:-1]) or (second.endswith("*") and first.startswith(second[:-1]))
    return first.startswith(second[:-1]) if second.endswith("*") else first == second


def _quoted(name: str, value: str) -> str:
    return f"{name} '{value}'" if value else f"any {name}"
