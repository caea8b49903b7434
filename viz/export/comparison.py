"""Exports of two maps side by side and their difference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from viz.components.draw_style import DrawStyle
from viz.export.account import Account, name_file
from viz.export.drawing import Box, Drawing
from viz.export.export import Export
from viz.export.maps import NamedMap, draw_maps, map_numbers
from viz.export.numbers import Numbers
from viz.export.painting import difference_scale, paint_difference
from viz.export.program import Code, write_program
from viz.pictures.lettering import percent

WHOLE: Box = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Side:
    """A map (rows, columns) over what a model sees of a photo.

    Attributes:
        title: what it is of, `about`: what it shows.
        box: what the model sees, as shares of the photo where both sides are of one photo.
        asking: the patch that asks, as shares of what the model sees.
        code: the Python that makes the map as `values`.
    """

    title: str
    about: str
    values: np.ndarray
    photo: Image.Image
    code: Code
    box: Box = WHOLE
    asking: Box | None = None


def comparison_export(
    a: Side, b: Side, style: DrawStyle, title: str = "Two maps and their difference", name: str = ""
) -> Export:
    """Describe what can be saved of two maps."""
    account = Account(
        title,
        {"A": f"{a.title}, {a.about}", "B": f"{b.title}, {b.about}"}
        | {"Colours": f"{style.colors}, each map up to its own maximum"},
        ["The difference is of shares: each map is divided by its sum first."],
    )  # fmt: skip
    code = [
        *(a.code + Code(["a = values"]), b.code + Code(["b = values"])),
        *([_DIFFERENCE] if _is_plain(a, b) else []),
    ]
    return Export(
        "Both maps",
        name or name_file("compared", a.title, b.title),
        account,
        lambda: _draw(a, b, style, account.lines),
        lambda: _numbers(a, b),
        write_program(account.title, code),
    )


_DIFFERENCE = Code(["difference = a / a.sum() - b / b.sum()"])


def difference_of(a: Side, b: Side) -> np.ndarray | None:
    """Subtract two maps, as shares of what both cover; None where there is nothing in common."""
    low = [max(a.box[i], b.box[i]) for i in (0, 1)]
    high = [min(a.box[i], b.box[i]) for i in (2, 3)]
    if low[0] >= high[0] or low[1] >= high[1]:
        return None
    grid = tuple(
        max(1, *(_patches_within(side, axis, high[1 - axis] - low[1 - axis]) for side in (a, b)))
        for axis in (0, 1)
    )
    part = (low[0], low[1], high[0], high[1])
    shares = [_shares_on(side, grid, part) for side in (a, b)]
    return None if shares[0] is None or shares[1] is None else shares[0] - shares[1]


def _patches_within(side: Side, axis: int, length: float) -> int:
    """Count how many patches of a map fit into a length of the photo."""
    whole = side.box[3 - axis] - side.box[1 - axis]
    return round(side.values.shape[axis] * length / whole)


def _shares_on(side: Side, grid: Sequence[int], part: Box) -> np.ndarray | None:
    """Repeat a map on a finer grid over a part of what it covers, and divide by its sum there."""
    at = []
    for axis in (0, 1):
        start, end = part[1 - axis], part[3 - axis]
        places = start + (np.arange(grid[axis]) + 0.5) / grid[axis] * (end - start)
        first, last = side.box[1 - axis], side.box[3 - axis]
        count = side.values.shape[axis]
        at.append(((places - first) / (last - first) * count).astype(int).clip(0, count - 1))
    values = side.values[at[0][:, None], at[1][None]]
    total = float(values.sum())
    return values / total if total > 0 else None


def _is_plain(a: Side, b: Side) -> bool:
    """Say whether the two maps can be subtracted as they are."""
    same = a.box == b.box and a.values.shape == b.values.shape
    return same and bool(a.values.any() and b.values.any())


def _maps(a: Side, b: Side) -> list[NamedMap]:
    return [
        NamedMap(f"{name}: {side.title}", side.values, side.photo, side.about, asking=side.asking)
        for name, side in (("A", a), ("B", b))
    ]


def _draw(a: Side, b: Side, style: DrawStyle, caption: Sequence[str]) -> Drawing:
    maps, difference = _maps(a, b), difference_of(a, b)
    if difference is None:
        return draw_maps(maps, style, caption, 2)
    painted = paint_difference(difference)
    photo = a.photo.convert("L").convert("RGB")
    note = "orange: A has more, blue: B has more"
    asking = a.asking if a.box == b.box else None
    maps.append(NamedMap("Difference", difference, photo, note, painted, asking))
    most = percent(float(np.abs(difference).max()))
    return draw_maps(maps, style, caption, 3, difference_scale(f"−{most}", most))


def _numbers(a: Side, b: Side) -> Numbers:
    found = map_numbers(lambda: _maps(a, b), "side")()
    arrays = {**found.arrays, "a": a.values, "b": b.values}
    if (difference := difference_of(a, b)) is not None:
        arrays["difference"] = difference
    return Numbers(arrays, found.main, found.axes)
