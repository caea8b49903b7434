"""Pack the maps of several methods over one photo, drawn side by side.

The mouse over one of them marks the same patch in all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from viz.components.draw_style import DrawStyle
from viz.components.payload import pack, with_photo
from viz.pictures.overlay import scaled_to_maximum


@dataclass(frozen=True)
class Cell:
    """One method: its maps (rows, columns), one a variant, or why there is none.

    ``notes`` stand under the maps while the mouse is elsewhere, one a variant.
    """

    id: str
    title: str
    short: str
    group: str
    maps: Sequence[np.ndarray] = ()
    missing: str = ""
    notes: Sequence[str] = ()


def row_payload(
    cells: Sequence[Cell],
    photo: bytes | Mapping[str, str],
    grid: tuple[int, int],
    chosen: str,
    style: DrawStyle,
    variants: Sequence[str] = ("",),
    hint: str = "",
    choosable: bool = True,
    box: Sequence[float] | None = None,
) -> bytes:
    """Pack the row; each map is scaled to its own maximum.

    Args:
        photo: JPEG, or the header entries with which the browser asks for it.
        chosen: the id of the chosen cell.
        variants: titles of the maps of one cell, one above the other.
        hint: the line under the row while the mouse is elsewhere.
        choosable: whether a click on a cell chooses it.
        box: left, top, right, bottom of a box to draw in every map, as shares of the photo.
    """
    maps = [scaled_to_maximum(m) for cell in cells for m in cell.maps]
    shown = ("id", "title", "short", "group", "missing", "notes")
    header: dict[str, Any] = {
        "cells": [{name: getattr(cell, name) for name in shown} for cell in cells],
        "variants": list(variants),
        "grid": grid,
        "chosen": chosen,
        "style": style.as_header(),
        "hint": hint,
        "choosable": choosable,
        "box": box,
    }
    values = np.stack(maps) if maps else np.zeros((0, *grid), np.float32)
    header, arrays = with_photo(header, photo)
    return pack(header, **arrays, values=values.astype(np.float32))
