"""Pack a saved picture for a browser that draws it, and reads its numbers where one points."""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from PIL import Image

from viz.components.payload import pack
from viz.export.charts import BAR
from viz.export.drawing import (
    FAINT,
    INK,
    MUTED,
    Cells,
    Color,
    Drawing,
    Mark,
    Pixels,
    Polyline,
    Rectangle,
    Text,
)
from viz.export.export import Export
from viz.export.numbers import Numbers

NAMED: dict[Color, str] = {INK: "ink", MUTED: "muted", FAINT: "faint"}
"""Colours that are another on a dark page."""
REACH = 7.0
"""Units around a point of a line within which it is read."""
MOST = 200_000
"""Numbers that can be read off one picture."""


def pack_picture(export: Export) -> bytes:
    """Pack a picture for the component `picture`.

    The numbers are read off the cells, bars or lines that show them, where the drawing has one for
    each; of any other picture nothing is read.
    """
    drawing, numbers = export.draw(), export.numbers()
    arrays: dict[str, Any] = {}
    photos: dict[int, str] = {}
    marks = [_pack_mark(mark, arrays, photos) for mark in drawing.marks]
    header = {
        "title": f"{export.account.title}.",
        "width": drawing.width,
        "height": drawing.height,
        "marks": marks,
        "photos": len(photos),
        "spots": False,
    }
    if (spots := find_spots(drawing, numbers)) is not None:
        values = np.asarray(numbers.arrays[numbers.main])
        if values.size == len(spots):
            header["texts"], arrays["values"] = _pack_values(values)
        axes = list(numbers.axes.items())[: None if values.size == len(spots) else 1]
        header |= {"spots": True, "axes": [[name, list(places)] for name, places in axes]}
        arrays["spots"] = spots.astype(np.float32)
    return pack(header, **arrays)


def _pack_values(values: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Pack numbers; or texts, each once, and which of them is where."""
    if np.issubdtype(values.dtype, np.number):
        return [], values.astype(np.float32).ravel()
    texts, places = np.unique(values.astype(str), return_inverse=True)
    return texts.tolist(), places.astype(np.float32).ravel()


def find_spots(drawing: Drawing, numbers: Numbers) -> np.ndarray | None:
    """Find where a drawing shows each number of the main array.

    Returns:
        (numbers, 4), left, top, right and bottom of each in the array's order; of a photo cut into
        patches, a box for each place of the first axis; None where they are not found.

    >>> cells = Cells((0, 0, 20, 10), np.zeros((1, 2, 3), np.uint8), np.ones((1, 2)))
    >>> made = Numbers({"v": np.eye(2)[:1]}, "v", {"row": [1], "column": [1, 2]})
    >>> find_spots(Drawing(10, [cells]), made).tolist()
    [[0.0, 0.0, 10.0, 10.0], [10.0, 0.0, 20.0, 10.0]]
    """
    shape = np.asarray(numbers.arrays[numbers.main]).shape
    size = math.prod(shape)
    if not shape or not size:
        return None
    cells = [mark for mark in drawing.marks if isinstance(mark, Cells)]
    for group in (
        [each for each in cells if each.opacities.shape == shape[-2:]],
        [each for each in cells if each.opacities.size == shape[-1]],
    ):
        if group and sum(each.opacities.size for each in group) == size <= MOST:
            return np.concatenate([_boxes(each) for each in group])
    whole = [each for each in cells if each.opacities.size == shape[0]]
    if len(whole) == 1:
        return _boxes(whole[0])
    return _bars(drawing, shape) if len(shape) == 2 else None


def _boxes(cells: Cells) -> np.ndarray:
    """Compute the boxes of cells, row by row."""
    left, top, right, bottom = cells.box
    rows, columns = cells.opacities.shape
    x, y = np.linspace(left, right, columns + 1), np.linspace(top, bottom, rows + 1)
    each = [
        (x[column], y[row], x[column + 1], y[row + 1])
        for row in range(rows)
        for column in range(columns)
    ]
    return np.array(each, float)


def _bars(drawing: Drawing, shape: tuple[int, ...]) -> np.ndarray | None:
    """Find the bars of (series, names), or the points of (lines, places)."""
    lines = [mark for mark in drawing.marks if isinstance(mark, Polyline)]
    bars = [mark.points for mark in lines if mark.width == BAR]
    series, places = shape
    if len(bars) == series * places:
        boxes = np.array([(x, y - BAR / 2, end, y + BAR / 2) for (x, y), (end, _) in bars])
        return boxes.reshape(places, series, 4).swapaxes(0, 1).reshape(-1, 4)
    curves = [mark.points for mark in lines if len(mark.points) == places > 2]
    if len(curves) != series:
        return None
    points = np.array(curves).reshape(-1, 2)
    return np.concatenate([points - REACH, points + REACH], axis=1)


# -- marks ----------------------------------------------------------------------------------------


def _pack_mark(mark: Mark, arrays: dict[str, Any], photos: dict[int, str]) -> dict[str, Any]:
    match mark:
        case Pixels():
            return _pack_photo(mark, arrays, photos)
        case Cells():
            name = f"cells{len(arrays)}"
            alpha = (255 * mark.opacities).round().astype(np.uint8)[..., None]
            arrays[name] = np.concatenate([mark.colors, alpha], axis=-1)
            shape = list(mark.opacities.shape)
            return {"kind": "cells", "box": [*mark.box], "shape": shape, "cells": name}
        case Rectangle():
            color = _hex(mark.color)  # an outline lies on a photo, on any page
            return {"kind": "rectangle", "box": mark.box, "color": color, "line": mark.line}
        case Polyline():
            return {
                "kind": "polyline",
                "points": [tuple(map(float, point)) for point in mark.points],
                "color": NAMED.get(mark.color, _hex(mark.color)),
                "width": mark.width,
                "opacity": mark.opacity,
            }
        case Text():
            return {
                "kind": "text",
                "place": mark.place,
                "words": mark.words,
                "size": mark.size,
                "color": NAMED.get(mark.color, _hex(mark.color)),
                "anchor": mark.anchor,
            }


def _pack_photo(mark: Pixels, arrays: dict[str, Any], photos: dict[int, str]) -> dict[str, Any]:
    key = id(mark.image)
    if key not in photos:
        photos[key] = f"photo{len(photos)}"
        arrays[photos[key]] = _encode(mark.image)
    return {"kind": "pixels", "box": mark.box, "photo": list(photos).index(key)}


def _encode(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    if image.mode == "RGBA":
        image.save(buffer, "PNG")
    else:
        image.convert("RGB").save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def _hex(color: Color) -> str:
    return "#{:02x}{:02x}{:02x}".format(*map(int, color))
