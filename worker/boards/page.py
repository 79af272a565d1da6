"""Writes a report as one HTML file: no script, no network, and every foreign text escaped.

User agents, session names and error messages are written by whoever calls AWS, so the template escapes everything. A
policy inside the page forbids scripts and requests, should one ever get through. Without its style sheet the page is
plain, and says the same.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from worker.boards.drawing import draw_over_time
from worker.boards.overview import CHARTS
from worker.humanize import escape_control_characters, format_duration, format_minute, iso_epoch, pluralize

if TYPE_CHECKING:
    from worker.boards.report_values import BoardReport, ReportScope, ReportTable

_COLORS = {panel.id: panel.colors for panel in CHARTS}

# A time as the server writes it.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

# New values shown of a kind. A first report has no range before it, and everything is new.
_MAX_NEW = 20


def report_page(report: BoardReport) -> str:
    """Return the page of a report."""
    environment = Environment(
        autoescape=True, finalize=_visible, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"cell": _cell, "minute": format_minute, "counted": pluralize}
    template = environment.from_string(files(__package__).joinpath("report.html").read_text(encoding="utf-8"))
    return template.render(
        report=report,
        scope=report.scope,
        coverage=report.coverage,
        interval=format_duration(report.coverage.interval_seconds),
        charts=[(panel, _draw(panel, report.scope)) for panel in report.panels if panel.kind == "histogram"],
        tables=[panel for panel in report.panels if panel.kind != "histogram"],
        max_new=_MAX_NEW,
    )


def _draw(panel: ReportTable, scope: ReportScope) -> Markup:
    times = [iso_epoch(start) for start in scope.starts]
    return Markup(draw_over_time(panel, times, _COLORS.get(panel.id, {})))  # noqa: S704 - made of elements, not of text


def _visible(value: object) -> object:
    """Return a value with what is invisible in a text escaped; a drawing is no text."""
    return escape_control_characters(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _cell(value: object) -> str:
    """Return a value as text: numbers with separators, and times as people read them."""
    match value:
        case None:
            return ""
        case bool() | int() | float():
            return f"{value:,.0f}"
        case datetime():
            return format_minute(value.astimezone(UTC))
    return _short_time(str(value)) if _TIME.fullmatch(str(value)) else str(value)


def _short_time(time: str) -> str:
    """Return a time as people read it: 2026-03-01 10:00:00."""
    return f"{time[:10]} {time[11:19]}"
