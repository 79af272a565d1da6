"""How the pictures of this project are drawn: one style, and neither a date nor a script in the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pygal

# Of colour-blind-safe hues, readable on white and on black alike, because a README is shown on both.
COLORS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#bbbbbb", "#333333")

# What every style has, for pygal.style.Style.
STYLE: dict[str, Any] = {
    "background": "#ffffff",
    "plot_background": "#ffffff",
    "font_family": "sans-serif",
    "label_font_size": 12,
    "major_label_font_size": 12,
    "legend_font_size": 12,
}

# What pygal writes beside the drawing: the day in a comment, and a script, which an image would not run.
_BESIDE = re.compile(rb"<!--.*?-->|<script.*?</script>", re.DOTALL)


def drawn(chart: pygal.graph.graph.Graph, name: str) -> bytes:
    """Render a chart as an SVG, the same whenever it is drawn."""
    chart.uuid = name  # else a random one
    return _BESIDE.sub(b"", chart.render()) + b"\n"
