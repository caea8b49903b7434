"""A clip made of still pictures: a window slides over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from model.video.clip import Clip

PAN_RATE = 8.0
"""Frames a second."""


def pan(pictures: Sequence[Image.Image], frames: int = 32, side: int = 384) -> Clip:
    """Slide a square window over pictures that stand side by side, from the first to the last.

        >>> clip = pan([Image.new("RGB", (40, 30), colour) for colour in ("red", "blue")], 5, 16)
        >>> [frame.getpixel((8, 8)) for frame in (clip.frames[0], clip.frames[-1])]
        [(255, 0, 0), (0, 0, 255)]

    Args:
        pictures: each is cut to its middle square.
        frames: how many frames, at least two.
        side: of the window, and so of each frame, in pixels.
    """
    strip = Image.new("RGB", (side * len(pictures), side))
    for number, picture in enumerate(pictures):
        square = ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.BICUBIC)
        strip.paste(square, (number * side, 0))
    lefts = np.linspace(0, side * (len(pictures) - 1), frames).round().astype(int)
    windows = [strip.crop((left, 0, left + side, side)) for left in lefts.tolist()]
    seconds = tuple(number / PAN_RATE for number in range(frames))
    return Clip(windows, tuple(range(frames)), seconds)
