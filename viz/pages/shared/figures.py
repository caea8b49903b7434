"""Figures, drawn once for everybody who looks at the same data.

Drawing a chart takes 5 to 10 ms, more than most of a page, and a page that runs again mostly shows
the same ones.
"""

import pickle
from collections.abc import Callable
from hashlib import sha256
from typing import Any, ParamSpec

import plotly.graph_objects as go
import streamlit as st

from viz.charts.projector import enlarge_chart
from viz.pages.shared.screen import is_projected
from viz.server.budget import BUDGET, Cache

P = ParamSpec("P")

FIGURE_BYTES = 20_000
"""What a figure takes besides its data."""

_drawn: Cache[tuple[go.Figure, int]] = BUDGET.cache("figures", size=lambda kept: kept[1])


def draw_once(draw: Callable[P, go.Figure], *args: P.args, **kwargs: P.kwargs) -> go.Figure:
    """Draw a figure, or return the one that was drawn of the same data. Nobody may change it.

    Args:
        draw: a function of a module, whose figure depends on its arguments alone.

    >>> from viz.charts.bars import share_bars
    >>> bars = {"Attention": 0.4}, {"Blindly": 0.2}
    >>> draw_once(share_bars, *bars) is draw_once(share_bars, *bars)
    True
    """
    data = pickle.dumps((draw, args, sorted(kwargs.items())))
    key = sha256(data).digest()
    found = _drawn.get(key)
    if found is None:
        found = _drawn[key] = draw(*args, **kwargs), FIGURE_BYTES + 2 * len(data)
    return found[0]


def show_chart(figure: go.Figure, **options: Any) -> Any:
    """Show a chart, larger on a projector; takes and returns what `st.plotly_chart` does."""
    return st.plotly_chart(
        draw_once(enlarge_chart, figure) if is_projected() else figure, **options
    )
