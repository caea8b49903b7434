"""Heatmaps whose every cell says on hover what it is."""

import numpy as np
import plotly.graph_objects as go

BARE = {"displayModeBar": False}  # how Streamlit shows a chart: without Plotly's buttons
MARGIN = {"l": 8, "r": 8, "t": 8, "b": 8}


def heatmap(
    values: np.ndarray,
    x_title: str,
    y_title: str,
    hover: str,
    details: np.ndarray | None = None,
    span: tuple[float, float] | None = None,
    color_map: str = "Viridis",
    square: bool = False,
    first: int = 0,
    height: int = 380,
    scale_title: str = "",
    marked: tuple[float, float] | None = None,
    line_at: float | None = None,
) -> go.Figure:
    """Draw a map of (rows, columns) values, the first row on top.

    Args:
        hover: what a cell says, in plotly's terms: %{x}, %{y}, %{z}, %{customdata[0]}.
        details: more numbers a cell for ``hover``, (rows, columns, n).
        span: the values at the two ends of the colour scale; the extremes if None.
        square: cells are as wide as they are high.
        first: what rows and columns are counted from.
        marked: row and column of a cell to outline.
        line_at: a column to draw a line at.
    """
    rows, columns = values.shape
    low, high = span or (None, None)
    trace = go.Heatmap(
        z=values.astype(np.float32),
        x0=first,
        y0=first,
        dx=1,
        dy=1,
        zmin=low,
        zmax=high,
        colorscale=color_map,
        customdata=None if details is None else details.astype(np.float32),
        hovertemplate=hover + "<extra></extra>",
        colorbar={
            "thickness": 10,
            "outlinewidth": 0,
            "title": {"text": scale_title, "side": "right"},
        },
    )
    figure = go.Figure(trace)
    figure.update_layout(height=height, margin=MARGIN)
    figure.update_xaxes(title=x_title, showgrid=False, zeroline=False, constrain="domain")
    figure.update_yaxes(
        title=y_title, showgrid=False, zeroline=False, autorange="reversed", constrain="domain"
    )
    if square:
        figure.update_yaxes(scaleanchor="x")
    if max(rows, columns) <= 16:
        figure.update_xaxes(dtick=1 if columns <= 8 else 2)
        figure.update_yaxes(dtick=1 if rows <= 8 else 2)
    if marked is not None:
        _outline(figure, *marked)
    if line_at is not None:
        figure.add_vline(x=line_at, line={"width": 2, "color": "#e97b2b"})
    return figure


def _outline(figure: go.Figure, row: float, column: float) -> None:
    for color, width in (("black", 3), ("white", 1.5)):
        figure.add_shape(
            type="rect",
            x0=column - 0.5,
            x1=column + 0.5,
            y0=row - 0.5,
            y1=row + 0.5,
            line={"color": color, "width": width},
        )
