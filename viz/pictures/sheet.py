"""The layers x heads sheet: every map of a model from one query, on one grid."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from viz.pictures.colors import GAMMA, lookup_table, subdue
from viz.pictures.lettering import font, text
from viz.pictures.overlay import Box, frame

SMALLEST_TEXT = 12

Color = tuple[int, int, int]
"""Red, green and blue, from 0 to 255."""


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


def margins(cell: int) -> tuple[int, int]:
    """Return the pixels kept free at the left and at the top for the names of layers and heads."""
    size = _text_size(cell)
    return 6 * size, 2 * size


def sheet(
    photo: Image.Image,
    weights: np.ndarray,
    grid: tuple[int, int],
    counts: Sequence[int] | None = None,
    cell: int = 96,
    gap: int = 4,
    color_map: str = "viridis",
    opacity: float = 0.75,
    background: Color = (255, 255, 255),
    numbers: Sequence[int] | None = None,
    asking: Box | None = None,
    caption: Sequence[str] = (),
) -> Image.Image:
    """Draw (layers, heads, patches) weights as small overlays: a row a layer, a column a head.

    Each map is scaled to its own maximum.

    Args:
        grid: (rows, columns) of patches.
        counts: how many heads each layer has; all have the same number if None.
        cell: width of one small picture in pixels; the height follows the photo.
        numbers: what the layers are called; from one on if None.
        asking: the patch to frame in every map, from which the model looks.
        caption: lines of text below; the first is the title.
    """
    layers, heads, _ = weights.shape
    size = (cell, max(1, round(cell * photo.height / photo.width)))
    cells = _draw_cells(photo, weights, grid, size, color_map, opacity)
    left, top = margins(cell)
    across, down = size[0] + gap, size[1] + gap
    picture = Image.new("RGB", (left + heads * across, top + layers * down), background)
    for layer, count in enumerate(counts or [heads] * layers):
        for head in range(count):
            small = Image.fromarray(cells[layer, head])
            if asking is not None:
                frame(small, asking)
            picture.paste(small, (left + head * across, top + layer * down))
    ink = (90, 90, 90) if sum(background) > 384 else (190, 190, 190)
    _write_names(picture, numbers or range(1, layers + 1), heads, size, gap, ink)
    if not caption:
        return picture
    margin = _text_size(cell)
    lines = text(caption, picture.width - 2 * margin, margin, ink, ink, background)
    return _add_below(picture, lines, margin, background)


def _draw_cells(
    photo: Image.Image,
    weights: np.ndarray,
    grid: tuple[int, int],
    size: tuple[int, int],
    color_map: str,
    opacity: float,
) -> np.ndarray:
    """Draw every map over the photo: (layers, heads, height, width, 3) uint8."""
    base = subdue(np.asarray(photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)))
    maps, _ = quantise(weights)
    values = _enlarge(maps.reshape(*weights.shape[:2], *grid), size)
    colors = lookup_table(color_map)[values]
    alpha = (opacity * (np.arange(256, dtype=np.float32) / 255) ** GAMMA)[values][..., None]
    return (base * (1 - alpha) + colors * alpha).astype(np.uint8)


def _enlarge(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Repeat each patch (..., rows, columns) to (..., height, width) without blending."""
    width, height = size
    rows = np.arange(height) * maps.shape[-2] // height
    columns = np.arange(width) * maps.shape[-1] // width
    return maps[..., rows[:, None], columns[None, :]]


def _text_size(cell: int) -> int:
    return max(SMALLEST_TEXT, cell // 8)


def _write_names(
    picture: Image.Image,
    numbers: Sequence[int],
    heads: int,
    size: tuple[int, int],
    gap: int,
    ink: Color,
) -> None:
    """Write the heads above their columns, and the layers before their rows."""
    draw, letters = ImageDraw.Draw(picture), font(_text_size(size[0]))
    (width, height), (left, top) = size, margins(size[0])
    for head in range(heads):
        x = left + head * (width + gap) + width / 2
        draw.text((x, top / 2), f"head {head + 1}", ink, letters, anchor="mm")
    for place, number in enumerate(numbers):
        y = top + place * (height + gap) + height / 2
        draw.text((left / 2, y), f"Layer {number}", ink, letters, anchor="mm")


def _add_below(
    picture: Image.Image, caption: Image.Image, margin: int, background: Color
) -> Image.Image:
    """Add a caption below a picture."""
    height = picture.height + caption.height + 2 * margin
    both = Image.new("RGB", (picture.width, height), background)
    both.paste(picture, (0, 0))
    both.paste(caption, (margin, picture.height + margin))
    return both
