"""Bar charts: the two parts of a cost, and shares beside what they are compared with."""

from collections.abc import Mapping

import plotly.graph_objects as go

from viz.charts.curves import COLORS
from viz.charts.heatmap import MARGIN


def cost_bars(
    linear: Mapping[str, float], quadratic: Mapping[str, float], title: str, height: int = 300
) -> go.Figure:
    """Draw a bar for each name, its linear part first and then its quadratic part."""
    figure = go.Figure()
    for name, part, color in (("Linear", linear, 0), ("Quadratic", quadratic, 1)):
        figure.add_bar(
            y=list(part),
            x=list(part.values()),
            orientation="h",
            name=name,
            marker={"color": COLORS[color]},
            hovertemplate=f"%{{y}}<br>{name.lower()} %{{x:.3~g}}<extra></extra>",
        )
    figure.update_layout(
        barmode="stack",
        height=height,
        margin={**MARGIN, "t": 30},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )
    figure.update_xaxes(title=title, zeroline=False)
    figure.update_yaxes(autorange="reversed")
    return figure


def share_bars(
    shares: Mapping[str, float], yardsticks: Mapping[str, float], height: int | None = None
) -> go.Figure:
    """Draw shares from 0 to 1 as bars in percent, and yardsticks for them in grey below."""
    figure = go.Figure()
    for part, color in ((shares, COLORS[0]), (yardsticks, "#8a8f98")):
        figure.add_bar(
            y=list(part),
            x=list(part.values()),
            orientation="h",
            marker={"color": color},
            text=[f"{100 * value:.1f} %" for value in part.values()],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    count = len(shares) + len(yardsticks)
    figure.update_layout(
        height=height or 24 + 30 * count, margin=MARGIN, showlegend=False, bargap=0.35
    )
    figure.update_xaxes(range=[0, 1.12], showticklabels=False, showgrid=False, zeroline=False)
    figure.update_yaxes(autorange="reversed")
    return figure
