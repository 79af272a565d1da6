"""Callers, calls and regions of a range of time that the range of the same length before it did not have.

A terms aggregation that is ordered by time is not exact over several shards, so every value is read, page by page.
docs.opensearch.org/latest/aggregations/bucket/composite/
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from worker.opensearch.complete_search import composite_buckets
from worker.opensearch.query import translate
from worker.opensearch.search import search_once, within

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from opensearchpy import OpenSearch

    from worker.opensearch.field_kinds import FieldKinds

_PAGE = 1_000

# Values of one field. Roles, users, calls and regions of a large organisation are some thousand.
MAX_VALUES = 20_000


@dataclass(frozen=True, slots=True)
class ValueSource:
    """A field whose values are compared, of the events that a query finds."""

    field: str
    query: str = ""


@dataclass(frozen=True, slots=True)
class NewKind:
    """What is compared with the range before, and where its values are."""

    id: str
    title: str
    sources: tuple[ValueSource, ...]


@dataclass(frozen=True, slots=True)
class NewValue:
    """A value that is new, when it came first, in how many events of the range it is, and the field that has it."""

    value: str
    first_ms: float
    events: int
    field: str


# A session's own ARN is new in each session, so of an assumed role it is the role that counts.
NEW_KINDS = (
    NewKind(
        "callers",
        "New callers",
        (
            ValueSource("userIdentity.arn", "NOT userIdentity.type:AssumedRole"),
            ValueSource("userIdentity.sessionContext.sessionIssuer.arn", "userIdentity.type:AssumedRole"),
        ),
    ),
    NewKind("calls", "New event names", (ValueSource("eventName"),)),
    NewKind("regions", "New regions", (ValueSource("awsRegion"),)),
    NewKind("accounts", "New accounts", (ValueSource("recipientAccountId"),)),
)


@dataclass(frozen=True, slots=True)
class ComparedRange:
    """A range of time, and the start of the one before it; `clause` limits the events of both."""

    before: datetime
    since: datetime
    until: datetime
    clause: dict[str, Any]


def new_values(
    client: OpenSearch, prefix: str, kind: NewKind, kinds: FieldKinds, times: ComparedRange
) -> tuple[list[NewValue], bool]:
    """Return the values that are new, the latest first, and whether every value could be compared."""
    values: list[NewValue] = []
    is_complete = True
    since_ms = times.since.timestamp() * 1_000
    for source in kind.sources:
        clause = {"bool": {"filter": [translate(source.query, kinds), times.clause]}}
        query = within(clause, "@timestamp", times.before, times.until)
        read = 0
        for bucket in read_buckets(client, prefix, source.field, query, {"first": {"min": {"field": "@timestamp"}}}):
            read += 1
            if bucket["first"]["value"] >= since_ms:
                value = NewValue(
                    str(bucket["key"]["value"]), bucket["first"]["value"], bucket["doc_count"], source.field
                )
                values.append(value)
        is_complete = is_complete and read < MAX_VALUES
    values.sort(key=lambda value: (-value.first_ms, value.value))
    return values, is_complete


def read_buckets(
    client: OpenSearch, prefix: str, field: str, query: dict[str, Any], measures: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield each value of a field with the measures of its events, the first MAX_VALUES of them; raises SetupError."""
    sources = [{"value": {"terms": {"field": field}}}]
    buckets = composite_buckets(partial(search_once, client, prefix), sources, _PAGE, query=query, aggs=measures)
    yield from islice(buckets, MAX_VALUES)
