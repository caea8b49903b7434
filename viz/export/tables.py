"""Exports of numbers that stand in rows and columns: a table of colours, bars, or lines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from viz.export.account import Account, name_file
from viz.export.charts import draw_bars, draw_lines, draw_table
from viz.export.drawing import Drawing
from viz.export.export import Export
from viz.export.numbers import Numbers
from viz.export.program import Code, write_program


def table_export(
    title: str,
    account: Account,
    values: np.ndarray,
    axes: Mapping[str, Sequence[object]],
    code: Sequence[Code] = (),
    unit: str = "",
    more: Mapping[str, np.ndarray] | None = None,
    name: str = "",
    colors: str | np.ndarray = "viridis",
    span: tuple[float, float] | None = None,
) -> Export:
    """Describe what can be saved of values (rows, columns), drawn as a table of colours.

    Args:
        axes: what rows and columns are called, and each of them.
        code: the Python that makes the `values`.
        more: arrays to save besides.
        name: of the model, in a file's name.
        colors, span: as for `draw_table`.

    >>> made = table_export("T", Account("A"), np.eye(2), {"layer": [1, 2], "head": [1, 2]})
    >>> made.kinds
    ['png', 'svg', 'npz', 'csv', 'md', 'tex']
    """
    rows, columns = ([f"{kind} {each}" for each in names] for kind, names in axes.items())
    arrays = {"values": values, **(more or {})}

    def draw() -> Drawing:
        return draw_table(values, rows, columns, account.lines, unit, colors, False, span)

    return Export(
        title,
        name_file(title, name),
        account,
        draw,
        lambda: Numbers(arrays, "values", axes),
        write_program(account.title, code) if code else "",
    )


def bars_export(
    title: str,
    account: Account,
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    code: Sequence[Code],
    write: Callable[[float], str],
    name: str = "",
) -> Export:
    """Describe what can be saved of numbers that are drawn as bars.

    Args:
        names: what the bars are of; `series` has their lengths by what they show.
        code: the Python that makes the `values`, (series, names).
        write: how a length is written.
    """
    values = np.array(list(series.values()))

    def count() -> Numbers:
        return Numbers({"values": values}, "values", {"kind": list(series), "of": names})

    return Export(
        title,
        name_file(title, name),
        account,
        lambda: draw_bars(names, series, account.lines, write),
        count,
        write_program(account.title, code),
    )


def lines_export(
    title: str,
    account: Account,
    lines: Mapping[str, np.ndarray],
    across: str,
    down: str,
    code: Sequence[Code],
    name: str = "",
    first: int = 0,
) -> Export:
    """Describe what can be saved of lines over 0, 1, 2 and so on, or from another first number.

    Args:
        lines: the heights of each line, by what it shows.
        across: what is counted from left to right; `down`: what the heights are.
        code: the Python that makes the `values`, (lines, places).
    """
    values = np.stack(list(lines.values()))
    places = range(first, first + values.shape[1])
    series = {title: (np.array(places), heights) for title, heights in lines.items()}

    def count() -> Numbers:
        axes = {"line": list(lines), across.lower().replace(" ", "_"): places}
        return Numbers({"values": values}, "values", axes)

    return Export(
        title,
        name_file(title, name),
        account,
        lambda: draw_lines(series, across, down, account.lines),
        count,
        write_program(account.title, code),
    )
