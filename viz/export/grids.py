"""Exports of values on the grid of patches, without a photo below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from viz.components.draw_style import DrawStyle
from viz.export.account import Account, name_file
from viz.export.drawing import Drawing
from viz.export.export import Export
from viz.export.features import paint_span
from viz.export.numbers import Numbers, count_from_one
from viz.export.painting import scale_of
from viz.export.panels import Grid, Panel, draw_grid
from viz.export.program import Code, write_program

STYLE = DrawStyle(opacity=1.0, gamma=0.0)
"""Opaque, since nothing lies below."""


def grid_export(
    title: str,
    account: Account,
    maps: Mapping[str, np.ndarray],
    unit: str,
    code: Sequence[Code],
    marked: tuple[int, int],
    name: str = "",
) -> Export:
    """Describe what can be saved of values on a grid, in the same colours up to 1.

    Args:
        maps: values (rows, columns) from -1 to 1, by what they show.
        unit: what the values are.
        code: the Python that makes the `maps`, (maps, rows, columns).
        marked: row and column of the patch that is compared with all others.

    >>> account = Account("Alike")
    >>> made = grid_export("T", account, {"waves": np.eye(2)}, "cosine", [Code([])], (0, 0))
    >>> made.write("csv").decode().splitlines()[:2]
    ['code,row,column,maps', 'waves,1,1,1.0']
    """
    values = np.stack(list(maps.values()))
    _, rows, columns = values.shape
    row, column = marked
    box = column / columns, row / rows, (column + 1) / columns, (row + 1) / rows
    low = min(0.0, float(values.min()))

    def draw() -> Drawing:
        panels = [
            Panel(None, paint_span(each, low, 1.0, STYLE), shown, asking=box)
            for shown, each in maps.items()
        ]
        scale = scale_of(STYLE, f"1 {unit}", f"{low:.2g}".replace("-", "−"))
        return draw_grid(Grid([panels], caption=account.lines, scale=scale))

    def count() -> Numbers:
        axes: dict[str, Sequence[object]] = {"code": list(maps)}
        axes |= {"row": count_from_one(rows), "column": count_from_one(columns)}
        return Numbers({"maps": values}, "maps", axes)

    program = write_program(account.title, code)
    return Export(title, name_file(title, name), account, draw, count, program)
