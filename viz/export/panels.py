"""Draw maps over photos as small multiples on one grid, with a caption and a colour scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from viz.export.drawing import (
    FAINT,
    INK,
    MUTED,
    WHITE,
    WIDTH,
    Box,
    Cells,
    Drawing,
    Mark,
    Pixels,
    Polyline,
    Rectangle,
    Text,
    outline_patch,
    part_of,
)
from viz.export.painting import PaintedMap, Scale
from viz.pictures.colors import subdue
from viz.pictures.lettering import break_lines, font

MARGIN = 20.0
LARGEST_PANEL = 640.0
NARROWEST = 600.0
SMALLEST_TEXT, LARGEST_TEXT = 7.0, 17.0
CAPTION = 15.0


@dataclass(frozen=True)
class Panel:
    """One small picture.

    Attributes:
        photo: what lies below; None for colours alone.
        painted: what is painted over it; None for the photo alone, in its own colours.
        title: below the picture, like `note`.
        asking: the patch to outline, in shares of the photo.
        outlined: boxes to outline besides.
        lines: whether faint lines part the patches.
    """

    photo: Image.Image | None
    painted: PaintedMap | None = None
    title: str = ""
    note: str = ""
    asking: Box | None = None
    outlined: Sequence[Box] = ()
    lines: bool = False


@dataclass(frozen=True)
class Grid:
    """Panels row by row, and how they are named.

    Attributes:
        panels: each row as long as the longest; None leaves a place empty.
        row_names: before the rows, or nothing.
        column_names: above the columns, or nothing.
        caption: lines below; the first is the title.
        scale: the colours of all panels.
    """

    panels: Sequence[Sequence[Panel | None]]
    row_names: Sequence[str] = ()
    column_names: Sequence[str] = ()
    caption: Sequence[str] = ()
    scale: Scale | None = None
    largest: float = field(default=LARGEST_PANEL)


def wrap(panels: Sequence[Panel], columns: int) -> list[list[Panel | None]]:
    """Lay panels in rows.

    >>> [len(row) for row in wrap([Panel(None)] * 5, 3)]
    [3, 3]
    """
    columns = min(columns, len(panels)) or 1
    filled: list[Panel | None] = [*panels, *([None] * (-len(panels) % columns))]
    return [filled[start : start + columns] for start in range(0, len(filled), columns)]


def draw_grid(grid: Grid) -> Drawing:
    """Draw panels on one grid."""
    columns, muted = max(len(row) for row in grid.panels), _mute(grid)
    left = MARGIN + _name_width(grid, columns)
    gap = 6.0 if columns > 6 else 12.0
    across = min(grid.largest, (WIDTH - left - MARGIN - gap * (columns - 1)) / columns)
    size = _text_size(across)
    top = MARGIN + (2 * size if grid.column_names else 0)
    marks: list[Mark] = _column_names(grid, left, across, gap, size)
    for number, row in enumerate(grid.panels):
        shown = [panel for panel in row if panel is not None]
        high = max((across * _aspect(panel) for panel in shown), default=across)
        if grid.row_names:
            place = (left - size, top + high / 2 + size / 3)
            marks.append(Text(place, grid.row_names[number], size, MUTED, "end"))
        for column, panel in enumerate(row):
            if panel is not None:
                x = left + column * (across + gap)
                box = (x, top, x + across, top + across * _aspect(panel))
                marks += _draw_panel(panel, muted, box, size)
        top += high + _below(shown, size) + gap
    width = max(left + columns * (across + gap) - gap + MARGIN, NARROWEST)
    more, bottom = write_below(width, top - gap, grid.caption, grid.scale)
    return Drawing(bottom + MARGIN, [*marks, *more], width)


def write_below(
    width: float,
    top: float,
    caption: Sequence[str],
    scale: Scale | None = None,
) -> tuple[list[Mark], float]:
    """Draw the colour scale and the caption below a picture; return them and where they end."""
    marks: list[Mark] = []
    if scale is not None:
        top += 10
        marks += _draw_scale(scale, top)
        top += CAPTION + 6
    top += 6
    for number, line in enumerate(caption):
        for part in break_lines(line, round(CAPTION), round(width - 2 * MARGIN)):
            top += 1.4 * CAPTION
            place = (MARGIN, top - 0.3 * CAPTION)
            marks.append(Text(place, part.strip(), CAPTION, MUTED if number else INK))
    return marks, top


def _name_width(grid: Grid, columns: int) -> float:
    """Return the room that the names of rows take."""
    if not grid.row_names:
        return 0
    size = _text_size((WIDTH - 2 * MARGIN - 60) / columns)
    widest = max(font(100).getlength(name) / 100 for name in grid.row_names)
    return widest * size + 2 * size


def _text_size(across: float) -> float:
    return min(LARGEST_TEXT, max(SMALLEST_TEXT, across / 8))


def _aspect(panel: Panel) -> float:
    if panel.photo is not None:
        return panel.photo.height / panel.photo.width
    if panel.painted is not None:
        rows, columns = panel.painted.opacities.shape
        return rows / columns
    return 1.0


def _below(panels: Sequence[Panel], size: float) -> float:
    """Return the room for what is written below a row."""
    lines = max((bool(panel.title) + bool(panel.note) for panel in panels), default=0)
    return 1.5 * size * lines


def _column_names(grid: Grid, left: float, across: float, gap: float, size: float) -> list[Mark]:
    return [
        Text(
            (left + number * (across + gap) + across / 2, MARGIN + size),
            name,
            size,
            MUTED,
            "middle",
        )
        for number, name in enumerate(grid.column_names)
    ]


def _draw_panel(
    panel: Panel, below: Mapping[int, Image.Image], box: Box, size: float
) -> list[Mark]:
    marks: list[Mark] = []
    if panel.photo is not None:
        plain = panel.painted is None or not panel.painted.opacities.any()
        photo = panel.photo if plain else below[id(panel.photo)]
        marks.append(Pixels(box, photo))
    if panel.painted is not None:
        marks.append(_patches(panel.painted, box))
        if panel.lines:
            marks += _lines(panel.painted.opacities.shape, box)
    for part in (*panel.outlined, *([panel.asking] if panel.asking else [])):
        marks += outline_patch(part_of(box, part))
    words = [(panel.title, INK, size), (panel.note, MUTED, 0.85 * size)]
    y = box[3]
    for text, color, high in words:
        if text:
            y += 1.4 * high
            place = ((box[0] + box[2]) / 2, y - 0.1 * high)
            short = shorten(text, high, box[2] - box[0])
            marks.append(Text(place, short, high, color, "middle"))
    return marks


def _mute(grid: Grid) -> dict[int, Image.Image]:
    """Make of each photo the one that is seen below a map, once."""
    found = {id(panel.photo): panel.photo for row in grid.panels for panel in row if panel}
    return {
        key: Image.fromarray(subdue(np.asarray(photo.convert("RGB"))))
        for key, photo in found.items()
        if photo is not None
    }


def _patches(painted: PaintedMap, box: Box) -> Mark:
    """Draw one square a patch, or a picture in which colours change evenly."""
    if not painted.smooth:
        return Cells(box, painted.colors, painted.opacities)
    alpha = (255 * painted.opacities).round().astype(np.uint8)[..., None]
    pixels = Image.fromarray(np.concatenate([painted.colors, alpha], axis=-1))
    rows, columns = painted.opacities.shape
    larger = max(1, 512 // max(rows, columns))
    size = (columns * larger, rows * larger)
    return Pixels(box, pixels.resize(size, Image.Resampling.BICUBIC))


def _lines(shape: tuple[int, ...], box: Box) -> list[Mark]:
    """Draw faint lines between patches; none where they would hide the photo."""
    rows, columns = shape
    left, top, right, bottom = box
    if (right - left) / columns < 8:
        return []
    across = [left + (right - left) * at / columns for at in range(1, columns)]
    down = [top + (bottom - top) * at / rows for at in range(1, rows)]
    return [
        *(Polyline([(x, top), (x, bottom)], WHITE, 1, 0.16) for x in across),
        *(Polyline([(left, y), (right, y)], WHITE, 1, 0.16) for y in down),
    ]


def _draw_scale(scale: Scale, top: float) -> list[Mark]:
    """Draw the colours from low to high."""
    size, wide = CAPTION, 300.0
    left = MARGIN + font(100).getlength(scale.low) / 100 * size + 8
    box = (left, top, left + wide, top + size)
    colors = scale.colors[None]
    return [
        Text((MARGIN, top + 0.85 * size), scale.low, size),
        Cells(box, colors, np.ones(colors.shape[:2])),
        Rectangle(box, FAINT, 0.6),
        Text((left + wide + 8, top + 0.85 * size), scale.high, size),
    ]


def shorten(text: str, size: float, width: float) -> str:
    """Shorten a text to a width."""
    text = " ".join(text.split())[:120]
    letters = font(100)

    def fits(words: str) -> bool:
        return letters.getlength(words) / 100 * size <= width

    if fits(text):
        return text
    while text and not fits(text + "…"):
        text = text[:-1]
    return text.rstrip() + "…"
