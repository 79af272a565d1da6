"""Draws the queue's depth as an SVG without scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pygal
from pygal.style import Style

from infra.generate.drawing import COLORS, STYLE, drawn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.bench.burst.simulation import Course

_HOUR = 3_600

_STYLE = Style(**STYLE, title_font_size=13, colors=COLORS[:4])


def draw(courses: Iterable[Course], title: str) -> bytes:
    """Draw one line for each course."""
    chart = pygal.XY(
        title=f"Simulation (tests/bench/burst/simulation.py), not a measurement: messages in the queue\n{title}",
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
    for course in courses:
        points = [(round(sample.at / _HOUR, 3), sample.depth) for sample in course.samples]
        chart.add(f"MaximumConcurrency {course.world.concurrency}", points)
    return drawn(chart, "burst")
