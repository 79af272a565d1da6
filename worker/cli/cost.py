"""`trailsink cost`: shows events, bytes and a month's price by account, service, event or caller."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from worker.cli.output import announced_wait, print_json, print_line, print_table
from worker.errors import SetupError
from worker.humanize import format_size
from worker.opensearch.cost import REST, CostBy, CostScope, GroupCost, PriceList, read_costs, read_prices
from worker.opensearch.errors import translate_errors
from worker.opensearch.field_kinds import read_field_kinds
from worker.opensearch.query_values import any_of
from worker.opensearch.selector_query import left_out_clauses
from worker.settings import load_settings
from worker.wiring import make_client, make_selector_file, now

if TYPE_CHECKING:
    from pathlib import Path

    from worker.opensearch.cost import CostTable

_DEFAULT = timedelta(days=30)


def cost(  # noqa: PLR0913 - one per option
    *, last: timedelta | None, by: str, limit: int, price: Path | None, filters: str | None, as_json: bool
) -> None:
    """Show the groups with the most bytes; raises SetupError."""
    settings = load_settings()
    if settings.is_serverless:
        raise SetupError("OpenSearch Serverless does not report the size of an index.")
    prices = read_prices(_read(price)) if price else PriceList()
    end = now()
    selectors = make_selector_file(settings, filters).read().selectors if filters else ()
    client = make_client(settings).connect()
    prefix = settings.index_prefix
    with translate_errors(f"The indices {prefix}-* cannot be read"), announced_wait("OpenSearch"):
        dropped = any_of(left_out_clauses(selectors, read_field_kinds(client, prefix))) if selectors else None
        scope = CostScope(prefix, end - (last or _DEFAULT), end, CostBy(by), dropped)
        table = read_costs(client, scope)
    rows = _rows(table, limit)
    if as_json:
        print_json(
            {
                "by": by,
                "since": scope.since,
                "until": scope.until,
                "bytes": round(table.octets),
                "month": round(sum(table.price(group, prices) for _, group in rows), 2),
                "groups": [_group(name, group, table, prices) for name, group in rows],
            }
        )
        return
    if not rows:
        print_line(f"There are no events of this time in {scope.prefix}-*.")
        return
    columns = (by, *_COLUMNS, *([_SAVED] if filters else []))
    print_table(columns, _cells(rows, table, prices, with_saved=bool(filters)), right=columns[1:])
    if filters:
        saved = sum(group.saved for _, group in rows)
        print_line(f"{filters} would save {format_size(saved)}, {100 * saved / table.octets:.1f} % of it.")
    print_line(f"{format_size(table.octets)} on all disks, replicas included. docs/sizing.md says what is not counted.")


_COLUMNS = ("events", "bytes", "share", "a month")
_SAVED = "saved"


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise SetupError(f"{path} cannot be read: {error}.") from error


def _rows(table: CostTable, limit: int) -> list[tuple[str, GroupCost]]:
    """Return the largest groups, and the others as one."""
    ordered = table.ordered()
    shown, others = ordered[:limit], ordered[limit:]
    if others:
        rest = next((group for name, group in shown if name == REST), GroupCost())
        shown = [(name, group) for name, group in shown if name != REST]
        for _, group in others:
            rest.events, rest.octets, rest.saved = (
                rest.events + group.events,
                rest.octets + group.octets,
                rest.saved + group.saved,
            )
        shown.append((REST, rest))
    return shown


def _cells(
    rows: list[tuple[str, GroupCost]], table: CostTable, prices: PriceList, *, with_saved: bool
) -> list[tuple[str, ...]]:
    return [
        (
            name,
            f"{group.events:,}",
            format_size(group.octets),
            f"{100 * group.octets / table.octets:.1f} %",
            f"${table.price(group, prices):,.2f}",
            *([f"{100 * group.saved / group.octets if group.octets else 0:.1f} %"] if with_saved else []),
        )
        for name, group in rows
    ]


def _group(name: str, group: GroupCost, table: CostTable, prices: PriceList) -> dict[str, Any]:
    return {
        "value": name,
        "events": group.events,
        "bytes": round(group.octets),
        "month": round(table.price(group, prices), 4),
        "saved": round(group.saved),
    }
