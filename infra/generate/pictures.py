"""Draws the README's pictures: what three panels of the dashboards answer on tests/data. No screenshots.

The searches are those of the saved objects, the answers a real node's; only the drawing is not Dashboards' own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pygal
from opensearchpy import OpenSearch
from pygal.style import Style

from infra.generate.drawing import COLORS, STYLE, drawn
from infra.local.stack import Stack
from tests.support.dashboards_client import answers, rows, visualizations
from tests.support.event_files import real_records
from tests.support.index_documents import index
from worker.boards.saved_objects import ndjson, saved_objects
from worker.opensearch.setup import SetupOptions, install

if TYPE_CHECKING:
    from collections.abc import Callable

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"

_STYLE = Style(**STYLE, title_font_size=14, value_font_size=11, colors=COLORS)
_MOST_BARS = 10


def draw(bench: _Shelf) -> dict[str, bytes]:
    """Draw every picture from what is in the indices; the SVG by file name."""
    panels = visualizations(ndjson(saved_objects(bench.prefix)))

    def found(name: str) -> list[tuple[Any, ...]]:
        return rows(answers(bench.opensearch, f"{bench.prefix}-*", panels[name]), panels[name])

    return {
        f"{name}.svg": drawn(make(found(name), panels[name]["state"]["title"]), name)
        for name, make in _PICTURES.items()
    }


def _over_time(found: list[tuple[Any, ...]], title: str) -> pygal.StackedBar:
    times = sorted({row[1] for row in found})
    totals: dict[str, int] = {}
    for service, _, number in found:
        totals[service] = totals.get(service, 0) + number
    chart = pygal.StackedBar(**_options(title), height=360, x_title="2023-07-10, UTC", y_title="in 10 minutes")
    chart.x_labels = [f"{datetime.fromtimestamp(time / 1000, UTC):%H:%M}" for time in times]
    counts = {(time, service): number for service, time, number in found}
    for service in sorted(totals, key=lambda one: -totals[one]):
        chart.add(_short(service), [counts.get((time, service)) for time in times])
    return chart


def _bars(found: list[tuple[Any, ...]], title: str) -> pygal.HorizontalBar:
    totals: dict[str, int] = {}
    for first, *_, number in found:
        totals[first] = totals.get(first, 0) + number
    most = sorted(totals.items(), key=lambda one: (-one[1], one[0]))[:_MOST_BARS]
    chart = pygal.HorizontalBar(**_options(title), height=360, show_legend=False, print_values=True)
    chart.x_labels = [_short(name) for name, _ in reversed(most)]
    chart.add("calls", [number for _, number in reversed(most)])
    return chart


def _short(name: str) -> str:
    return name.removesuffix(".amazonaws.com").removeprefix("arn:aws:iam::123837392027:")


def _options(title: str) -> dict[str, Any]:
    # Without scripts, tooltips and random ids: a page shows it as an image, and the same data is the same file.
    return {
        "title": f"{title} (drawn from the panel's answer over tests/data, no screenshot)",
        "style": _STYLE,
        "width": 860,
        "js": [],
        "explicit_size": True,
        "legend_at_bottom": True,
        "legend_at_bottom_columns": 4,
        "truncate_label": 60,
        "truncate_legend": 40,
    }


_PICTURES: dict[str, Callable[[list[tuple[Any, ...]], str], Any]] = {
    "calls-over-time": _over_time,
    "errors": _bars,
    "assumed-roles": lambda found, title: _bars([row[2:] for row in found], title),
}


@dataclass(frozen=True)
class _Shelf:
    """A node with the events of tests/data."""

    opensearch: OpenSearch
    prefix: str = "pictures"


def _draw_into(folder: Path, shelf: _Shelf) -> None:
    for name, picture in draw(shelf).items():
        (folder / name).write_bytes(picture)


def main(words: list[str]) -> int:
    """Draw into docs/pictures, from a node that is started for it; or from URL, PREFIX into FOLDER.

    The second is for the test, which has no pygal in its own process: importing that puts a finder on sys.meta_path
    which warns at each later import (github.com/Kozea/pygal, pygal/__init__.py).
    """
    if words:
        url, prefix, folder = words
        _draw_into(Path(folder), _Shelf(OpenSearch([url], timeout=60), prefix))
        return 0
    with Stack() as stack:
        shelf = _Shelf(OpenSearch([stack.opensearch_url], timeout=60))
        list(install(shelf.opensearch, SetupOptions(shelf.prefix, replicas=0)))
        index(shelf, real_records(), day="2023-07-10")
        _draw_into(PICTURES, shelf)
    for path in sorted(PICTURES.glob("*.svg")):
        print(f"{path.relative_to(PICTURES.parents[1])}: {path.stat().st_size:,} bytes")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
