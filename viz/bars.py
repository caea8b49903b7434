"""Two parts of a whole, as stacked bars."""

from collections.abc import Mapping

import plotly.graph_objects as go

from viz.curves import COLORS
from viz.heatmap import MARGIN


def cost_bars(
    linear: Mapping[str, float], quadratic: Mapping[str, float], title: str, height: int = 300
) -> go.Figure:
    """A bar for each name, its linear part and its quadratic part one after the other."""
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
