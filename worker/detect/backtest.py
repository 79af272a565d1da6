"""`trailsink detect test`: what rules would have found, before anything is switched on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from worker.detect.correlation import CorrelationScan
from worker.detect.events import EVENT_TIME, RULES_PER_REQUEST, EventQuery, fields_of, read_pages, search_many
from worker.detect.findings import caller
from worker.errors import SetupError
from worker.humanize import iso_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from opensearchpy import OpenSearch

    from worker.detect.rules import Correlation, DetectionRule

LARGEST = 10  # values that are counted of accounts and callers

_NONE = "(none)"


@dataclass(slots=True)
class Backtest:
    """The hits of one rule: in all, by day, and by the accounts and callers with the most; `error` if it failed."""

    rule: DetectionRule
    hits: int = 0
    days: Counter[str] = field(default_factory=Counter)
    accounts: Counter[str] = field(default_factory=Counter)
    callers: Counter[str] = field(default_factory=Counter)
    error: str = ""


def run_backtest(
    client: OpenSearch, prefix: str, rules: Sequence[DetectionRule], since: datetime | None, until: datetime | None
) -> Iterator[Backtest]:
    """Yield the hits of each rule among the events of a time."""
    for start in range(0, len(rules), RULES_PER_REQUEST):
        part = rules[start : start + RULES_PER_REQUEST]
        queries = [EventQuery(rule.clause, EVENT_TIME, since, until) for rule in part]
        counts = search_many(client, prefix, [_counts_body(query) for query in queries])
        for rule, query, response in zip(part, queries, counts, strict=True):
            if isinstance(response, SetupError):
                yield Backtest(rule, error=str(response))
            elif rule.correlation and response["hits"]["total"]["value"]:
                yield _count_groups(client, prefix, rule, rule.correlation, query)
            else:
                yield _counted(rule, response)


def _counts_body(query: EventQuery) -> dict[str, Any]:
    fields = {"accounts": "recipientAccountId", "callers": "userIdentity.arn"}
    return {
        "query": query.filter(),
        "size": 0,
        "track_total_hits": True,
        "aggs": {
            "days": {"date_histogram": {"field": EVENT_TIME, "calendar_interval": "day", "min_doc_count": 1}},
            **{name: {"terms": {"field": field, "size": LARGEST, "missing": _NONE}} for name, field in fields.items()},
        },
    }


def _counted(rule: DetectionRule, response: Any) -> Backtest:  # noqa: ANN401 - a foreign answer
    if rule.correlation:  # not one event of its rules
        return Backtest(rule)
    parts = response.get("aggregations", {})
    days = {bucket["key_as_string"][:10]: bucket["doc_count"] for bucket in _buckets(parts, "days")}
    accounts, callers = (
        Counter({str(bucket["key"]): bucket["doc_count"] for bucket in _buckets(parts, name)})
        for name in ("accounts", "callers")
    )
    return Backtest(rule, response["hits"]["total"]["value"], Counter(days), accounts, callers)


def _buckets(parts: Any, name: str) -> list[dict[str, Any]]:  # noqa: ANN401 - a foreign answer
    buckets: list[dict[str, Any]] = parts.get(name, {}).get("buckets", [])
    return buckets


def _count_groups(
    client: OpenSearch, prefix: str, rule: DetectionRule, correlation: Correlation, query: EventQuery
) -> Backtest:
    """Count the groups of a correlation, by the account and the caller of their last event."""
    result, scan = Backtest(rule), CorrelationScan(correlation)
    events = replace(query, fields=fields_of(correlation))
    try:
        for page in read_pages(client, prefix, events):
            for group in scan.add(page.hits):
                last = group.hits[-1]
                result.hits += 1
                result.days[iso_seconds(group.last)[:10]] += 1
                result.accounts[str(last.value("recipientAccountId") or _NONE)] += 1
                result.callers[caller(last) or _NONE] += 1
    except SetupError as error:
        result.error = str(error)
    return result
