"""A drawing: marks at places, which become a vector picture or one of pixels.

Lengths are in units of a drawing `WIDTH` units wide, whatever its width in pixels is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

WIDTH = 1000.0

Color = tuple[int, int, int]
"""Red, green and blue, from 0 to 255."""

Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""

WHITE: Color = (255, 255, 255)
INK: Color = (31, 35, 40)
MUTED: Color = (90, 96, 102)
FAINT: Color = (208, 212, 217)


@dataclass(frozen=True)
class Pixels:
    """A picture made of pixels, stretched over a box."""

    box: Box
    image: Image.Image


@dataclass(frozen=True)
class Cells:
    """Rectangles that fill a box row by row.

    Attributes:
        box: where they lie.
        colors: (rows, columns, 3) uint8.
        opacities: (rows, columns) from 0 to 1.
    """

    box: Box
    colors: np.ndarray
    opacities: np.ndarray


@dataclass(frozen=True)
class Rectangle:
    """A rectangle: filled, or its outline alone where `line` is above zero."""

    box: Box
    color: Color
    line: float = 0.0


@dataclass(frozen=True)
class Polyline:
    """A line through points."""

    points: Sequence[tuple[float, float]]
    color: Color
    width: float = 1.0
    opacity: float = 1.0


@dataclass(frozen=True)
class Text:
    """Letters on a baseline; `anchor` says what lies at the place: "start", "middle" or "end"."""

    place: tuple[float, float]
    words: str
    size: float
    color: Color = INK
    anchor: str = "start"


Mark = Pixels | Cells | Rectangle | Polyline | Text


@dataclass(frozen=True)
class Drawing:
    """Marks, the later ones above the earlier, on white."""

    height: float
    marks: Sequence[Mark]
    width: float = WIDTH


def outline_patch(box: Box) -> list[Mark]:
    """Outline a patch: black inside white, so that it shows on any photo and colour."""
    left, top, right, bottom = box
    line = min(4.0, max(0.8, min(right - left, bottom - top) / 9))
    around = (left - line / 2, top - line / 2, right + line / 2, bottom + line / 2)
    inside = (left + line / 2, top + line / 2, right - line / 2, bottom - line / 2)
    return [Rectangle(around, WHITE, line), Rectangle(inside, INK, line)]


def part_of(box: Box, part: Box) -> Box:
    """Return the part of a box that is given in shares of its sides."""
    left, top, right, bottom = box
    across, down = right - left, bottom - top
    return (
        left + part[0] * across,
        top + part[1] * down,
        left + part[2] * across,
        top + part[3] * down,
    )
