"""Exports of maps side by side over one photo or several: words, methods, A and B."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from viz.components.draw_style import DrawStyle
from viz.export.drawing import Box, Drawing
from viz.export.numbers import Numbers, count_from_one
from viz.export.painting import PaintedMap, Scale, paint_map
from viz.export.panels import Grid, Panel, draw_grid, wrap

COLUMNS = 4


@dataclass(frozen=True)
class NamedMap:
    """A map (rows, columns) over a photo, and what is written below it.

    Attributes:
        painted: its colours where they are others than those of its own shares.
        asking: the patch to outline, as shares of the photo.
    """

    title: str
    values: np.ndarray
    photo: Image.Image
    note: str = ""
    painted: PaintedMap | None = None
    asking: Box | None = None
    outlined: Sequence[Box] = ()


Maps = Sequence[NamedMap]


def draw_maps(
    maps: Maps,
    style: DrawStyle,
    caption: Sequence[str] = (),
    columns: int = COLUMNS,
    scale: Scale | None = None,
    photo: Image.Image | None = None,
) -> Drawing:
    """Draw maps side by side, each up to its own maximum.

    Args:
        photo: stands before them without any map.
    """
    panels = [] if photo is None else [Panel(photo)]
    panels += [
        Panel(
            each.photo,
            each.painted or paint_map(each.values, style),
            each.title,
            each.note,
            each.asking,
            each.outlined,
            style.lines and len(maps) == 1,
        )
        for each in maps
    ]
    return draw_grid(Grid(wrap(panels, columns), caption=caption, scale=scale))


def map_numbers(gather: Callable[[], Maps], kind: str) -> Callable[[], Numbers]:
    """Return what gathers the numbers of maps: one array where all grids are the same.

    Args:
        kind: what tells the maps apart, such as "word" or "method".
    """

    def count() -> Numbers:
        maps = list(gather())
        names = np.array([each.title for each in maps], str)
        shapes = {each.values.shape for each in maps}
        if len(shapes) > 1:
            return _of_other_grids(maps, kind)
        rows, columns = shapes.pop()
        arrays = {"maps": np.stack([each.values for each in maps]), f"{kind}s": names}
        axes: dict[str, Sequence[object]] = {kind: _distinct(names.tolist())}
        axes |= {"row": count_from_one(rows), "column": count_from_one(columns)}
        return Numbers(arrays, "maps", axes)

    return count


def _of_other_grids(maps: Maps, kind: str) -> Numbers:
    """Gather maps of several grids: an array each, and in the table all patches one by one."""
    arrays = {f"map{at}": each.values for at, each in enumerate(maps, start=1)}
    places = [
        f"{name} r{row + 1}c{column + 1}"
        for name, each in zip(_distinct([m.title for m in maps]), maps, strict=True)
        for row, column in np.ndindex(each.values.shape)
    ]
    arrays["all_patches"] = np.concatenate([each.values.ravel() for each in maps])
    arrays[f"{kind}s"] = np.array([each.title for each in maps], str)
    return Numbers(arrays, "all_patches", {kind: places})


def _distinct(names: Sequence[str]) -> list[str]:
    """Number names of which some are the same.

    >>> _distinct(["a", "dog", "a"])
    ['1 a', '2 dog', '3 a']
    """
    if len(set(names)) == len(names):
        return list(names)
    return [f"{number} {name}" for number, name in enumerate(names, start=1)]
