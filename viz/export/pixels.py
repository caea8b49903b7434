"""Paint a drawing with pixels."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

from viz.export.drawing import Box, Cells, Drawing, Mark, Pixels, Polyline, Rectangle, Text
from viz.pictures.lettering import font

FINE = 1600
"""Pixels of width up to which a drawing is painted twice as large first, for even edges."""

FRAME = 640
"""Pixels of width of an animation's pictures."""

Place = tuple[int, int, int, int]
"""A box in whole pixels."""


def paint(drawing: Drawing, width: int) -> Image.Image:
    """Paint a drawing that many pixels wide.

    >>> paint(Drawing(500, [Text((10, 20), "a", 12)]), 800).size
    (800, 400)
    """
    times = 2 if width <= FINE else 1
    scale = times * width / drawing.width
    height = round(width * drawing.height / drawing.width)
    canvas = Image.new("RGB", (times * width, times * height), "white")
    for mark in drawing.marks:
        _paint(canvas, mark, scale)
    return canvas.reduce(times) if times > 1 else canvas


def write_png(drawing: Drawing, width: int) -> bytes:
    """Paint a drawing, and write it as PNG."""
    buffer = io.BytesIO()
    paint(drawing, width).save(buffer, "PNG")
    return buffer.getvalue()


def _paint(canvas: Image.Image, mark: Mark, scale: float) -> None:
    match mark:
        case Pixels():
            _paint_photo(canvas, mark, _place(mark.box, scale))
        case Cells():
            _paint_cells(canvas, mark, _place(mark.box, scale))
        case Rectangle():
            _paint_rectangle(canvas, mark, scale)
        case Polyline():
            points = [(scale * x, scale * y) for x, y in mark.points]
            color = (*mark.color, round(255 * mark.opacity))
            wide = max(1, round(scale * mark.width))
            ImageDraw.Draw(canvas, "RGBA").line(points, color, wide, joint="curve")
        case Text():
            letters = font(max(1.0, round(scale * mark.size, 1)))  # as wide as in the SVG
            place = (scale * mark.place[0], scale * mark.place[1])
            anchor = {"start": "ls", "middle": "ms", "end": "rs"}[mark.anchor]
            words = " ".join(mark.words.split())
            ImageDraw.Draw(canvas).text(place, words, mark.color, letters, anchor=anchor)


def _place(box: Box, scale: float) -> Place:
    left, top, right, bottom = (round(scale * side) for side in box)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _paint_photo(canvas: Image.Image, mark: Pixels, place: Place) -> None:
    left, top, right, bottom = place
    large = mark.image.resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    canvas.paste(large, (left, top), large if large.mode == "RGBA" else None)


def _paint_cells(canvas: Image.Image, mark: Cells, place: Place) -> None:
    left, top, right, bottom = place
    rows, columns = mark.opacities.shape
    down = np.minimum((np.arange(bottom - top) + 0.5) * rows / (bottom - top), rows - 1)
    across = np.minimum((np.arange(right - left) + 0.5) * columns / (right - left), columns - 1)
    at = down.astype(int)[:, None], across.astype(int)[None]
    alpha = mark.opacities[at][..., None]
    below = np.asarray(canvas.crop(place), np.float32)
    mixed = below * (1 - alpha) + mark.colors[at] * alpha
    canvas.paste(Image.fromarray(mixed.round().astype(np.uint8)), (left, top))


def _paint_rectangle(canvas: Image.Image, mark: Rectangle, scale: float) -> None:
    half = mark.line / 2
    outer = (mark.box[0] - half, mark.box[1] - half, mark.box[2] + half, mark.box[3] + half)
    left, top, right, bottom = _place(outer, scale)
    box, line = (left, top, right - 1, bottom - 1), max(1, round(scale * mark.line))
    draw = ImageDraw.Draw(canvas)
    if mark.line:
        draw.rectangle(box, outline=mark.color, width=line)
    else:
        draw.rectangle(box, fill=mark.color)
