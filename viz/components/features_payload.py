"""Pack what the component `features` draws: photos, with vectors or colours of their patches.

With vectors the browser compares patches itself, for whatever patch the mouse is on. They are sent
once, in float16: their cosines differ from those of float32 by less than a thousandth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from viz.components.draw_style import DrawStyle
from viz.components.payload import pack


@dataclass(frozen=True)
class Painted:
    """The patches of one photo, coloured; (N,) arrays go row by row."""

    paint: np.ndarray
    """uint8 (N, 4), red, green, blue and opacity."""
    values: np.ndarray
    """float32 (N,), read out under the mouse."""
    marked: Sequence[int] = ()
    """Patches to frame."""


@dataclass(frozen=True)
class FeaturesHeader:
    """What is shown, apart from the arrays."""

    pictures: str
    """Tells these photos from others."""
    vectors: str
    """Tells these vectors from others."""
    mode: str
    """"similarity", "values", "groups", "colors" or "mask"."""
    grid: tuple[int, int]
    prefix: Sequence[str]
    """Names of the tokens before the patches, as the page writes them."""
    titles: Sequence[str]
    """Of the photos."""
    query: int
    """The token that is held."""
    style: DrawStyle
    unit: str = ""
    """What a value is."""
    span: tuple[float, float] = (0.0, 1.0)
    """The values at the ends of the colour scale."""
    scale: bool = False
    """Whether there is a colour scale."""
    box: Sequence[float] | None = None
    """A box to draw over the first photo, as shares of it."""


def features_payload(
    header: FeaturesHeader,
    photos: Mapping[str, str | bytes],
    vectors: Sequence[np.ndarray] = (),
    painted: Sequence[Painted] = (),
) -> bytes:
    """Pack a view of one photo or two.

    Args:
        photos: photo0 and photo1 as JPEG, or the header entries with which the browser asks.
        vectors: (N, D) each, prefix first; none where the browser has them.
        painted: of each photo, for all modes but "similarity".
    """
    arrays: dict[str, np.ndarray | bytes] = {}
    arrays |= {name: photo for name, photo in photos.items() if isinstance(photo, bytes)}
    asked_for = {name: text for name, text in photos.items() if isinstance(text, str)}
    for index, each in enumerate(vectors):
        arrays[f"vectors{index}"] = each.astype(np.float16)
    for index, own in enumerate(painted):
        arrays[f"paint{index}"] = own.paint.reshape(-1, 4).astype(np.uint8)
        arrays[f"values{index}"] = own.values.ravel().astype(np.float32)
        arrays[f"marked{index}"] = np.array(own.marked, dtype=np.uint32)
    values = vars(header) | {"style": header.style.as_header(), "count": len(header.titles)}
    return pack(values | asked_for, **arrays)
