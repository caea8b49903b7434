"""One attention map over one photo, as a picture to keep: bare, or lettered for a slide."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from viz.colors import GAMMA, lookup_table, subdue

Box = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of a photo, as shares of its sides."""

SIDE, MARGIN, TEXT = 1152, 24, 28
"""Pixels of a lettered picture: the photo's longer side, the white around it, its letters."""

NARROWEST = 800
"""Pixels that a caption has beside a photo that is high and narrow."""

WHITE, INK, MUTED = (255, 255, 255), (31, 35, 40), (90, 96, 102)


def normalise(weights: np.ndarray, top: float | None = None) -> np.ndarray:
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
    values = normalise(np.asarray(weights), top)
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
    """`overlay` as a slide needs it: large, with its colour scale and a caption, on white.

    Args:
        caption: lines of text; the first is the title.
        asking: the patch to frame, from which the model looks.
        lines: draw the grid between the patches.
        unit: of what the values are shares.
    """
    scale = SIDE / max(photo.size)
    size = tuple(max(1, round(side * scale)) for side in photo.size)
    large = photo.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    picture = overlay(large, weights, color_map, opacity, top, smooth)
    if lines:
        _draw_grid(picture, np.shape(weights))
    if asking is not None:
        frame(picture, asking)
    width = max(picture.width, NARROWEST)
    top = float(np.max(weights)) if top is None else top
    return _stack(
        [picture, _color_scale(width, color_map, f"{percent(top)} {unit}"), text(caption, width)]
    )


def percent(share: float) -> str:
    """A share as the pages write it: 0.62 %, 1.9 %, 43.0 %."""
    return f"{100 * share:.{2 if share < 0.01 else 1}f} %"


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


def text(
    lines: Sequence[str],
    width: int,
    size: int = TEXT,
    ink: tuple[int, int, int] = INK,
    muted: tuple[int, int, int] = MUTED,
    background: tuple[int, int, int] = WHITE,
) -> Image.Image:
    """Lines of text, broken where they are too long; the first one stands out."""
    letters, step = font(size), round(1.4 * size)
    written = [
        (part, muted if number else ink)
        for number, line in enumerate(lines)
        for part in _broken(line, letters, width)
    ]
    picture = Image.new("RGB", (width, max(1, step * len(written))), background)
    draw = ImageDraw.Draw(picture)
    for number, (part, color) in enumerate(written):
        draw.text((0, step * (number + 0.5)), part, color, letters, anchor="lm")
    return picture


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and knows more scripts than Pillow's own font."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)


def _broken(line: str, letters: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """A line in parts that fit: between words, or in long names after a stroke or a hyphen."""
    parts = [""]
    line = re.sub("[ \t\r\n]+", " ", line).replace(" %", "\u00a0%")
    for piece in re.findall("[^ /_-]{0,30}[/_-]? ?", line):
        if parts[-1] and letters.getlength((parts[-1] + piece).rstrip(" ")) > width:
            parts.append("")
        parts[-1] += piece
    return parts


def _draw_grid(picture: Image.Image, grid: tuple[int, int]) -> None:
    """Lines between the patches, as faint as on the page; none where they would hide the photo."""
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
    """The colours from nothing to the map's maximum."""
    letters, height = font(TEXT), round(1.4 * TEXT)
    picture = Image.new("RGB", (width, height), WHITE)
    bar = Image.fromarray(lookup_table(color_map)[None]).resize((width // 2, TEXT))
    left = round(letters.getlength("0")) + TEXT // 2
    picture.paste(bar, (left, (height - TEXT) // 2))
    draw = ImageDraw.Draw(picture)
    draw.text((0, height / 2), "0", INK, letters, anchor="lm")
    draw.text((left + bar.width + TEXT // 2, height / 2), high, INK, letters, anchor="lm")
    return picture


def _stack(parts: Sequence[Image.Image]) -> Image.Image:
    """Pictures one below the other on white, with a margin."""
    width = max(part.width for part in parts) + 2 * MARGIN
    height = sum(part.height for part in parts) + MARGIN * (len(parts) + 1)
    picture, top = Image.new("RGB", (width, height), WHITE), MARGIN
    for part in parts:
        picture.paste(part, (MARGIN, top))
        top += part.height + MARGIN
    return picture
