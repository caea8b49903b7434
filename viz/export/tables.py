"""Exports of numbers that stand in rows and columns: a table of colours, or bars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from viz.export.account import Account, name_file
from viz.export.charts import draw_bars, draw_table
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
) -> Export:
    """Describe what can be saved of values (rows, columns), drawn as a table of colours.

    Args:
        axes: what rows and columns are called, and each of them.
        code: the Python that makes the `values`.
        more: arrays to save besides.
        name: of the model, in a file's name.

    >>> made = table_export("T", Account("A"), np.eye(2), {"layer": [1, 2], "head": [1, 2]})
    >>> made.kinds
    ['png', 'svg', 'npz', 'csv', 'md', 'tex']
    """
    rows, columns = ([f"{kind} {each}" for each in names] for kind, names in axes.items())
    arrays = {"values": values, **(more or {})}
    return Export(
        title,
        name_file(title, name),
        account,
        lambda: draw_table(values, rows, columns, account.lines, unit, square=False),
        lambda: Numbers(arrays, "values", axes),
        write_program(account.title, code) if code else "",
    )


def bars_export(
    title: str,
    account: Account,
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    code: Sequence[Code],
    as_text: str,
    name: str = "",
) -> Export:
    """Describe what can be saved of numbers that are drawn as bars.

    Args:
        names: what the bars are of; `series` has their lengths by what they show.
        code: the Python that makes the `values`, (series, names).
        as_text: how a length is written.
    """
    values = np.array(list(series.values()))

    def count() -> Numbers:
        return Numbers({"values": values}, "values", {"kind": list(series), "of": names})

    return Export(
        title,
        name_file(title, name),
        account,
        lambda: draw_bars(names, series, account.lines, as_text),
        count,
        write_program(account.title, code),
    )
