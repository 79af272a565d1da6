"""The operator's door to events: `trailsink search` and `trailsink explain`."""

from __future__ import annotations

import csv
import io
import json
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click

from worker.cli.commands.search import DEFAULT_FIELDS
from worker.cli.output import escape_control_characters, print_table
from worker.opensearch.search import Search, SearchSession, unknown_fields
from worker.settings import load_settings
from worker.wiring import make_client, now

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from worker.opensearch.search import Hit


# A spreadsheet takes a cell that begins like this for a formula and runs it.
# owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@")


def search(  # noqa: PLR0913 - one per option
    *,
    query: str,
    last: timedelta | None,
    since: datetime | None,
    until: datetime | None,
    fields: tuple[str, ...] | None,
    form: str,
    limit: int | None,
    everything: bool,
    oldest_first: bool,
) -> None:
    """Find events by a QUERY in OpenSearch's query string syntax; without one, every event.

    Fields have CloudTrail's own names, and a value with : / or spaces needs quotes. Times are the events' own. Pages
    through any number of events in memory that does not grow.
    """
    if last and since:
        raise click.UsageError("--last and --since both say where to begin; give one.")
    if limit and everything:
        raise click.UsageError("--limit and --all exclude each other.")
    settings = load_settings()
    wanted = Search(
        settings.index_prefix,
        query,
        since=now() - last if last else since,
        until=until,
        fields=fields or (() if form == "json" else DEFAULT_FIELDS),
        limit=None if everything else limit or 100,
        oldest_first=oldest_first,
    )
    searching = SearchSession(make_client(settings).connect(), wanted, views=not settings.is_serverless)
    shown = 0
    with closing(searching.pages()) as pages:
        for number, page in enumerate(pages):
            _PRINTERS[form](page, wanted.fields, number == 0)
            shown += len(page)
    click.echo(_count(searching, shown), err=True)


def _count(searching: SearchSession, shown: int) -> str:
    if not shown:
        wanted = searching.search
        if searching.nowhere:
            return f"No events found: there is no index {wanted.prefix}-* (TRAILSINK_INDEX_PREFIX), or none yet."
        unknown = unknown_fields(searching.client, wanted.prefix, wanted.text)
        hint = f" No index has a field {', '.join(unknown)}; names are case-sensitive." if unknown else ""
        return f"No events found.{hint}"
    total = f"{'more than ' if searching.more else ''}{searching.total:,}"
    if searching.search.limit is None or shown >= searching.total:
        return f"{shown:,} event{'' if shown == 1 else 's'}."
    return f"{shown:,} of {total} events; --limit or --all shows more."


def _print_table(page: list[Hit], fields: tuple[str, ...], first: bool) -> None:  # noqa: FBT001
    rows = ([escape_control_characters(_text(hit.value(name))) for name in fields] for hit in page)
    print_table(fields, rows, heading=first)


def _print_json(page: list[Hit], fields: tuple[str, ...], _first: bool) -> None:  # noqa: FBT001
    for hit in page:
        # ASCII only: a terminal obeys some characters beyond it.
        click.echo(json.dumps({name: hit.value(name) for name in fields} if fields else hit.source))


def _print_csv(page: list[Hit], fields: tuple[str, ...], first: bool) -> None:  # noqa: FBT001
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    if first:
        writer.writerow(fields)
    writer.writerows([_cell(hit.value(name)) for name in fields] for hit in page)
    click.echo(written.getvalue(), nl=False)


_PRINTERS: dict[str, Callable[[list[Hit], tuple[str, ...], bool], None]] = {
    "table": _print_table,
    "json": _print_json,
    "csv": _print_csv,
}


def _cell(value: Any) -> str:  # noqa: ANN401 - whatever the event holds
    text = escape_control_characters(_text(value))
    return f"'{text}" if text.startswith(_FORMULA) and not isinstance(value, (int, float)) else text


def _text(value: Any) -> str:  # noqa: ANN401
    match value:
        case None:
            return ""
        case str():
            return value
        case list() if all(isinstance(one, str) for one in value):
            return ", ".join(value)
        case _:
            return json.dumps(value, ensure_ascii=False)
