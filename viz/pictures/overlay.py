"""One attention map over one photo, as a picture to keep: bare, or lettered for a slide."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from viz.pictures.colors import GAMMA, lookup_table, subdue
from viz.pictures.lettering import INK, TEXT, WHITE, font, percent, stack, text

Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of a photo, as shares of its sides."""

SIDE = 1152
"""Pixels of the longer side of a photo that is drawn for a slide."""

NARROWEST = 800
"""Pixels that a caption has beside a photo that is high and narrow."""


def scaled_to_maximum(weights: np.ndarray, top: float | None = None) -> np.ndarray:
    """Scale weights so that ``top`` (their own maximum if None) becomes one; clipped to [0, 1]."""
    top = float(np.max(weights)) if top is None else top
    if not np.isfinite(top) or top <= 0:
        return np.zeros_like(weights, dtype=np.float32)
    return np.clip(weights / top, 0, 1).astype(np.float32)


def overlay(
    photo: Image.Image,
    weights: np.ndarray,
    color_map: str = "viridis",
    opacity: float = 0.75,
    top: float | None = None,
    smooth: bool = False,
) -> Image.Image:
    """Lay a map (rows, columns) over a photo; the result has the photo's size.

    A patch is as opaque as it is attended to, so the photo stays readable where the
    model does not look.

    Args:
        weights: non-negative values, one a patch.
        top: the value drawn at full opacity; the map's own maximum if None.
        smooth: interpolate between patches. Off by default: a patch has one value.
    """
    values = scaled_to_maximum(np.asarray(weights), top)
    resample = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    values = np.asarray(Image.fromarray(values).resize(photo.size, resample)).clip(0, 1)
    colors = lookup_table(color_map)[(values * 255).round().astype(np.uint8)]
    alpha = (opacity * values**GAMMA)[..., None]
    base = subdue(np.asarray(photo.convert("RGB")))
    return Image.fromarray((base * (1 - alpha) + colors * alpha).round().astype(np.uint8))


def figure(
    photo: Image.Image,
    weights: np.ndarray,
    caption: Sequence[str] = (),
    color_map: str = "viridis",
    opacity: float = 0.75,
    top: float | None = None,
    smooth: bool = False,
    asking: Box | None = None,
    lines: bool = False,
    unit: str = "of the attention",
) -> Image.Image:
    """Draw an `overlay` for a slide: large, with its colour scale and a caption, on white.

    Args:
        caption: lines of text; the first is the title.
        asking: the patch to frame, from which the model looks.
        lines: draw the grid between the patches.
        unit: what the values are shares of, such as "of the attention".
    """
    scale = SIDE / max(photo.size)
    size = max(1, round(scale * photo.width)), max(1, round(scale * photo.height))
    large = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    picture = overlay(large, weights, color_map, opacity, top, smooth)
    if lines:
        _draw_grid(picture, np.shape(weights))
    if asking is not None:
        frame(picture, asking)
    width = max(picture.width, NARROWEST)
    top = float(np.max(weights)) if top is None else top
    return stack(
        [picture, _color_scale(width, color_map, f"{percent(top)} {unit}"), text(caption, width)]
    )


def frame(picture: Image.Image, box: Box, at: Box | None = None) -> None:
    """Draw the frame of a patch: black inside white, so that it shows on any photo and colour.

    Args:
        at: where in the picture the photo lies, in pixels; all of it if None.
    """
    left, top, right, bottom = at or (0, 0, *picture.size)
    across, down = right - left, bottom - top
    x0, y0 = round(left + box[0] * across), round(top + box[1] * down)
    x1, y1 = round(left + box[2] * across) - 1, round(top + box[3] * down) - 1
    line = min(5, max(1, round(min(x1 - x0, y1 - y0) / 9)))
    draw = ImageDraw.Draw(picture)
    around = (x0 - line, y0 - line, x1 + line, y1 + line)
    draw.rectangle(around, outline="white", width=line)
    draw.rectangle((x0, y0, x1, y1), outline="black", width=line)


def _draw_grid(picture: Image.Image, grid: tuple[int, int]) -> None:
    """Draw faint lines between the patches; none where they would hide the photo."""
    rows, columns = grid
    width, height = picture.size
    if width / columns < 8:
        return
    lines = Image.new("L", picture.size)
    draw = ImageDraw.Draw(lines)
    for column in range(1, columns):
        x = round(column * width / columns)
        draw.line((x, 0, x, height), fill=41, width=2)
    for row in range(1, rows):
        y = round(row * height / rows)
        draw.line((0, y, width, y), fill=41, width=2)
    picture.paste(WHITE, mask=lines)


def _color_scale(width: int, color_map: str, high: str) -> Image.Image:
    """Draw the colours from nothing to the map's maximum."""
    letters, height = font(TEXT), round(1.4 * TEXT)
    picture = Image.new("RGB", (width, height), WHITE)
    bar = Image.fromarray(lookup_table(color_map)[None]).resize((width // 2, TEXT))
    left = round(letters.getlength("0")) + TEXT // 2
    picture.paste(bar, (left, (height - TEXT) // 2))
    draw = ImageDraw.Draw(picture)
    draw.text((0, height / 2), "0", INK, letters, anchor="lm")
    draw.text((left + bar.width + TEXT // 2, height / 2), high, INK, letters, anchor="lm")
    return picture
