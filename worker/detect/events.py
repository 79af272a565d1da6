"""Reads the events that rules match: in pages, many rules in one request, in memory that does not grow."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.errors import SetupError
from worker.opensearch.errors import first_cause, translate_errors
from worker.opensearch.retry import retry_while_busy
from worker.opensearch.search import Hit, order_by, require_complete, search_once, within

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from opensearchpy import OpenSearch

    from worker.detect.rules import Correlation

    Clause = dict[str, Any]

PAGE = 500
RULES_PER_REQUEST = 25  # a page each, of some kilobytes an event at most

_ATTEMPTS = 4

EVENT_TIME = "@timestamp"
INDEXED_AT = "trailsink.indexed_at"

# What a finding says of an event.
EVENT_FIELDS = (
    "@timestamp",
    "trailsink.indexed_at",
    "eventID",
    "eventTime",
    "eventName",
    "eventSource",
    "awsRegion",
    "errorCode",
    "sourceIPAddress",
    "recipientAccountId",
    "userIdentity.arn",
    "userIdentity.type",
    "userIdentity.accountId",
    "userIdentity.invokedBy",
)


def fields_of(correlation: Correlation) -> tuple[str, ...]:
    """Return what is read of the events of a correlation."""
    return tuple(dict.fromkeys((*EVENT_FIELDS, *correlation.group_by, *correlation.fields)))


@dataclass(frozen=True, slots=True)
class EventQuery:
    """The events of a clause with a time in a range, in the order of that time."""

    clause: Clause
    time_field: str
    since: datetime | None = None
    until: datetime | None = None
    fields: tuple[str, ...] = EVENT_FIELDS
    after: tuple[Any, ...] = ()

    def filter(self) -> Clause:
        """Return the clause with the range of times."""
        return within(self.clause, self.time_field, self.since, self.until)

    def body(self) -> dict[str, Any]:
        """Return the search for one page."""
        return {
            "query": self.filter(),
            "sort": order_by(self.time_field, "asc"),
            "size": PAGE,
            "track_total_hits": False,
            "_source": list(self.fields),
            **({"search_after": list(self.after)} if self.after else {}),
        }


@dataclass(frozen=True, slots=True)
class EventPage:
    """A page of events, and the query for the next; None after the last."""

    hits: list[Hit]
    following: EventQuery | None


def read_pages(client: OpenSearch, prefix: str, query: EventQuery) -> Iterator[EventPage]:
    """Yield the pages of a query; raises SetupError."""
    following: EventQuery | None = query
    while following:
        with translate_errors():
            page = _page(following, search_once(client, prefix, following.body()))
        yield page
        following = page.following


def read_first_pages(
    client: OpenSearch, prefix: str, queries: Sequence[EventQuery]
) -> Iterator[tuple[int, EventPage | SetupError]]:
    """Yield the first page of each query by its number; an error where the cluster refuses a single one."""
    for start in range(0, len(queries), RULES_PER_REQUEST):
        part = queries[start : start + RULES_PER_REQUEST]
        responses = search_many(client, prefix, [query.body() for query in part])
        for number, (query, response) in enumerate(zip(part, responses, strict=True), start):
            yield number, response if isinstance(response, SetupError) else _page(query, response)


def search_many(client: OpenSearch, prefix: str, bodies: Sequence[dict[str, Any]]) -> list[Any]:
    """Return the responses to some searches, with a SetupError in place of each that was refused."""
    lines = [line for body in bodies for line in ("{}", json.dumps(body))]
    text = "\n".join([*lines, ""])
    with translate_errors(f"OpenSearch cannot be asked for events of {prefix}-*"):
        response: Any = retry_while_busy(lambda: client.msearch(body=text, index=f"{prefix}-*"), _ATTEMPTS)
    return [_checked(answer) for answer in response["responses"]]


def _checked(response: Any) -> Any:  # noqa: ANN401 - a foreign answer
    if "error" in response:
        _, reason = first_cause(response)
        return SetupError(f"The cluster refuses the search: {reason or response['error']}.")
    try:
        return require_complete(response)
    except SetupError as error:
        return error


def _page(query: EventQuery, response: Any) -> EventPage:  # noqa: ANN401 - a foreign answer
    hits = response["hits"]["hits"]
    following = replace(query, after=tuple(hits[-1]["sort"])) if len(hits) == PAGE else None
    return EventPage([Hit.parse(hit) for hit in hits], following)
