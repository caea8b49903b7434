"""A chart for a projector: larger letters, thicker lines, larger dots."""

from typing import Any

import plotly.graph_objects as go

LETTERS = 18
"""Pixels; plotly's own are 12."""

LARGER = 1.4
"""How much larger what stands in a chart becomes, and the chart with it."""

THICKER = 1.8


def enlarge_chart(figure: go.Figure) -> go.Figure:
    """Return a copy of a chart as the last row of a lecture hall can read it.

    >>> small = go.Figure(go.Scatter(y=[1, 2], line={"width": 2}), {"height": 300})
    >>> large = enlarge_chart(small)
    >>> large.data[0].line.width, large.layout.height, small.layout.height
    (3.6, 360, 300)
    """
    large = go.Figure(figure)
    for trace in large.data:
        _thicken(trace)
    font = {"size": LETTERS}
    large.update_layout(font=font, legend={"font": font})
    for update in (large.update_xaxes, large.update_yaxes):
        update(tickfont=font, title={"font": font}, automargin=True)
    for annotation in large.layout.annotations:
        annotation.font.size = LARGER * (annotation.font.size or 12)
    for shape in large.layout.shapes:
        shape.line.width = THICKER * (shape.line.width or 1)
    if large.layout.height:
        large.layout.height = round(1.2 * large.layout.height)
    return large


def _thicken(trace: Any) -> None:
    """Enlarge the lines, dots and letters that a trace draws by itself."""
    if trace.type == "scatter":
        trace.line.width = THICKER * (trace.line.width or 2)
        size = trace.marker.size
        if size is None or isinstance(size, int | float):
            trace.marker.size = LARGER * (size or 6)
        if trace.error_y.thickness:
            trace.error_y.thickness *= THICKER
    if "textfont" in trace:
        trace.textfont.size = LARGER * (trace.textfont.size or 12)
