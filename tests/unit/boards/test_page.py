"""Promises about the page: it opens anywhere, and whatever a caller of AWS wrote is text on it."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest

from worker.boards.page import report_page
from worker.boards.report_values import (
    BoardReport,
    Counter,
    CoverageFigures,
    NewEntry,
    NewValues,
    ReportScope,
    ReportTable,
)

NOW = datetime(2026, 3, 2, tzinfo=UTC)

# As a user agent, a session name or an error message can be.
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></svg></title><svg onload=alert(1)>",
    "]]><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "\u202egnp.exe\x1b[2J",
]


def table(text: str, kind: str = "table") -> ReportTable:
    if kind == "histogram":
        rows: list[list[Any]] = [[text, "2026-03-01T00:00:00Z", 3], ["b", "2026-03-01T00:30:00Z", 4]]
        return ReportTable("changes-over-time", text, text, kind, [text, "Time", "Events"], rows, text)
    return ReportTable(
        "errors", text, text, kind, [text, "Events"], [[text, 1_234], [text, "2026-03-01T10:00:00.000Z"]], text
    )


def report(text: str = "x", *, events: int = 7) -> BoardReport:
    """A report in which every text that could be foreign is `text`."""
    coverage = CoverageFigures(events, 1, NOW, NOW, NOW, 0, 2, 1_800, 48, 3, 0)
    return BoardReport(
        ReportScope(text, NOW - timedelta(days=1), NOW, [text]),
        NOW,
        coverage,
        [Counter("c", text, text, 5, 1, red=True, command=text)],
        [table(text, "histogram"), table(text)],
        [NewValues("callers", "New callers", [NewEntry(text, NOW, 1, text)], complete=False)],
        table(text),
        "",
    )


class Elements(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_caller_wrote_is_text_in_every_place(text: str) -> None:
    """The same elements and attributes as with a harmless text, and no script among them."""
    harmless, hostile = Elements(report_page(report("harmless"))), Elements(report_page(report(text)))

    def shape(elements: Elements) -> list[tuple[str, set[str]]]:
        return [(tag, set(attributes)) for tag, attributes in elements.found]

    assert shape(hostile) == shape(harmless)
    assert not {"script", "img", "iframe", "a", "link"} & {tag for tag, _ in hostile.found}
    assert not any(name.startswith("on") or name in ("href", "src") for _, names in hostile.found for name in names)
    assert "\x1b" not in hostile.text
    assert "\u202e" not in hostile.text
    if text.isprintable():
        assert hostile.text.count(text) >= 12


def test_the_page_loads_nothing_and_forbids_what_could() -> None:
    """It opens from mail and from S3, under any policy; a policy of its own stands before everything else."""
    text = report_page(report())

    elements = Elements(text)
    policies = [attributes["content"] for _, attributes in elements.found if "http-equiv" in attributes]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'"]
    assert "http://" not in text.replace('xmlns="http://www.w3.org/2000/svg"', "").replace(
        "http://www.w3.org/1999/xlink", ""
    )
    assert "https://" not in text
    assert "url(" not in text
    assert "@import" not in text


def test_a_chart_has_its_colours_without_a_style_sheet() -> None:
    """A strict policy drops the sheet, and shapes without a colour are black."""
    elements = Elements(report_page(report())).found

    colors = [str(attributes.get("fill")) for tag, attributes in elements if tag == "rect"]

    assert len(colors) > 4
    assert all(color.startswith("#") for color in colors)
    assert {"#4477aa", "#ee6677"} <= set(colors)


def test_the_page_says_what_it_rests_on_first() -> None:
    """Whoever reads a number must know what could be missing from it."""
    text = " ".join(Elements(report_page(report())).text.split())

    start = text[text.index("What this rests on") : text.index("Look here first")]
    assert "7 events of 1 file, from 2026-03-02 00:00" in start
    assert "3 of 48 intervals of 30m have no event." in start
    assert "2 events with values that cannot be searched: they may be missing below." in start
    assert "It has no event, so everything is new." in text
    assert "There are too many values to compare all of them." in text
    assert "1,234" in text


def test_the_same_report_is_the_same_page() -> None:
    """Two of them can be compared."""
    assert report_page(report()) == report_page(report())


def test_drawing_leaves_the_import_system_as_it_was() -> None:
    """A finder of pygal's would warn at each later import that fails."""
    assert not [finder for finder in sys.meta_path if type(finder).__module__.startswith("pygal")]
