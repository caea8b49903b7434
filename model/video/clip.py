"""A clip: frames one after another, and when each is shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from PIL import Image

ASSUMED_RATE = 10.0
"""Frames a second where nothing says when a frame is shown."""


@dataclass(frozen=True)
class Clip:
    """Frames of a clip, of mode RGB, and when each is shown.

        >>> frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
        >>> Clip(frames, (0, 2), (0.0, 0.5)).milliseconds
        500

    Attributes:
        frames: the frames that were kept.
        numbers: which of the file's frames they are, from zero.
        seconds: when each is shown, from zero; None where nothing says so, as of a folder.
        note: what could not be read, in a sentence, or "".
    """

    frames: Sequence[Image.Image]
    numbers: tuple[int, ...]
    seconds: tuple[float, ...] | None = None
    note: str = ""

    @property
    def milliseconds(self) -> int:
        """How long a frame stays in the mean; a tenth of a second where nothing says so."""
        if not self.seconds or len(self.seconds) < 2 or self.seconds[-1] <= 0:
            return round(1000 / ASSUMED_RATE)
        return max(1, round(1000 * self.seconds[-1] / (len(self.seconds) - 1)))

    @property
    def key(self) -> str:
        """Name the clip by its pixels."""
        digest = sha256()
        for frame in self.frames:
            digest.update(f"{frame.size}".encode() + frame.tobytes())
        return digest.hexdigest()[:20]

    @property
    def nbytes(self) -> int:
        """Bytes of all frames."""
        return sum(3 * frame.width * frame.height for frame in self.frames)


def every_that_fits(frames: int, most: int) -> int:
    """Find the smallest n such that every n-th of so many frames are at most `most`.

    >>> every_that_fits(15_000, 240)
    63
    """
    return max(1, math.ceil(frames / most))


def write_ordinal(number: int) -> str:
    """Write the n-th.

    >>> write_ordinal(2), write_ordinal(11), write_ordinal(63)
    ('2nd', '11th', '63rd')
    """
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{'th' if number % 100 in (11, 12, 13) else ending}"
