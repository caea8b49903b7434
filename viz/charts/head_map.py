"""Heads as dots on a plane: heads that attend alike lie close together."""

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from viz.charts.curves import COLORS
from viz.charts.scatter import SYMBOLS, circle_dot, lay_out_dots


def head_map(
    places: np.ndarray,
    heads: Sequence[tuple[int, int]],
    kinds: Sequence[str | None],
    names: Mapping[str, str],
    numbers: Sequence[int],
    chosen: int | None = None,
    height: int = 470,
) -> go.Figure:
    """Draw a dot for each head where it lies, its kind as colour and shape, its layer as text.

    Args:
        places: (heads, 2), as `place_heads` computes them.
        heads: layer and head of each, from zero: its customdata counts from one.
        kinds: the kind of each head, or None.
        names: what each kind is called; also the order of the legend.
        numbers: what each layer is called.
        chosen: the head to circle.
    """
    figure = go.Figure()
    for index, (kind, name) in enumerate(names.items()):
        own = [n for n, each in enumerate(kinds) if each == kind and np.isfinite(places[n]).all()]
        figure.add_scatter(
            x=places[own, 0],
            y=places[own, 1],
            customdata=[[heads[n][0] + 1, heads[n][1] + 1] for n in own],
            text=[str(numbers[heads[n][0]]) for n in own],
            textposition="top center",
            textfont={"size": 10},
            name=name,
            mode="markers+text",
            marker={
                "size": 11,
                "color": COLORS[index % len(COLORS)],
                "symbol": SYMBOLS[index % len(SYMBOLS)],
                "opacity": 0.9,
            },
            hovertemplate=f"Layer %{{text}}, head %{{customdata[1]}}<br>{name}<extra></extra>",
        )
    if chosen is not None:
        circle_dot(figure, places[chosen, 0], places[chosen, 1])
    lay_out_dots(figure, height)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False, scaleanchor="x")
    return figure


def place_heads(similarity: np.ndarray) -> tuple[np.ndarray, float]:
    """Lay heads out on a plane so that distances fit best (classical scaling, Torgerson 1952).

    The distance of two heads is Hellinger's, √(1 - similarity) for a Bhattacharyya coefficient.

    Args:
        similarity: (heads, heads), from 0 to 1; a row of NaN for a head that is not compared.

    Returns:
        float64 (heads, 2), NaN for a head without a place; and the share of the squared distances
        that the plane shows.

    >>> places, share = place_heads(np.array([[1, 1, 0.0], [1, 1, 0], [0, 0, 1]]))
    >>> bool(np.allclose(places[0], places[1])), round(share, 6)
    (True, 1.0)
    """
    known = np.isfinite(similarity).any(1)
    places = np.full((len(similarity), 2), np.nan)
    among = similarity[np.ix_(known, known)]
    if len(among) < 3:
        return places, 0.0
    squares = np.nan_to_num(1 - among, nan=1.0)
    squares = (squares + squares.T) / 2
    np.fill_diagonal(squares, 0)
    centred = squares - squares.mean(0) - squares.mean(1)[:, None] + squares.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    kept = values[-2:][::-1].clip(0)
    vectors = vectors[:, -2:][:, ::-1]
    signs = np.sign(vectors[np.abs(vectors).argmax(0), range(2)])  # the same picture each time
    places[known] = vectors * signs * np.sqrt(kept)
    return places, float(kept.sum() / values.clip(0).sum())
