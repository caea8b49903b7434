"""Figures and tables, drawn once for everybody who looks at the same data.

Drawing a chart takes 5 to 10 ms, more than most of a page, writing it out takes as long, and a page
that runs again mostly shows the same ones.
"""

import pickle
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any, Literal, ParamSpec

import pandas as pd
import plotly.graph_objects as go
import pyarrow as pa
import streamlit as st

from viz.charts.projector import enlarge_chart
from viz.pages.shared.screen import is_projected
from viz.server.budget import BUDGET, Cache

P = ParamSpec("P")

FIGURE_BYTES = 20_000
"""What a figure takes besides its data."""

_drawn: Cache[tuple[go.Figure, int]] = BUDGET.cache("figures", size=lambda kept: kept[1])
_tables: Cache[pa.Table] = BUDGET.cache("tables", size=lambda table: 1_000 + table.nbytes)


class DrawnFigure(go.Figure):
    """A figure that nobody changes any more, so it is written out for the browser once."""

    def __init__(self, figure: go.Figure | Mapping[str, Any]) -> None:
        super().__init__(figure)
        self._written = super().to_dict()

    def to_dict(self) -> dict[str, Any]:
        """Return the figure as plain values. What lies within is everybody's."""
        return dict(self._written)


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
        figure = DrawnFigure(draw(*args, **kwargs))
        found = _drawn[key] = figure, FIGURE_BYTES + 4 * len(data)
    return found[0]


def show_chart(figure: go.Figure, **options: Any) -> Any:
    """Show a chart, larger on a projector; takes and returns what `st.plotly_chart` does."""
    return st.plotly_chart(
        draw_once(enlarge_chart, figure) if is_projected() else figure, **options
    )


def show_table(
    columns: Mapping[str, Sequence[str]], border: bool | Literal["horizontal"] = "horizontal"
) -> None:
    """Show a table of words.

    Args:
        columns: the cells of each column, by its title.
        border: its lines, as `st.table` takes them.
    """
    key = "columns", *((title, *cells) for title, cells in columns.items())
    table = _tables.get(key)
    if table is None:
        table = _tables[key] = pa.Table.from_pandas(pd.DataFrame(columns))
    st.table(table, border=border, hide_index=True, hide_header=False)


def show_facts_table(
    facts: Mapping[str, str], border: bool | Literal["horizontal"] = "horizontal"
) -> None:
    """Show a table without a header: a line for each fact, its name first."""
    key = "facts", *facts.items()
    table = _tables.get(key)
    if table is None:
        frame = pd.DataFrame({"value": list(facts.values())}, index=list(facts))
        table = _tables[key] = pa.Table.from_pandas(frame)
    st.table(table, border=border, hide_index=False, hide_header=True)
