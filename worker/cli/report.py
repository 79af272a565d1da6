"""What `trailsink report` does: write the boards' panels over a range of time as one HTML file, or as JSON."""

from __future__ import annotations

from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click
from msgspec import structs

from worker.boards.geoip import OriginDatabase
from worker.boards.origins import origin_tables
from worker.boards.report import make_report
from worker.boards.report_values import ReportScope
from worker.cli.options import check_times
from worker.cli.output import announced_wait, print_json, print_line, write_document
from worker.errors import SetupError
from worker.humanize import pluralize
from worker.opensearch.errors import translate_errors
from worker.settings import load_settings
from worker.wiring import make_client, now

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

_DEFAULT_LENGTH = timedelta(days=7)


def write_report(  # noqa: PLR0913 - one per option
    *,
    last: timedelta | None,
    since: datetime | None,
    until: datetime | None,
    account: tuple[str, ...],
    output: Path,
    geoip: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Search for everything, then write it."""
    check_times(since, until, last)
    if not as_json and any(find_spec(name) is None for name in ("jinja2", "pygal")):
        raise SetupError("Reports need Jinja2 and pygal, which are not installed: pip install 'trailsink[report]'.")
    database = OriginDatabase(geoip) if geoip else None
    settings = load_settings()
    end = until or now()
    start = since or end - (last or _DEFAULT_LENGTH)
    if start >= end:
        raise click.UsageError("--since must be earlier than --until, and than now.")
    scope = ReportScope(settings.index_prefix, start, end, list(account))
    client = make_client(settings).connect()
    with translate_errors(f"OpenSearch cannot be asked for events of {scope.prefix}-*"), announced_wait("OpenSearch"):
        report = make_report(client, scope, now())
        if database:
            report = structs.replace(report, origins=origin_tables(client, scope, database.origin))
    if as_json:
        print_json(report)
        return
    # Imported when needed: only the extra brings the libraries.
    from worker.boards.page import report_page  # noqa: PLC0415

    write_document(output, report_page(report), private=True)  # it names everybody who called AWS
    if str(output) == "-":
        return
    red = sum(counter.red for counter in report.counters)
    events = pluralize(report.coverage.events, "event")
    print_line(f"Wrote {output}: {events}, {red} of {len(report.counters)} counters are red.")
