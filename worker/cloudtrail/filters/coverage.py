"""Refuses selectors that would leave out every event of a kind of file: then its notifications are what should stop."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from worker.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.cloudtrail.filters.selectors import EventSelector, SelectorSet

# The values that a kind's events can have of the fields with a closed set of them.
# docs.aws.amazon.com/awscloudtrail/latest/userguide/cloudtrail-event-reference-record-contents.html
_API = ("AwsApiCall", "AwsServiceEvent")
_KINDS = {
    "CloudTrail": (
        ("Management", "true", (*_API, "AwsConsoleAction", "AwsConsoleSignIn")),
        ("Data", "false", _API),
    ),
    "CloudTrail-Insight": (("Insight", "", ("AwsCloudTrailInsight",)),),
    "CloudTrail-NetworkActivity": (("NetworkActivity", "false", ("AwsVpceEvent", "AwsVpceEvents")),),
    "CloudTrail-Aggregated": (("Aggregated", "", ("AwsAggregatedEvent",)),),
}
_CLOSED = ("eventCategory", "managementEvent", "eventType", "readOnly")

# Stand for any others: a selector that holds for these was meant for none in particular.
_PROBES = {
    "eventVersion": "1.0",
    "eventSource": "any.amazonaws.com",
    "eventName": "AnyEvent",
    "userIdentity.type": "AssumedRole",
}
_SECOND_PROBES = {
    "eventVersion": "1.11",
    "eventSource": "other.amazonaws.com",
    "eventName": "OtherEvent",
    "userIdentity.type": "IAMUser",
}


def check_coverage(selectors: SelectorSet, source: str) -> None:
    """Raise SetupError when the selectors leave out every event of a kind of file; `source` names their file."""
    for kind in _KINDS:
        if all(any(_leaves_out(selector, event) for selector in selectors.selectors) for event in _events(kind)):
            raise SetupError(
                f"{source}: it would leave out every event of {kind} files; a selector leaves out what it matches, so"
                " name what is noise, or stop the notifications of these files."
            )


def _events(kind: str) -> Iterator[dict[str, str]]:
    """Yield an event for each combination of the values that a kind's events can have; "" stands for no value."""
    for category, management, types in _KINDS[kind]:
        read_only = ("true", "false") if management else ("",)
        for event_type, reads, probes in product(types, read_only, (_PROBES, _SECOND_PROBES)):
            yield dict(zip(_CLOSED, (category, management, event_type, reads), strict=True)) | probes


def _leaves_out(selector: EventSelector, event: dict[str, str]) -> bool:
    """Return whether a selector leaves out an event whatever its other fields are.

    A condition that only excludes values of an open field keeps those: it does not leave out everything.
    """
    return all(
        condition.holds((value,) if (value := event.get(condition.field, "")) else ())
        and (condition.field in _CLOSED or not condition.deselects)
        for condition in selector.conditions
    )
