"""Draws the queue's depth as an SVG without scripts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pygal
from pygal.style import Style

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.bench.burst import Course

_HOUR = 3_600

# As tests/pictures.py: hues for the colour-blind, and neither a date nor a script in the file.
_STYLE = Style(
    background="#ffffff",
    plot_background="#ffffff",
    font_family="sans-serif",
    label_font_size=12,
    major_label_font_size=12,
    legend_font_size=12,
    title_font_size=13,
    colors=("#4477aa", "#ee6677", "#228833", "#ccbb44"),
)
_BESIDE = re.compile(rb"<!--.*?-->|<script.*?</script>", re.DOTALL)


def draw(courses: Iterable[Course], title: str) -> bytes:
    """Draw one line for each course."""
    chart = pygal.XY(
        title=f"Simulation (tests/bench/burst.py), not a measurement: messages in the queue\n{title}",
        x_title="hours",
        style=_STYLE,
        width=860,
        height=380,
        show_dots=False,
        stroke_style={"width": 2},
        legend_at_bottom=True,
        x_value_formatter=lambda hours: f"{hours:g}",
        value_formatter=lambda depth: f"{depth:,.0f}",
        js=(),
        pretty_print=True,
    )
    chart.uuid = "burst"  # else a random one
    for course in courses:
        points = [(round(sample.at / _HOUR, 3), sample.depth) for sample in course.samples]
        chart.add(f"MaximumConcurrency {course.world.concurrency}", points)
    return _BESIDE.sub(b"", chart.render()) + b"\n"
