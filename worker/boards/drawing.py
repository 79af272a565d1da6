"""Draws a report's charts: SVG that stands in a page without scripts, and whose colours no policy can take away.

pygal writes a script beside each drawing, and its colours into a style sheet. A page under a strict policy would lose
the sheet, and mail readers drop it. So each shape gets its colour as an attribute, too.
w3.org/TR/CSP3/#directive-style-src
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pygal
from pygal.style import Style

from worker.humanize import escape_control_characters

if TYPE_CHECKING:
    from worker.boards.report_values import ReportTable

# For plugins with maps pygal adds a finder of an old protocol, and Python warns of it at each import that fails.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]

# Of hues that colour-blind people can tell apart.
_COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#333333")
_STYLE: dict[str, Any] = {
    "background": "#ffffff",
    "plot_background": "#ffffff",
    "foreground": "#333333",
    "font_family": "sans-serif",
    "label_font_size": 12,
    "major_label_font_size": 12,
    "legend_font_size": 13,
    "opacity": 1,
}
_WIDTH, _HEIGHT = 900, 300
_LABELS = 8  # of the axis of time

# A service's name has at most some thirty characters; what is longer is somebody's own text.
_MAX_NAME = 40

_SVG = "{http://www.w3.org/2000/svg}"

# What is left out: scripts and styles, the tooltips that scripts fill, and texts for them.
_LEFT_OUT = tuple(f"{_SVG}{name}" for name in ("script", "style", "defs", "title", "desc"))
_OVERLAYS = {"tooltip-overlay", "tooltip"}


def draw_over_time(panel: ReportTable, times: list[str], colors: dict[str, str]) -> str:
    """Return the drawing of a panel whose rows are series, time and number; `times` are all points of the axis."""
    numbers = {(str(row[0]), str(row[1])): row[2] for row in panel.rows}
    series = list(dict.fromkeys(name for name, _ in numbers))
    palette = tuple(colors.get(name, _COLORS[number % len(_COLORS)]) for number, name in enumerate(series))
    chart = pygal.StackedBar(
        style=Style(**_STYLE, colors=palette or _COLORS),
        width=_WIDTH,
        height=_HEIGHT,
        js=[],
        legend_at_bottom=True,
        legend_at_bottom_columns=4,
        truncate_legend=_MAX_NAME,
        truncate_label=-1,
        no_data_text="No events",
        show_minor_x_labels=False,
    )
    chart.uuid = panel.id  # else a random one, and the same data is another file
    chart.x_labels = [_short_time(time) for time in times]
    chart.x_labels_major = chart.x_labels[:: max(1, len(times) // _LABELS)]
    for name in series:
        # A control character would be no XML.
        label = escape_control_characters(name.removesuffix(".amazonaws.com"))
        chart.add(label, [numbers.get((name, time), 0) for time in times])
    return _page_svg(chart.render(), palette)


def _short_time(time: str) -> str:
    return f"{time[5:10]} {time[11:16]}"


def _page_svg(drawing: bytes, palette: tuple[str, ...]) -> str:
    """Return an SVG that can stand in a page: without scripts, styles and comments, its colours in its shapes."""
    tree = ET.fromstring(drawing)  # noqa: S314 - drawn by us a moment ago
    for parent in list(tree.iter()):
        for child in [child for child in parent if child.tag in _LEFT_OUT or _classes(child) & _OVERLAYS]:
            parent.remove(child)
    for element in tree.iter():
        _paint(element)
    for number, color in enumerate(palette):
        for group in _with_class(tree, f"color-{number}"):
            _fill(group, color)
    for number, legend in enumerate(_with_class(tree, "legend")):
        _fill(legend, palette[number % len(palette)])
        for text in legend.iter(f"{_SVG}text"):
            text.set("text-anchor", "start")
    ET.register_namespace("", _SVG[1:-1])
    return ET.tostring(tree, encoding="unicode")


def _paint(element: ET.Element) -> None:
    """Give the parts of the drawing that are no series the colours and places of the style sheet."""
    if element.tag == f"{_SVG}text":
        # Labels of the axis of time are centred below it, numbers end at the axis on the left.
        anchor = "end" if float(element.get("x", "0")) < 0 else "middle"
        attributes = {"font-size": "12", "font-family": "sans-serif", "fill": "#333333", "text-anchor": anchor}
    elif element.tag == f"{_SVG}path":
        attributes = {"stroke": "#dddddd", "fill": "none"}
    else:
        attributes = {"fill": "#ffffff"} if "background" in _classes(element) else {}
    element.attrib.update(attributes)


def _fill(group: ET.Element, color: str) -> None:
    for shape in group.iter(f"{_SVG}rect"):
        shape.set("fill", color)


def _classes(element: ET.Element) -> set[str]:
    return set(element.get("class", "").split())


def _with_class(tree: ET.Element, name: str) -> list[ET.Element]:
    return [element for element in tree.iter() if name in _classes(element)]
