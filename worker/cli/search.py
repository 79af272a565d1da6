"""The operator's door to events: `trailsink search` and `trailsink explain`."""

from __future__ import annotations

import csv
import io
import json
import shlex
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click
import msgspec

from worker.cli.options import MOMENT, SPAN, age, examples, print_table, visible
from worker.errors import SetupError
from worker.opensearch.explain import explain, related
from worker.opensearch.search import Search, SearchSession, unknown_fields
from worker.settings import load_settings
from worker.wiring import make_client, now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime, timedelta

    from opensearchpy import OpenSearch

    from worker.opensearch.explain import Place
    from worker.opensearch.search import Hit

_FIELDS = ("eventTime", "eventName", "userIdentity.arn", "errorCode")

# A spreadsheet takes a cell that begins like this for a formula and runs it.
# owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@")


class _Names(click.ParamType[tuple[str, ...]]):
    """Dotted paths with commas between."""

    name = "names"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(","))
        if not all(names) or any("*" in name for name in names):
            self.fail(f"{value!r}: write names with commas between, as in eventTime,eventName,awsRegion.", param, ctx)
        return names


@click.command(
    short_help="Find events.",
    epilog=examples(
        "trailsink search 'eventName:AssumeRole AND errorCode:*' --last 2h",
        """trailsink search 'userIdentity.arn:"arn:aws:iam::123456789012:user/ada"'""",
        "trailsink search requestParameters.bucketName:acme --all --format csv",
    ),
)
@click.argument("query", default="*", metavar="[QUERY]")
@click.option("--last", type=SPAN, metavar="SPAN",
              help="Only events of the last so many s, m, h, d or w.  [default: all]  Example: 2h")  # fmt: skip
@click.option("--since", type=MOMENT, metavar="TIME",
              help="Only events from this day or instant on, in UTC.  [default: the first]  "
                   "Example: 2025-01-31T10:00:00Z")  # fmt: skip
@click.option("--until", type=MOMENT, metavar="TIME",
              help="Only events before this day or instant, in UTC.  [default: the last]  "
                   "Example: 2025-02-01")  # fmt: skip
@click.option("--fields", type=_Names(), metavar="NAMES",
              help="What to show of each event: dotted paths with commas between; _id and _index, too.  [default: "
                   f"{','.join(_FIELDS)}; with json the whole event]  "
                   "Example: eventTime,requestParameters.bucketName")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["table", "json", "csv"]), default="table",
              help="json: one document a line. csv: control characters are escaped, and a text "
                   "that a spreadsheet would run gets a ' before it.  Example: csv")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), metavar="EVENTS",
              help="Most events shown, the newest.  [default: 100]  Example: 1000")  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Show all events, however many.  [default: --limit]")
@click.option("--oldest-first", is_flag=True, help="Begin with the oldest.  [default: with the newest]")
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
        fields=fields or (() if form == "json" else _FIELDS),
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
    rows = ([visible(_text(hit.value(name))) for name in fields] for hit in page)
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
    text = visible(_text(value))
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


@click.command(
    "explain",
    short_help="Say where an event is, and how it came there.",
    epilog=examples("trailsink explain 8331be91-3e22-4b79-99e1-a62eb77a5963"),
)
@click.argument("event_id", metavar="EVENTID")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document per place.  [default: text]")
@click.option("--record", "with_record", is_flag=True,
              help="Print the record, too, as it is indexed.  [default: where it is, only]")  # fmt: skip
def explain_event(*, event_id: str, as_json: bool, with_record: bool) -> None:
    """Say where an event is: index, file and position in it; when it happened, was delivered and indexed.

    EVENTID is the record's eventID; a requestID or a sharedEventID is recognised as such. An event in degraded form is
    shown with the cause. One that is not there ends with exit code 1 and what to try.
    """
    settings = load_settings()
    client = make_client(settings).connect()
    places = explain(client, settings.index_prefix, event_id)
    if not places:
        raise SetupError(_not_there(client, settings.index_prefix, event_id))
    for place in places:
        if as_json:
            click.echo(json.dumps(_described(place, with_record=with_record)))
            continue
        for line in _lines(place):
            click.echo(line)
        if with_record:
            click.echo(json.dumps(place.record, indent=2))


def _described(place: Place, *, with_record: bool) -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(place)
    return told if with_record else {name: value for name, value in told.items() if name != "record"}


def _lines(place: Place) -> Iterator[str]:
    yield click.style(visible(place.event_id), bold=True)
    yield f"  event      {visible(place.event)}"
    yield f"  index      {visible(place.index)}"
    yield f"  file       {visible(place.object) or 'not said: trailsink did not write this document'}"
    if place.position is not None:
        yield f"  position   {place.position}, counted from 0"
    yield f"  happened   {_moment(place.event_time)}"
    if place.object:
        yield f"  delivered  {_moment(place.delivered_at, 'minutes') if place.delivered_at else _NO_DELIVERY}"
    if place.indexed_at:
        after = f", {_after(place.lag_seconds)}" if place.lag_seconds is not None else ""
        yield f"  indexed    {_moment(place.indexed_at)}{after}"
    if place.degraded:
        yield f"  degraded   {visible(place.degraded)}: {_DEGRADED.get(place.degraded, _REFUSED)};"
        yield "             fields that are missing stand in the text of trailsink.raw"
    else:
        yield "  degraded   no"
    if place.object and place.position is not None:
        uri = shlex.quote(visible(place.object))
        yield f"  read it    aws s3 cp {uri} - | gunzip | jq '.Records[{place.position}]'"


_NO_DELIVERY = "not known: the file's name holds no time"
_REFUSED = "the cluster refused the record as it is"
_DEGRADED = {
    "too_deep": "nested deeper than TRAILSINK_MAX_DEPTH",
    "not_representable": "not JSON that OpenSearch's parser accepts",
    "event_time_missing": "the record has no time; its file's is used",
    "event_time_unreadable": "the record's time cannot be read by the server",
}


def _moment(moment: datetime | None, precision: str = "auto") -> str:
    return moment.isoformat(sep=" ", timespec=precision).replace("+00:00", " UTC") if moment else "not known"


def _after(seconds: float) -> str:
    return f"{age(seconds)} after the event" if seconds >= 0 else f"{age(-seconds)} before the event's own time"


def _not_there(client: OpenSearch, prefix: str, event_id: str) -> str:
    name, ids = related(client, prefix, event_id)
    if ids:
        return f"{visible(event_id)} is no event's id but the {name} of {', '.join(visible(one) for one in ids)}"
    return (
        f"No event {visible(event_id)} is in {prefix}-*. One just loaded is searchable 10 s later; else its file may "
        "be a dead letter (trailsink dlq list), may never have been announced (trailsink backfill --missing), or "
        "something is at fault (trailsink doctor)"
    )
