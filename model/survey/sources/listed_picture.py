"""Where the bytes of one picture lie."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ListedPicture:
    """A picture: bytes `offset` to `offset + size` of a file.

    A folder, a tar, a packed file and an Arrow file differ only in how the bytes are found, so
    whoever reads a picture need not know which of them it comes from.
    """

    name: str
    """Names it within the data set, and stays the same wherever that lies."""
    file: str
    offset: int = 0
    size: int = 0
    label: str | None = None
    """The name of its class, where known."""
    box: tuple[float, float, float, float] | None = None
    """The object's left, top, right and bottom in pixels, right and bottom exclusive."""
    pixels: tuple[int, ...] | None = None
    """Rows, columns and channels where the bytes are uint8 pixels; None for an encoded picture."""
    problem: str | None = None
    """Why there is no picture here, where that is known already."""
