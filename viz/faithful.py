"""Charts about maps: curves of deletion and insertion, and how far methods agree."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from viz.heatmap import MARGIN

COLORS = (
    "#3b6fd4",
    "#d9822b",
    "#2a9d6f",
    "#b8559f",
    "#c8a41f",
    "#3fa7c4",
    "#c4503f",
    "#7d63c9",
    "#6f8f2f",
)
GREY = "#8a8f98"
DASHES = ("solid", "dash", "dot")


def score_curves(
    curves: Mapping[str, tuple[Sequence[float], float]],
    shares: Sequence[float],
    title: str,
    x_title: str,
    y_title: str,
    chosen: str | None = None,
    baseline: str | None = None,
    height: int = 420,
) -> go.Figure:
    """Named curves over shares of the patches, drawn together, each area in the legend.

    Args:
        curves: name -> (values, area).
        chosen: a curve to draw thicker.
        baseline: a curve to draw in grey, which knows nothing.
    """
    figure = go.Figure()
    colored = [name for name in curves if name != baseline]
    for name, (values, area) in curves.items():
        number = colored.index(name) if name in colored else 0
        figure.add_scatter(
            x=np.asarray(shares, dtype=np.float32),
            y=np.asarray(values, dtype=np.float32),
            name=f"{name}  {area:.3f}",
            mode="lines",
            line={
                "color": GREY if name == baseline else COLORS[number % len(COLORS)],
                "dash": "dash" if name == baseline else DASHES[number // 4 % len(DASHES)],
                "width": 4 if name == chosen else 2,
            },
            hovertemplate=f"{name}: %{{y:.1%}} at %{{x:.0%}}<extra></extra>",
        )
    figure.update_layout(
        title={"text": title, "x": 0, "xanchor": "left"},
        height=height,
        margin={**MARGIN, "t": 40},
        legend={
            "orientation": "h",
            "y": -0.22,
            "yanchor": "top",
            "x": 0,
            "entrywidth": 0.48,
            "entrywidthmode": "fraction",
        },
    )
    figure.update_xaxes(title=x_title, tickformat=".0%", zeroline=False, range=[0, 1])
    figure.update_yaxes(title=y_title, tickformat=".0%", zeroline=False, rangemode="tozero")
    return figure


def agreement_table(values: np.ndarray, names: Sequence[str], height: int = 460) -> go.Figure:
    """Rank correlations (M, M) as a coloured table, its numbers written in."""
    values = np.asarray(values, dtype=np.float32)
    text = [["" if np.isnan(v) else f"{v:.2f}" for v in line] for line in values]
    figure = go.Figure(
        go.Heatmap(
            z=np.where(np.isnan(values), None, values),
            x=list(names),
            y=list(names),
            zmin=-1,
            zmax=1,
            colorscale=[[0, "#b2533e"], [0.5, "#f3f1ec"], [1, "#3b6fb4"]],
            text=text,
            texttemplate="%{text}",
            textfont={"size": 12},
            xgap=2,
            ygap=2,
            colorbar={"thickness": 10, "outlinewidth": 0},
            hovertemplate="%{y} and %{x}: %{text}<extra></extra>",
        )
    )
    figure.update_layout(height=height, margin=MARGIN)
    figure.update_xaxes(showgrid=False, tickangle=-35)
    figure.update_yaxes(showgrid=False, autorange="reversed")
    return figure
