"""Every head as a dot, by layer (Dosovitskiy et al. 2021, fig. 7, right)."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from viz.charts.curves import COLORS
from viz.charts.heatmap import MARGIN

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "cross")
SPREAD = 0.32
"""How far the heads of a layer stand apart from its middle."""


def head_scatter(
    values: np.ndarray,
    kinds: Sequence[Sequence[str | None]],
    names: Mapping[str, str],
    y_title: str,
    unit: str,
    uniform: float | None = None,
    chosen: tuple[int, int] | None = None,
    height: int = 470,
    numbers: Sequence[int] | None = None,
    spread: np.ndarray | None = None,
) -> go.Figure:
    """Draw a dot for each head: its layer across, its value up, its kind as colour and shape.

    Args:
        values: (layers, heads), NaN where there is no head.
        kinds: the kind of each head, or None.
        names: what each kind is called; also the order of the legend.
        unit: written behind a value on hover, such as " px".
        uniform: the value of a head that attends to everything alike, as a dotted line that the
            legend names.
        chosen: layer and head to circle, from zero: places in `values`.
        numbers: what each layer is called, where only some of a model's are here; 1, 2, 3...
            if None.
        spread: (layers, heads), how far to draw a bar up and down from each dot; None: no bars.

    Returns:
        a figure whose dots carry their place in `values`, counted from one, as customdata
        (layer, head).
    """
    layers, heads = values.shape
    places = range(1, layers + 1)
    called = [str(number) for number in (places if numbers is None else numbers)]
    offsets = [_side_by_side(int(np.isfinite(row).sum())) for row in values]
    figure = go.Figure()
    for index, (kind, name) in enumerate(names.items()):
        dots = [
            (layer, head)
            for layer in range(layers)
            for head in range(heads)
            if kinds[layer][head] == kind and np.isfinite(values[layer, head])
        ]
        figure.add_scatter(
            x=[layer + 1 + offsets[layer][head] for layer, head in dots],
            y=[float(values[layer, head]) for layer, head in dots],
            customdata=[[layer + 1, head + 1] for layer, head in dots],
            text=[called[layer] for layer, _ in dots],
            error_y=None
            if spread is None
            else {
                "array": [float(spread[layer, head]) for layer, head in dots],
                "thickness": 1,
                "width": 0,
            },
            name=name,
            mode="markers",
            marker={
                "size": 11,
                "color": COLORS[index % len(COLORS)],
                "symbol": SYMBOLS[index % len(SYMBOLS)],
                "opacity": 0.9,
            },
            hovertemplate=(
                "Layer %{text}, head %{customdata[1]}: %{y:.3~g}"
                f"{unit}<br>{name}<extra></extra>"
            ),
        )
    if uniform is not None:
        figure.add_hline(
            y=uniform,
            line={"width": 1, "color": "#8a8f98", "dash": "dot"},
            name=f"All tokens alike: {uniform:.3g}{unit}",
            showlegend=True,
        )
    if chosen is not None and np.isfinite(values[chosen]):
        circle_dot(figure, chosen[0] + 1 + offsets[chosen[0]][chosen[1]], values[chosen])
    lay_out_dots(figure, height)
    figure.update_xaxes(
        title="Layer",
        tickvals=list(places),
        ticktext=called,
        range=[0.5, layers + 0.5],
        showgrid=False,
        zeroline=False,
    )
    figure.update_yaxes(title=y_title, zeroline=False, rangemode="tozero")
    return figure


def circle_dot(figure: go.Figure, x: float, y: float) -> None:
    """Draw a circle around the dot at this place."""
    figure.add_scatter(
        x=[float(x)],
        y=[float(y)],
        mode="markers",
        marker={"size": 20, "symbol": "circle-open", "color": "#8a8f98", "line": {"width": 2}},
        hoverinfo="skip",
        showlegend=False,
    )


def lay_out_dots(figure: go.Figure, height: int) -> None:
    """Put the legend above the dots, and let a click choose one."""
    figure.update_layout(
        height=height,
        margin={**MARGIN, "t": 40},
        showlegend=True,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        clickmode="event+select",
        dragmode=False,
    )


def _side_by_side(heads: int) -> np.ndarray:
    return SPREAD * np.linspace(-1, 1, heads) if heads > 1 else np.zeros(heads)
