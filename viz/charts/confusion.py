"""Right and wrong answers by class: which classes are taken for which.

Counts are whole numbers (classes, classes): pictures of the row's class that were taken for the
column's. Mistakes have a colour, right answers are grey, so that the eye finds the mistakes.
"""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from viz.charts.heatmap import MARGIN

READABLE = 20
"""With more classes than this a grid has no room for names and numbers."""

# These lie over the page's own colour, light or dark, so its text stays readable on them.
MISTAKE = ("rgba(217, 130, 43, 0.05)", "rgba(217, 130, 43, 0.8)")
RIGHT = ("rgba(138, 143, 152, 0.25)", "rgba(138, 143, 152, 0.25)")
GOOD, BAD, GREY = "#3b6fd4", "#d9822b", "#8a8f98"


def confusion_grid(counts: np.ndarray, classes: Sequence[str], ink: str = "#1f2328") -> go.Figure:
    """Draw a grid of a few classes, each cell with its share of the row's pictures in percent.

    Args:
        ink: the colour of the numbers, which lie over the page's own colour.
    """
    share, texts = _shares(counts), _hover_texts(counts, classes)
    diagonal = np.eye(len(classes), dtype=bool)
    figure = go.Figure()
    for shown, colors in ((~diagonal & (counts > 0), MISTAKE), (diagonal, RIGHT)):
        figure.add_heatmap(
            z=np.where(shown, share, np.nan).astype(np.float32),
            zmin=0,
            zmax=float(share[shown].max(initial=0)) or 1,
            colorscale=[[0, colors[0]], [1, colors[1]]],
            showscale=False,
            xgap=2,
            ygap=2,
            text=texts,
            hovertemplate="%{text}<extra></extra>",
            hoverongaps=False,
        )
    rows, columns = np.indices(counts.shape)
    # Not the heatmap's own text, whose colour is chosen as if the page were white.
    figure.add_scatter(
        x=columns.ravel(),
        y=rows.ravel(),
        text=[f"{value:.0f}" if value > 0.5 else "" for value in 100 * share.ravel()],
        mode="text",
        textfont={"size": 12, "color": ink},
        hoverinfo="skip",
        showlegend=False,
    )
    room = 7 * max(map(len, classes))  # the last name leans out over the right edge
    figure.update_layout(height=120 + 34 * len(classes), margin={**MARGIN, "r": room})
    names = {"tickvals": list(range(len(classes))), "ticktext": list(classes)}
    figure.update_xaxes(title="Taken for", side="top", tickangle=-40, **names)
    figure.update_yaxes(title="Class", **names)
    return _bare(figure)


def full_grid(counts: np.ndarray, classes: Sequence[str], height: int = 720) -> go.Figure:
    """Draw each cell above zero of a grid of many classes, as a dot that the mouse names."""
    texts = _hover_texts(counts, classes)
    figure = go.Figure()
    diagonal = np.eye(len(classes), dtype=bool)
    share = _shares(counts)
    for name, shown, colors in (
        ("taken for another", ~diagonal & (counts > 0), MISTAKE),
        ("right", diagonal & (counts > 0), None),
    ):
        rows, columns = shown.nonzero()
        colored = {"color": GREY, "opacity": 0.5} if colors is None else _by_share(share[shown])
        figure.add_scatter(
            x=columns,
            y=rows,
            text=texts[shown],
            name=name,
            mode="markers",
            marker={"size": 5, "symbol": "square", **colored},
            hovertemplate="%{text}<extra></extra>",
        )
    legend = {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0}
    figure.update_layout(height=height, margin={**MARGIN, "t": 30}, legend=legend)
    figure.update_xaxes(title="Taken for", showticklabels=False, range=[-1, len(classes)])
    figure.update_yaxes(title="Class", showticklabels=False)
    return _bare(figure)


def class_dots(counts: np.ndarray, classes: Sequence[str], height: int = 300) -> go.Figure:
    """Draw every class as a dot, from the best accuracy to the worst."""
    order, accuracy = _best_first(counts)
    figure = go.Figure(
        go.Scatter(
            x=np.arange(1, len(order) + 1),
            y=100 * accuracy[order],
            text=_hover_texts(counts, classes).diagonal()[order],
            mode="markers",
            marker={"size": 7, "color": GOOD, "opacity": 0.85},
            hovertemplate="%{text}<extra></extra>",
        )
    )
    figure.update_layout(height=height, margin=MARGIN)
    figure.update_xaxes(title="Classes, best first", showgrid=False, zeroline=False)
    figure.update_yaxes(title="Accuracy", ticksuffix=" %", range=[-4, 104])
    return figure


def class_bars(counts: np.ndarray, classes: Sequence[str], most: int = 8) -> go.Figure:
    """Draw the `most` best and as many worst classes as named bars, the best on top."""
    order, accuracy = _best_first(counts)
    best, worst = order[: min(most, len(order) // 2)], order[len(order) // 2 :][-most:]
    chosen = np.concatenate((best, worst))
    places = np.arange(len(chosen)) + (np.arange(len(chosen)) >= len(best))  # a gap between them
    figure = go.Figure(
        go.Bar(
            x=accuracy[chosen],
            y=places,
            orientation="h",
            marker={"color": [GOOD] * len(best) + [BAD] * len(worst)},
            text=[f"{100 * accuracy[i]:.0f} %" for i in chosen],
            textposition="outside",
            cliponaxis=False,
            hovertext=_hover_texts(counts, classes).diagonal()[chosen],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    )
    figure.update_layout(height=40 + 22 * (len(chosen) + 1), margin=MARGIN, bargap=0.35)
    figure.update_xaxes(range=[0, 1.15], showticklabels=False)
    figure.update_yaxes(tickvals=places, ticktext=[classes[i] for i in chosen])
    return _bare(figure)


def _bare(figure: go.Figure) -> go.Figure:
    """Remove the grid lines, and put the first row on top."""
    figure.update_xaxes(showgrid=False, zeroline=False)
    figure.update_yaxes(showgrid=False, zeroline=False, autorange="reversed")
    return figure


def _by_share(share: np.ndarray) -> dict[str, object]:
    """Colour markers by their share of the class; the weakest is still visible."""
    colors = [[0, "rgba(217, 130, 43, 0.3)"], [1, "rgb(196, 80, 20)"]]
    return {"color": share, "colorscale": colors, "cmin": 0, "cmax": share.max(initial=0) or 1}


def _best_first(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order the classes that have pictures, and compute every class's accuracy."""
    accuracy = _shares(counts).diagonal()
    order = np.argsort(-accuracy, kind="stable")
    return order[counts.sum(1)[order] > 0], accuracy


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / np.maximum(counts.sum(1, keepdims=True), 1)


def _hover_texts(counts: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Write what the mouse shows over each cell; nothing over zeros beside the diagonal."""
    texts = np.full(counts.shape, "", dtype=object)
    pictures = counts.sum(1)
    for row, column in zip(*(counts + np.eye(len(counts), dtype=int)).nonzero(), strict=True):
        what = "right" if row == column else f"taken for {classes[column]}"
        times = f"{counts[row, column]:,} of {pictures[row]:,}"
        part = counts[row, column] / max(pictures[row], 1)
        texts[row, column] = f"{classes[row]}, {what}: {times} ({100 * part:.1f} %)"
    return texts
