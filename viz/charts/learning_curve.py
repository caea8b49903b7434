"""How a training went: accuracy after each epoch."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from viz.charts.curves import COLORS, DASHES
from viz.charts.heatmap import MARGIN


def learning_curve(
    lines: Mapping[str, Sequence[tuple[int, float]]], height: int = 280
) -> go.Figure:
    """Draw named lines of (epoch, share from 0 to 1); each may have epochs of its own."""
    figure = go.Figure()
    for index, (name, points) in enumerate(lines.items()):
        epochs, shares = zip(*points, strict=True) if points else ((), ())
        figure.add_scatter(
            x=epochs,
            y=[100 * share for share in shares],
            name=name,
            mode="lines+markers" if len(points) <= 40 else "lines",
            marker={"size": 5},
            line={"color": COLORS[index % len(COLORS)], "dash": DASHES[index % len(DASHES)]},
            hovertemplate=f"{name}, epoch %{{x}}: %{{y:.1f}} %<extra></extra>",
        )
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0}
    figure.update_layout(height=height, margin={**MARGIN, "t": 30}, showlegend=True, legend=legend)
    figure.update_xaxes(title="Epoch", zeroline=False, showgrid=False)
    figure.update_yaxes(title="Accuracy", ticksuffix=" %", zeroline=False)
    if max((len(points) for points in lines.values()), default=0) <= 16:
        figure.update_xaxes(dtick=1)
    return figure
