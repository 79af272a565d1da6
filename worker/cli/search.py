"""What `trailsink search` does: print events as a table, JSON lines or CSV, page by page."""

from __future__ import annotations

import csv
import io
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from worker.cli.commands.search import DEFAULT_FIELDS
from worker.cli.options import check_times, start_time
from worker.cli.output import announced_each, print_document, print_line, print_table
from worker.cli.search_origins import SearchOrigins
from worker.humanize import ascii_json, escape_control_characters, pluralize
from worker.opensearch.counts import EventCounts
from worker.opensearch.search import Search, SearchSession
from worker.settings import load_settings
from worker.wiring import make_client, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime, timedelta
    from pathlib import Path

    from worker.opensearch.search import Hit

_DEFAULT_LIMIT = 100

# A spreadsheet takes a cell that starts with one of these for a formula and runs it; in some locales, in full width.
# owasp.org/www-community/attacks/CSV_Injection
_FORMULA_PREFIXES = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def search(  # noqa: PLR0913 - one per option
    *,
    query: str,
    last: timedelta | None,
    since: datetime | None,
    until: datetime | None,
    fields: tuple[str, ...] | None,
    count_by: tuple[str, ...] | None,
    geoip: tuple[Path, ...],
    form: str,
    limit: int | None,
    everything: bool,
    oldest_first: bool,
    ignore_case: bool,
    as_json: bool,
) -> None:
    """Print the events that a query finds, in memory that does not grow with their number."""
    form = "json" if as_json else form
    start = start_time(now(), since, last)
    check_times(since, until, None)
    if everything and limit is not None:
        raise click.UsageError("--limit and --all exclude each other.")
    if count_by and fields:
        raise click.UsageError("--count-by and --fields exclude each other: groups have no other fields.")
    origins = SearchOrigins(count_by or fields or (), geoip)
    maximum = None if everything else _DEFAULT_LIMIT if limit is None else limit or None
    settings = load_settings()
    shown_fields = ("@timestamp", *count_by) if count_by else fields or (() if form == "json" else DEFAULT_FIELDS)
    request = Search(
        settings.index_prefix,
        query,
        since=start,
        until=until,
        fields=origins.fields_to_read(shown_fields),
        limit=None if count_by else maximum,
        oldest_first=oldest_first,
        ignore_case=ignore_case,
    )
    session = SearchSession(make_client(settings).connect(), request, use_pit=not settings.is_serverless)
    if count_by:
        _print_counts(session, count_by, form, maximum, origins)
        return
    shown, without = 0, set(fields or ())
    with closing(session.pages()) as pages:
        for number, page in enumerate(announced_each(pages, "OpenSearch")):
            hits = [origins.add_to(hit) for hit in page]
            _PRINTERS[form](hits, shown_fields, number == 0)
            shown += len(hits)
            without -= {name for name in without if any(hit.value(name) is not None for hit in hits)}
    print_line(_summary(session, shown), err=True)
    if shown and without:
        print_line(f"No event that is shown has a value of {', '.join(sorted(without))}: is it spelt so?", err=True)
    _warn_of_unsearchable(session)


def _print_counts(
    session: SearchSession, paths: tuple[str, ...], form: str, limit: int | None, origins: SearchOrigins
) -> None:
    counts, events = EventCounts(paths), 0
    with closing(session.pages()) as pages:
        for page in announced_each(pages, "OpenSearch"):
            events += len(page)
            for hit in page:
                counts.add(origins.add_to(hit))
    names = ("count", *paths, "first", "last")
    groups = counts.most_common(limit)
    rows = [(str(group.count), *key, group.first, group.last) for key, group in groups]
    if form == "json":
        for key, group in groups:
            values = dict(zip(paths, key, strict=True))
            document = {"count": group.count, "values": values, "first": group.first, "last": group.last}
            print_document(f"{ascii_json(json.dumps(document))}\n")
    elif form == "csv":
        _print_rows([names, *rows])
    elif rows:
        print_table(names, rows, right=("count",))
    shown = f"{len(groups):,} of " if len(groups) < len(counts.groups) else ""
    without = f" {pluralize(counts.without, 'event')} without a value." if counts.without else ""
    print_line(f"{shown}{pluralize(len(counts.groups), 'group')} of {pluralize(events, 'event')}.{without}", err=True)
    _warn_of_unsearchable(session)


def _warn_of_unsearchable(session: SearchSession) -> None:
    """Say when events could be missing from a result, or be in it wrongly."""
    if count := session.count_unsearchable():
        holding = "event of this time has a value" if count == 1 else "events of this time have values"
        print_line(
            f"{count:,} {holding} that cannot be searched, in a field of this query, and may be missing here."
            " List them with: trailsink search '_exists_:trailsink.unsearchable'",
            err=True,
        )


def _print_rows(rows: Iterable[Sequence[str]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([_cell(text) for text in row] for row in rows)
    print_document(buffer.getvalue())


def _summary(session: SearchSession, shown: int) -> str:
    if not shown:
        return _nothing_found(session)
    if session.search.limit is None or shown >= session.total:
        return f"{pluralize(shown, 'event')}."
    total = f"{'more than ' if session.is_total_capped else ''}{session.total:,}"
    return f"{shown:,} of {total} events; --limit or --all shows more."


def _nothing_found(session: SearchSession) -> str:
    search = session.search
    if session.no_index:
        return f"No events found: there is no index {search.prefix}-* (TRAILSINK_INDEX_PREFIX), or none yet."
    if ":" in search.query and not search.ignore_case:
        return "No events found. Values are compared letter by letter; --ignore-case finds them in any case."
    return "No events found."


def _print_table(page: list[Hit], fields: tuple[str, ...], first: bool) -> None:  # noqa: FBT001
    rows = ([_text(hit.value(name)) for name in fields] for hit in page)
    print_table(fields, rows, heading=first, whole=("eventTime", "eventName"))


def _print_json(page: list[Hit], fields: tuple[str, ...], _first: bool) -> None:  # noqa: FBT001
    for hit in page:
        document = {name: hit.value(name) for name in fields} if fields else hit.source
        print_document(f"{ascii_json(json.dumps(document))}\n")


def _print_csv(page: list[Hit], fields: tuple[str, ...], first: bool) -> None:  # noqa: FBT001
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    if first:
        writer.writerow(map(_cell, fields))
    writer.writerows([_cell(hit.value(name)) for name in fields] for hit in page)
    print_document(buffer.getvalue())


_PRINTERS: dict[str, Callable[[list[Hit], tuple[str, ...], bool], None]] = {
    "table": _print_table,
    "json": _print_json,
    "csv": _print_csv,
}


def _cell(value: Any) -> str:  # noqa: ANN401 - whatever the event holds
    text = escape_control_characters(_text(value))
    return f"'{text}" if text.startswith(_FORMULA_PREFIXES) and not isinstance(value, (int, float)) else text


def _text(value: Any) -> str:  # noqa: ANN401
    match value:
        case None:
            return ""
        case str():
            return value
        case list() if all(isinstance(element, str) for element in value):
            return ", ".join(value)
        case _:
            return json.dumps(value, ensure_ascii=False)
