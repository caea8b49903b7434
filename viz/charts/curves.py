"""Curves over positions."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from viz.charts.heatmap import MARGIN

COLORS = ("#3b6fd4", "#d9822b", "#2a9d6f", "#b8559f", "#7a7f87", "#c8b02a")
"""Distinct also with colour blindness, on white and on black."""

DASHES = ("solid", "dash", "dot", "dashdot")


def curves(
    lines: Mapping[str, Sequence[float] | np.ndarray],
    x_title: str,
    y_title: str,
    height: int = 300,
    first: int = 0,
    marked: int | None = None,
) -> go.Figure:
    """Draw named lines over first, first + 1, ...

    Args:
        marked: a position to draw a thin line at.
    """
    figure = go.Figure()
    for index, (name, values) in enumerate(lines.items()):
        figure.add_scatter(
            x0=first,
            dx=1,
            y=np.asarray(values, dtype=np.float32),
            name=name,
            mode="lines+markers" if len(values) <= 40 else "lines",
            marker={"size": 5},
            line={"color": COLORS[index % len(COLORS)], "dash": DASHES[index % len(DASHES)]},
            hovertemplate=f"{name}<br>{x_title.lower()} %{{x}}: %{{y:.3f}}<extra></extra>",
        )
    if marked is not None:
        figure.add_vline(x=marked, line={"width": 1, "color": "#8a8f98", "dash": "dot"})
    figure.update_layout(
        height=height,
        margin={**MARGIN, "t": 30},
        showlegend=len(lines) > 1,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(title=x_title, zeroline=False)
    figure.update_yaxes(title=y_title, zeroline=False)
    return figure
