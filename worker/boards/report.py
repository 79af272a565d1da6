"""The report: the boards' panels over a range of time, as values; it needs no Dashboards, and only the right to search.

Every search must be answered by all shards: a number that leaves events out, and does not say so, is worse than none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opensearchpy.exceptions import TransportError

from worker.boards.new_values import NEW_KINDS, ComparedRange, new_values
from worker.boards.overview import CHARTS, COUNTERS, TABLES
from worker.boards.panels import NO_VALUE
from worker.boards.pipeline import DEGRADED, NEWEST, SILENT
from worker.boards.report_values import (
    BoardReport,
    Counter,
    CoverageFigures,
    NewEntry,
    NewValues,
    ReportScope,
    ReportTable,
)
from worker.boards.searches import MISSING, panel_aggregations, panel_rows
from worker.errors import SetupError, Unavailable
from worker.humanize import from_epoch_milliseconds, iso_epoch
from worker.opensearch.complete_search import search_all_shards
from worker.opensearch.field_kinds import FieldKinds, read_field_kinds
from worker.opensearch.query import translate
from worker.opensearch.search import search_once, within
from worker.pipeline.ledger import ledger_pattern

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from opensearchpy import OpenSearch

    from worker.boards.panels import Agg, Panel
    from worker.boards.searches import Row

PANELS = (*CHARTS, *TABLES, DEGRADED, NEWEST)


# Up to this number of files the count is exact, but for a few.
# docs.opensearch.org/latest/aggregations/metric/cardinality/
_PRECISION = 40_000

_EVENTS: dict[str, Any] = {"match_all": {}}


def make_report(client: OpenSearch, scope: ReportScope, now: datetime) -> BoardReport:
    """Search for everything that a report shows; raises SetupError."""
    return _Reporter(client, scope, read_field_kinds(client, scope.prefix)).report(now)


class _Reporter:
    """The searches of one report."""

    def __init__(self, client: OpenSearch, scope: ReportScope, kinds: FieldKinds) -> None:
        self._client, self._scope, self._kinds = client, scope, kinds

    def report(self, now: datetime) -> BoardReport:
        """Return the report."""
        silent, unavailable = self._silent()
        return BoardReport(
            self._scope,
            now,
            self._coverage(),
            self._counters(),
            [self._table(panel) for panel in PANELS],
            self._new(),
            silent,
            unavailable,
        )

    def _search(self, query: dict[str, Any], aggregations: dict[str, Any]) -> Any:  # noqa: ANN401 - a foreign answer
        body = {"size": 0, "track_total_hits": True, "query": query, "aggs": aggregations}
        return search_once(self._client, self._scope.prefix, body)

    def _within(self, query: str, since: datetime) -> dict[str, Any]:
        clause = {"bool": {"filter": [translate(query, self._kinds), self._scope.clause]}}
        return within(clause, "@timestamp", since, self._scope.until)

    def _coverage(self) -> CoverageFigures:
        size = self._scope.interval_seconds
        figures = {
            "files": {"cardinality": {"field": "trailsink.object", "precision_threshold": _PRECISION}},
            "first": {"min": {"field": "@timestamp"}},
            "last": {"max": {"field": "@timestamp"}},
            "indexed": {"max": {"field": "trailsink.indexed_at"}},
            "degraded": {"filter": {"exists": {"field": "trailsink.degraded"}}},
            "unsearchable": {"filter": {"exists": {"field": "trailsink.unsearchable"}}},
            "intervals": {"date_histogram": {"field": "@timestamp", "fixed_interval": f"{size}s", "min_doc_count": 1}},
        }
        answer = self._search(self._within("", self._scope.since), figures)
        values = answer.get("aggregations", {})
        before = within(self._scope.clause, "@timestamp", self._scope.before, self._scope.since)
        intervals = len(self._scope.starts)
        filled = len(values.get("intervals", {}).get("buckets", []))
        return CoverageFigures(
            events=answer["hits"]["total"]["value"],
            files=values.get("files", {}).get("value", 0),
            first=_moment(values.get("first", {})),
            last=_moment(values.get("last", {})),
            last_indexed=_moment(values.get("indexed", {})),
            degraded=values.get("degraded", {}).get("doc_count", 0),
            unsearchable=values.get("unsearchable", {}).get("doc_count", 0),
            interval_seconds=size,
            intervals=intervals,
            empty_intervals=max(0, intervals - filled),
            events_before=self._search(before, {})["hits"]["total"]["value"],
        )

    def _counters(self) -> list[Counter]:
        ranges = {"current": {"gte": self._scope.since.isoformat()}, "before": {"lt": self._scope.since.isoformat()}}
        halves = {name: {"range": {"@timestamp": bounds}} for name, bounds in ranges.items()}
        clauses = {panel.id: translate(panel.query, self._kinds) for panel in COUNTERS}
        aggregations = {
            "counters": {"filters": {"filters": clauses}, "aggs": {"halves": {"filters": {"filters": halves}}}}
        }
        answer = self._search(self._within("", self._scope.before), aggregations)
        buckets = answer.get("aggregations", {}).get("counters", {}).get("buckets", {})
        return [self._counter(panel, buckets.get(panel.id, {})) for panel in COUNTERS]

    def _counter(self, panel: Panel, bucket: dict[str, Any]) -> Counter:
        halves = bucket.get("halves", {}).get("buckets", {})
        current, before = (halves.get(name, {}).get("doc_count", 0) for name in ("current", "before"))
        is_red = current >= panel.red_from
        command = self._scope.command(panel.query)
        return Counter(panel.id, panel.title, panel.description, current, before, is_red, command)

    def _table(self, panel: Panel) -> ReportTable:
        aggregations = panel_aggregations(panel, self._kinds, self._scope.interval_seconds)
        answer = self._search(self._within(panel.query, self._scope.since), aggregations)
        rows = panel_rows(panel, answer["aggregations"]) if "aggregations" in answer else []
        return _table(panel, rows, self._scope.command(panel.query))

    def _new(self) -> list[NewValues]:
        scope = self._scope
        times = ComparedRange(scope.before, scope.since, scope.until, scope.clause)
        results = []
        for kind in NEW_KINDS:
            values, is_complete = new_values(self._client, scope.prefix, kind, self._kinds, times)
            entries = [
                NewEntry(
                    value.value,
                    from_epoch_milliseconds(value.first_ms),
                    value.events,
                    scope.command(_term(value.field, value.value)),
                )
                for value in values
            ]
            results.append(NewValues(kind.id, kind.title, entries, is_complete))
        return results

    def _silent(self) -> tuple[ReportTable | None, str]:
        """Return the accounts and regions of the ledger, or why there are none: it has rights of its own."""
        accounts = {"terms": {"account": self._scope.accounts}} if self._scope.accounts else _EVENTS
        body = {"size": 0, "query": accounts, "aggs": panel_aggregations(SILENT, self._kinds, 0)}
        try:
            answer = search_all_shards(self._client, ledger_pattern(self._scope.prefix), body)
        except (SetupError, Unavailable, TransportError) as error:
            return None, str(error)
        if "aggregations" not in answer:
            return None, "there is no ledger"
        return _table(SILENT, panel_rows(SILENT, answer["aggregations"]), ""), ""


def _table(panel: Panel, rows: list[Row], command: str) -> ReportTable:
    times = [agg["type"] == "date_histogram" for agg in panel.groups]
    columns = [_column(agg) for agg in (*panel.groups, *panel.metrics)]
    cells = [list(_cells(row, times)) for row in rows]
    return ReportTable(panel.id, panel.title, panel.description, panel.kind, columns, cells, command)


def _column(agg: Agg) -> str:
    return {"date_histogram": "Time", "filters": "Outcome"}.get(agg["type"]) or str(agg["params"]["customLabel"])


def _cells(row: Row, times: list[bool]) -> Iterator[str | float | None]:
    for key, is_time in zip(row.keys, times, strict=True):
        if is_time:
            yield iso_epoch(float(key) / 1_000)
        else:
            yield NO_VALUE if key == MISSING else str(key)
    yield from row.values


def _term(field: str, value: str) -> str:
    """Return the query for one value of a field."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{field}:"{escaped}"'


def _moment(answer: dict[str, Any]) -> datetime | None:
    value = answer.get("value")
    return None if value is None else from_epoch_milliseconds(value)
