"""The tables of a report that say where calls came from: countries and networks, by a database of the operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.boards.new_values import MAX_VALUES, read_buckets
from worker.boards.report_values import ReportTable
from worker.humanize import iso_epoch
from worker.opensearch.search import within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opensearchpy import OpenSearch

    from worker.boards.geoip import AddressOrigin
    from worker.boards.report_values import ReportScope

_FIELD = "sourceIPAddress"
_ROWS = 30
_NOT_KNOWN = "(not in the database)"
_NO_ADDRESS = "(an AWS service)"

_MEASURES: Mapping[str, Any] = {
    "failed": {"filter": {"exists": {"field": "errorCode"}}},
    "first": {"min": {"field": "@timestamp"}},
    "last": {"max": {"field": "@timestamp"}},
}


@dataclass(slots=True)
class _Origins:
    """What was called from one country or network."""

    events: int = 0
    failed: int = 0
    addresses: int = 0
    first_ms: float = float("inf")
    last_ms: float = 0.0

    def add(self, bucket: Mapping[str, Any]) -> None:
        """Add the events of one address."""
        self.events += bucket["doc_count"]
        self.failed += bucket["failed"]["doc_count"]
        self.addresses += 1
        self.first_ms = min(self.first_ms, bucket["first"]["value"])
        self.last_ms = max(self.last_ms, bucket["last"]["value"])

    @property
    def cells(self) -> list[str | float | None]:
        """The values of a row, after its group."""
        times = (iso_epoch(milliseconds / 1_000) for milliseconds in (self.first_ms, self.last_ms))
        return [self.events, self.failed, self.addresses, *times]


def origin_tables(client: OpenSearch, scope: ReportScope, origin: Callable[[str], AddressOrigin]) -> list[ReportTable]:
    """Return countries and networks, the ones with the most events first; every address of the range is looked up."""
    countries: dict[str, _Origins] = {}
    networks: dict[str, _Origins] = {}
    query = within(scope.clause, "@timestamp", scope.since, scope.until)
    read = 0
    for bucket in read_buckets(client, scope.prefix, _FIELD, query, _MEASURES):
        read += 1
        address = str(bucket["key"]["value"])
        place = origin(address)
        unknown = _NOT_KNOWN if _is_address(address) else _NO_ADDRESS
        countries.setdefault(place.country or unknown, _Origins()).add(bucket)
        networks.setdefault(place.network or unknown, _Origins()).add(bucket)
    note = "" if read < MAX_VALUES else f" Only the first {MAX_VALUES:,} addresses: there are more."
    return [
        _table("countries", "Countries", "Country", countries, note),
        _table("networks", "Networks", "Autonomous system", networks, note),
    ]


def _is_address(text: str) -> bool:
    return ":" in text or text.replace(".", "").isdigit()


def _table(id_: str, title: str, column: str, groups: Mapping[str, _Origins], note: str) -> ReportTable:
    ordered = sorted(groups.items(), key=lambda item: (-item[1].events, item[0]))[:_ROWS]
    description = "Where calls came from, by the database that --geoip names: an address can be anybody's by now."
    return ReportTable(
        id_,
        title,
        description + note,
        "table",
        [column, "Events", "Failed", "Addresses", "First", "Last"],
        [[name, *group.cells] for name, group in ordered],
        "",
    )
