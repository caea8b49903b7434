"""The eye in the browser's tab. Streamlit would fetch one of its own icons from the network."""

from __future__ import annotations

from functools import cache
from io import BytesIO

from PIL import Image, ImageDraw

BLUE, WHITE = "#3b5bbd", "#ffffff"
SIDE = 128


@cache
def eye() -> bytes:
    """Draw the eye, once: a PNG, 32 pixels square, drawn larger for smooth edges."""
    large = Image.new("RGBA", (SIDE, SIDE))
    draw = ImageDraw.Draw(large)
    draw.rounded_rectangle((0, 0, SIDE - 1, SIDE - 1), radius=SIDE // 5, fill=BLUE)
    # The lids: what two circles, one above the other, have in common.
    lids = Image.new("L", (SIDE, SIDE), 255)
    for middle in (40, 88):
        disc = Image.new("L", (SIDE, SIDE))
        box = (SIDE // 2 - 58, middle - 58, SIDE // 2 + 58, middle + 58)
        ImageDraw.Draw(disc).ellipse(box, fill=255)
        lids.paste(0, mask=disc.point(lambda value: 255 - value))
    large.paste(WHITE, mask=lids)
    draw.ellipse((44, 44, 84, 84), fill=BLUE)
    draw.ellipse((56, 56, 72, 72), fill=WHITE)
    file = BytesIO()
    large.resize((32, 32), Image.Resampling.LANCZOS).save(file, "PNG")
    return file.getvalue()
