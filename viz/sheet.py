"""The layers x heads sheet: every map of a model from one query, on one grid."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from viz.colors import GAMMA, lookup_table, subdue

LABEL = 26
"""Pixels kept free at the top and at the left for the numbers of heads and layers."""


def quantise(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scale each map to its own maximum in 8 bits, small enough to send at every click.

    Args:
        weights: (layers, heads, patches), non-negative.

    Returns:
        (layers, heads, patches) uint8 and the maxima (layers, heads) float32;
        ``maps / 255 * maxima[..., None]`` gives the weights back to one part in 510.
    """
    maxima = weights.max(axis=-1).astype(np.float32)
    safe = np.where(maxima > 0, maxima, 1)
    return np.rint(weights / safe[..., None] * 255).astype(np.uint8), maxima


def sheet(
    photo: Image.Image,
    weights: np.ndarray,
    grid: tuple[int, int],
    counts: Sequence[int] | None = None,
    cell: int = 96,
    gap: int = 4,
    color_map: str = "viridis",
    opacity: float = 0.75,
    background: tuple[int, int, int] = (255, 255, 255),
    numbers: Sequence[int] | None = None,
) -> Image.Image:
    """Draw (layers, heads, patches) weights as small overlays: a row a layer, a column a head.

    Each map is scaled to its own maximum.

    Args:
        grid: (rows, columns) of patches.
        counts: how many heads each layer has; all have the same number if None.
        cell: width of one small picture in pixels; the height follows the photo.
        numbers: what the layers are called; from one on if None.
    """
    layers, heads, _ = weights.shape
    size = (cell, max(1, round(cell * photo.height / photo.width)))
    base = subdue(np.asarray(photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)))
    maps, _ = quantise(weights)
    values = _enlarge(maps.reshape(layers, heads, *grid), size)
    colors = lookup_table(color_map)[values]
    alpha = (opacity * (np.arange(256, dtype=np.float32) / 255) ** GAMMA)[values][..., None]
    cells = (base * (1 - alpha) + colors * alpha).astype(np.uint8)
    width, height = size
    canvas = np.empty(
        (LABEL + layers * (height + gap), LABEL + heads * (width + gap), 3), dtype=np.uint8
    )
    canvas[:] = background
    for layer, count in enumerate(counts or [heads] * layers):
        for head in range(count):
            top, left = LABEL + layer * (height + gap), LABEL + head * (width + gap)
            canvas[top : top + height, left : left + width] = cells[layer, head]
    picture = Image.fromarray(canvas)
    _label(picture, numbers or range(1, layers + 1), heads, size, gap, background)
    return picture


def _enlarge(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Repeat each patch (..., rows, columns) to (..., height, width) without blending."""
    width, height = size
    rows = np.arange(height) * maps.shape[-2] // height
    columns = np.arange(width) * maps.shape[-1] // width
    return maps[..., rows[:, None], columns[None, :]]


def _label(picture, numbers, heads, size, gap, background) -> None:
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=12)
    ink = (90, 90, 90) if sum(background) > 384 else (190, 190, 190)
    width, height = size
    for head in range(heads):
        x = LABEL + head * (width + gap) + width / 2
        draw.text((x, LABEL / 2), str(head + 1), fill=ink, font=font, anchor="mm")
    for place, number in enumerate(numbers):
        y = LABEL + place * (height + gap) + height / 2
        draw.text((LABEL / 2, y), str(number), fill=ink, font=font, anchor="mm")
