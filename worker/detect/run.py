"""`trailsink detect run`: findings of what was indexed since the last run, each exactly once.

Events are selected by the time at which they were indexed, so that a late file is not missed. That time is taken
before the event is sent, and by another clock. So each run looks again at an overlap before the end of the last one. It
must be longer than a batch of the loader, a refresh of the index and the difference of the clocks together. What was
found before has the same id, and is not written again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from worker.detect.correlation import CorrelationScan
from worker.detect.events import (
    EVENT_TIME,
    INDEXED_AT,
    RULES_PER_REQUEST,
    EventQuery,
    fields_of,
    read_first_pages,
    read_pages,
    search_many,
)
from worker.detect.findings import event_finding, group_finding
from worker.errors import SetupError
from worker.opensearch.search import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from opensearchpy import OpenSearch

    from worker.detect.events import EventPage
    from worker.detect.findings import Finding, FindingsStore
    from worker.detect.rules import Correlation, DetectionRule, RuleInfo


@dataclass(frozen=True, slots=True)
class Interval:
    """Which events a run looks at: those indexed since the last run of a rule, or within `last`.

    `first` is how far the first run of a rule looks back, `overlap` how much of the last run each looks at again.
    """

    overlap: timedelta
    first: timedelta
    last: timedelta | None = None

    def start(self, now: datetime, until: str) -> datetime:
        """Return the start for a rule whose last run examined events until then, "" for none."""
        if self.last:
            return now - self.last
        previous = parse_time(until)
        return previous - self.overlap if previous else now - self.first


@dataclass(slots=True)
class RunResult:
    """What a run came to: new findings by the rule's key, and the rules whose searches failed."""

    findings: dict[str, int] = field(default_factory=dict)
    failed: list[tuple[RuleInfo, str]] = field(default_factory=list)


@dataclass(slots=True)
class DetectionRun:
    """One run. `announce` is called with findings that are new; they are marked when it returns."""

    client: OpenSearch
    prefix: str
    store: FindingsStore
    announce: Callable[[dict[str, Finding]], None]
    now: Callable[[], datetime]
    result: RunResult = field(default_factory=RunResult)

    def run(self, rules: Sequence[DetectionRule], interval: Interval) -> RunResult:
        """Run rules, and note how far each has come; raises SetupError when the cluster or a channel fails."""
        self.store.prepare()
        for findings in self.store.unannounced():
            self._announce(findings)
        for start in range(0, len(rules), RULES_PER_REQUEST):
            part = rules[start : start + RULES_PER_REQUEST]
            began_at = self.now()
            progress = {} if interval.last else self.store.progress([rule.info.key for rule in part])
            queries = [
                EventQuery(rule.clause, INDEXED_AT, interval.start(began_at, progress.get(rule.info.key, "")))
                for rule in part
            ]
            self._run_events([(rule, query) for rule, query in zip(part, queries, strict=True) if not rule.correlation])
            self._run_groups([(rule, query) for rule, query in zip(part, queries, strict=True) if rule.correlation])
            failed = {rule.key for rule, _ in self.result.failed}
            if not interval.last:
                self.store.save_progress((rule.info for rule in part if rule.info.key not in failed), began_at)
        return self.result

    def _run_events(self, queries: Sequence[tuple[DetectionRule, EventQuery]]) -> None:
        for number, page in read_first_pages(self.client, self.prefix, [query for _, query in queries]):
            rule = queries[number][0]
            if isinstance(page, SetupError):
                self.result.failed.append((rule.info, str(page)))
                continue
            self._write_events(rule.info, page)
            if page.following:
                for following in read_pages(self.client, self.prefix, page.following):
                    self._write_events(rule.info, following)

    def _write_events(self, rule: RuleInfo, page: EventPage) -> None:
        now = self.now()
        self._write(rule, dict(event_finding(rule, hit, now) for hit in page.hits))

    def _run_groups(self, queries: Sequence[tuple[DetectionRule, EventQuery]]) -> None:
        """Run correlations: over the times of the new events, and a span before and after."""
        bounds = search_many(self.client, self.prefix, [_bounds_body(query) for _, query in queries]) if queries else []
        for (rule, query), response in zip(queries, bounds, strict=True):
            if isinstance(response, SetupError):
                self.result.failed.append((rule.info, str(response)))
                continue
            first, last = (_bound(response, name) for name in ("first", "last"))
            if rule.correlation and first and last:
                self._scan(rule.info, rule.correlation, query, first, last)

    def _scan(
        self, rule: RuleInfo, correlation: Correlation, query: EventQuery, first: datetime, last: datetime
    ) -> None:
        scan, span = CorrelationScan(correlation), correlation.span
        events = replace(
            query,
            time_field=EVENT_TIME,
            # A period before, too: within it, the first time that there are enough names the finding.
            since=first - span - span,
            until=last + span,
            fields=fields_of(correlation),
        )
        for page in read_pages(self.client, self.prefix, events):
            now = self.now()
            self._write(rule, dict(group_finding(rule, group, now) for group in scan.add(page.hits)))

    def _write(self, rule: RuleInfo, findings: dict[str, Finding]) -> None:
        if not findings:
            return
        created = self.store.create(findings)
        if created:
            self._announce(created)
            self.result.findings[rule.key] = self.result.findings.get(rule.key, 0) + len(created)

    def _announce(self, findings: dict[str, Finding]) -> None:
        self.announce(findings)
        self.store.mark_announced(findings, self.now())


def _bounds_body(query: EventQuery) -> dict[str, Any]:
    aggregations = {name: {kind: {"field": EVENT_TIME}} for name, kind in (("first", "min"), ("last", "max"))}
    return {"query": query.filter(), "size": 0, "track_total_hits": False, "aggs": aggregations}


def _bound(response: Any, name: str) -> datetime | None:  # noqa: ANN401 - a foreign answer
    return parse_time(response.get("aggregations", {}).get(name, {}).get("value_as_string"))
