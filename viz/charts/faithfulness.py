"""Charts of faithfulness: curves of deletion and insertion, and how far methods agree."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from viz.charts.heatmap import MARGIN

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
DASHES = ("solid", "solid", "solid", "dash", "dash", "dash", "dot", "dot", "dot")
"""With three curves each, colours that look alike are told apart by their line."""


def colors_of(names: Sequence[str], knows_nothing: str) -> dict[str, str]:
    """Choose a colour for each name, grey for the one that knows nothing."""
    others = [name for name in names if name != knows_nothing]
    found = {name: COLORS[i % len(COLORS)] for i, name in enumerate(others)}
    return found | {knows_nothing: GREY}


def score_curves(
    curves: Mapping[str, tuple[Sequence[float], float]],
    shares: Sequence[float] | np.ndarray,
    title: str,
    x_title: str,
    y_title: str,
    colors: Mapping[str, str],
    chosen: str | None = None,
    height: int = 560,
    logarithms: bool = False,
) -> go.Figure:
    """Draw named curves over shares of the patches, with each area in the legend.

    Args:
        curves: name -> (values, area).
        colors: name -> colour, so that a method has the same in every chart.
        chosen: a curve to draw thicker.
        logarithms: whether values are logarithms, and not shares from 0 to 1.
    """
    times, value = (1, "%{y:.2f}") if logarithms else (100, "%{y:.1f} %")
    dashes = dict(zip(COLORS, DASHES, strict=True))
    figure = go.Figure()
    for name, (values, area) in curves.items():
        figure.add_scatter(
            x=100 * np.asarray(shares, dtype=np.float32),
            y=times * np.asarray(values, dtype=np.float32),
            name=f"{name}  " + f"{area:.3f}".replace("-", "−"),
            mode="lines",
            line={
                "color": colors[name],
                "width": 4 if name == chosen else 2,
                "dash": dashes.get(colors[name], "solid"),
            },
            hovertemplate=f"<b>{name}</b>: {value} at %{{x:.0f}} %<extra></extra>",
        )
    figure.update_layout(
        hovermode="closest",
        hoverdistance=-1,  # wherever the mouse is, the nearest curve says its name
        hoverlabel={"font": {"size": 14}},
        title={"text": title, "x": 0, "xanchor": "left"},
        height=height,
        margin={**MARGIN, "t": 40},
        legend={
            "orientation": "h",
            "y": -0.22,
            "yanchor": "top",
            "x": 0,
            "entrywidth": 1,
            "entrywidthmode": "fraction",
        },
    )
    figure.update_xaxes(title=x_title, ticksuffix=" %", zeroline=False, range=[0, 100])
    if logarithms:
        figure.update_yaxes(title=y_title, zeroline=False)
    else:
        figure.update_yaxes(title=y_title, ticksuffix=" %", zeroline=False, rangemode="tozero")
    return figure


def agreement_table(values: np.ndarray, names: Sequence[str], height: int = 460) -> go.Figure:
    """Draw rank correlations (M, M) as a coloured table with its numbers."""
    values = np.asarray(values, dtype=np.float32)
    text = [["" if np.isnan(v) else f"{v:z.2f}" for v in line] for line in values]
    figure = go.Figure(
        go.Heatmap(
            z=np.where(np.isnan(values), np.array(None), values),
            x=list(names),
            y=list(names),
            zmin=-1,
            zmax=1,
            colorscale=[[0, "#b2533e"], [0.5, "#c3c7cd"], [1, "#3b6fb4"]],
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
