"""The command lines of `trailsink search` and `trailsink explain`."""

from __future__ import annotations

import click

from worker.cli.options import (
    GEOIP,
    JSON_LINES,
    examples,
    flag,
    implemented_by,
    last_option,
    option,
    since_option,
    until_option,
)

DEFAULT_FIELDS = ("eventTime", "eventName", "userIdentity.arn", "errorCode")


class _FieldNames(click.ParamType[tuple[str, ...]]):
    """Dotted paths separated by commas."""

    name = "names"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        names = tuple(name.strip() for name in str(value).split(","))
        if not all(names) or any("*" in name for name in names):
            self.fail(f"{value!r}: separate names by commas, as in eventTime,eventName,awsRegion.", param, ctx)
        return names


@click.command(
    short_help="Find events.",
    epilog=examples(
        "trailsink search 'eventName:AssumeRole AND errorCode:*' --last 2h",
        """trailsink search 'userIdentity.arn:"arn:aws:iam::123456789012:user/ada"'""",
        "trailsink search requestParameters.bucketName:acme --all --format csv",
        "trailsink search 'requestParameters.bucketName:*prod*' --count-by eventName",
        "trailsink search --geoip GeoLite2-Country.mmdb --count-by source.country",
    ),
)
@click.argument("query", default="*", metavar="[QUERY]")
@last_option("Only events of the last s, m, h, d or w.", default_text="all", example="2h")
@since_option(
    "Only events from this day or instant on, in UTC.", default_text="the first event", example="2025-01-31T10:00:00Z"
)
@until_option("Only events before this day or instant, in UTC.", default_text="the last event")
@option(
    "--fields",
    type=_FieldNames(),
    metavar="NAMES",
    example="eventTime,requestParameters.bucketName",
    default_text=f"{','.join(DEFAULT_FIELDS)}; with json the whole event",
    help="What to show of each event: dotted paths separated by commas; _id and _index, too. With --geoip also"
    " source.country and source.as.",
)
@GEOIP
@option(
    "--count-by",
    type=_FieldNames(),
    metavar="NAMES",
    example="requestParameters.bucketName",
    default_text="events are shown, not counted",
    help="Count the events by the values of these fields, any path, in place of showing them; with the times of the "
    "first and the last.",
)
@option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv"]),
    default="table",
    example="csv",
    help="json: one document per line. csv: control characters are escaped, and a text that a spreadsheet would run "
    "gets a ' before it.",
)
@option(
    "--limit",
    type=click.IntRange(0),
    metavar="EVENTS",
    default_text="100",
    example="1000",
    help="Maximum events shown, the newest ones; with --count-by, the largest groups; 0 for all.",
)
@flag("--json", "as_json", help="The same as --format json.", default_text="--format")
@flag("--all", "everything", help="Show all events, however many.", default_text="--limit")
@flag("--oldest-first", help="Start with the oldest event.", default_text="the newest first")
@flag("--ignore-case", help="Treat letters as equal in any case.", default_text="case matters, except in errorMessage")
@implemented_by("worker.cli.search:search")
def search() -> None:
    """Find events by a QUERY in Lucene's syntax; without one, every event.

    Fields have CloudTrail's own names, and a value with : / or spaces needs quotes. Times are the events' own. Pages
    through any number of events in memory that does not grow.
    """


@click.command(
    short_help="Show where an event is, and how it got there.",
    epilog=examples("trailsink explain 8331be91-3e22-4b79-99e1-a62eb77a5963"),
)
@click.argument("event_id", metavar="EVENTID")
@JSON_LINES
@flag("--record", "with_record", help="Print the record, too, as it is indexed.", default_text="only where it is")
@implemented_by("worker.cli.explain:explain_event")
def explain() -> None:
    """Show where an event is: index, file and position in it; when it happened, was delivered and indexed.

    EVENTID is the record's eventID; a requestID or a sharedEventID is recognised as such. An event in degraded form is
    shown with the cause. One that is not there ends with exit code 1 and what to try.
    """
