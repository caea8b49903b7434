"""Colour the values of patches, as the pages do, and describe the colours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from viz.components.draw_style import DrawStyle
from viz.pictures.colors import GAMMA, lookup_table
from viz.pictures.overlay import scaled_to_maximum

SCALE_STEPS = 64
OPACITY = 0.85  # of finished colours
MORE_IN_A, MORE_IN_B = (230, 115, 20), (45, 110, 215)
DIFFERENCE = 0.92
"""Colours of a difference and their opacity, as in difference.js."""


@dataclass(frozen=True)
class PaintedMap:
    """The colours of patches, (rows, columns, 3) uint8, and how opaque each is, from 0 to 1.

    `smooth` asks for colours that change evenly between patches.
    """

    colors: np.ndarray
    opacities: np.ndarray
    smooth: bool = False


@dataclass(frozen=True)
class Scale:
    """A colour scale, and what its ends mean."""

    colors: np.ndarray
    """(steps, 3) uint8, from low to high."""
    low: str
    high: str


def paint_map(weights: np.ndarray, style: DrawStyle, top: float | None = None) -> PaintedMap:
    """Colour a map (rows, columns) of shares as the pages do.

    Args:
        weights: non-negative values, one a patch.
        style: how maps are drawn.
        top: the value with the last colour; the map's own maximum if None.
    """
    values = scaled_to_maximum(np.asarray(weights), top)
    colors = lookup_table(style.colors)[(255 * values).round().astype(np.uint8)]
    levels = (255 * values).round() / 255
    return PaintedMap(colors, style.opacity * levels**style.gamma, style.smooth)


def paint_difference(difference: np.ndarray) -> PaintedMap:
    """Colour a difference (rows, columns) as Compare does: orange above zero, blue below."""
    largest = float(np.abs(difference).max()) or 1.0
    colors = np.where(difference[..., None] > 0, MORE_IN_A, MORE_IN_B).astype(np.uint8)
    return PaintedMap(colors, DIFFERENCE * (np.abs(difference) / largest) ** GAMMA)


def paint_colors(colors: np.ndarray, opacity: float = OPACITY) -> PaintedMap:
    """Lay finished colours (rows, columns, 3) over a photo.

    Of four channels the last one says how opaque a patch is, from 0 to 255.
    """
    opacities = np.full(colors.shape[:2], opacity)
    if colors.shape[2] == 4:
        opacities = opacity * colors[..., 3] / 255
    return PaintedMap(colors[..., :3], opacities)


def scale_of(style: DrawStyle, high: str, low: str = "0") -> Scale:
    """Describe the colours of `paint_map`."""
    steps = np.linspace(0, 255, SCALE_STEPS).round().astype(int)
    return Scale(lookup_table(style.colors)[steps], low, high)


def difference_scale(low: str, high: str) -> Scale:
    """Describe the colours of `paint_difference`, on white."""
    painted = paint_difference(np.linspace(-1, 1, SCALE_STEPS)[None])
    alpha = painted.opacities[..., None]
    return Scale((painted.colors * alpha + 255 * (1 - alpha)).astype(np.uint8)[0], low, high)
