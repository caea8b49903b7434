"""Text on pictures: letters for many scripts, lines that fit, and parts below one another."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

MARGIN, TEXT = 24, 28
"""Pixels of the white around a picture, and of its letters."""

WHITE, INK, MUTED = (255, 255, 255), (31, 35, 40), (90, 96, 102)


@cache
def font(size: float) -> ImageFont.FreeTypeFont:
    """Load DejaVu Sans, which comes with matplotlib and has more scripts than Pillow's own font."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf"), size)


def percent(share: float, digits: int | None = None) -> str:
    """Write a share as the pages do: 0.62 %, 1.9 %, 43.0 %; or with so many digits, as 43 %."""
    if digits is None:
        digits = 2 if share < 0.00995 else 1
    return f"{100 * share:.{digits}f} %"


def text(
    lines: Sequence[str],
    width: int,
    size: int = TEXT,
    ink: tuple[int, int, int] = INK,
    muted: tuple[int, int, int] = MUTED,
    background: tuple[int, int, int] = WHITE,
) -> Image.Image:
    """Draw lines of text, broken where they are too long; the first one stands out."""
    letters, step = font(size), round(1.4 * size)
    written = [
        (part, muted if number else ink)
        for number, line in enumerate(lines)
        for part in break_lines(line, size, width)
    ]
    picture = Image.new("RGB", (width, max(1, step * len(written))), background)
    draw = ImageDraw.Draw(picture)
    for number, (part, color) in enumerate(written):
        draw.text((0, step * (number + 0.5)), part, color, letters, anchor="lm")
    return picture


def break_lines(line: str, size: int, width: int) -> list[str]:
    """Break a line where parts fit: between words, or in long names after a stroke or hyphen."""
    letters, parts = font(size), [""]
    line = re.sub("[ \t\r\n]+", " ", line).replace(" %", "\u00a0%")
    for piece in re.findall("[^ /_-]{0,30}[/_-]? ?", line):
        if parts[-1] and letters.getlength((parts[-1] + piece).rstrip(" ")) > width:
            parts.append("")
        parts[-1] += piece
    return parts


def stack(parts: Sequence[Image.Image]) -> Image.Image:
    """Lay pictures one below the other on white, with a margin."""
    width = max(part.width for part in parts) + 2 * MARGIN
    height = sum(part.height for part in parts) + MARGIN * (len(parts) + 1)
    picture, top = Image.new("RGB", (width, height), WHITE), MARGIN
    for part in parts:
        picture.paste(part, (MARGIN, top))
        top += part.height + MARGIN
    return picture
