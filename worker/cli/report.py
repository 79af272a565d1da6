"""What `trailsink report` does: write the boards' panels over a range of time as one HTML file, or as JSON."""

from __future__ import annotations

from datetime import timedelta
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click

from worker.atomicfile import write_atomically
from worker.boards.report import make_report
from worker.boards.report_values import ReportScope
from worker.cli.options import check_times
from worker.cli.output import announced_wait, print_document, print_json, print_line
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
    as_json: bool,
) -> None:
    """Search for everything, then write it."""
    check_times(since, until, last)
    if not as_json and any(find_spec(name) is None for name in ("jinja2", "pygal")):
        raise SetupError("Reports need Jinja2 and pygal, which are not installed: pip install 'trailsink[report]'.")
    settings = load_settings()
    end = until or now()
    start = since or end - (last or _DEFAULT_LENGTH)
    if start >= end:
        raise click.UsageError("--since must be earlier than --until, and than now.")
    scope = ReportScope(settings.index_prefix, start, end, list(account))
    client = make_client(settings).connect()
    with translate_errors(f"OpenSearch cannot be asked for events of {scope.prefix}-*"), announced_wait("OpenSearch"):
        report = make_report(client, scope, now())
    if as_json:
        print_json(report)
        return
    # Imported when needed: only the extra brings the libraries.
    from worker.boards.page import report_page  # noqa: PLC0415

    page = report_page(report)
    if str(output) == "-":
        print_document(page)
        return
    _write(output, page)
    red = sum(counter.red for counter in report.counters)
    events = pluralize(report.coverage.events, "event")
    print_line(f"Wrote {output}: {events}, {red} of {len(report.counters)} counters are red.")


def _write(path: Path, page: str) -> None:
    """Write the page for its owner alone: it names everybody who called AWS."""
    try:
        with write_atomically(path) as file:
            file.write(page.encode())
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror}.") from error
