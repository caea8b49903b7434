"""Colour maps, and how a map is laid over a photo.

The browser and the exported pictures share these tables and numbers, so that a
download looks like the page it came from.
"""

from functools import cache

import matplotlib
import numpy as np

COLOR_MAPS = ("viridis", "cividis", "magma", "inferno", "gray")
"""Perceptually even maps; cividis also reads the same with colour blindness."""

BEGINS = {"magma": 0.2, "inferno": 0.2, "gray": 0.38}
"""Where a map begins that would begin with black, as a share of its length.

Weak values would not be seen on a dark photo otherwise. On a photo of its own grey, gray shows
nothing wherever it begins.
"""

SATURATION = 0.5
"""How much of the photo's own colour stays under a map."""

GAMMA = 0.5
"""Opacity grows as value ** GAMMA: where there is no attention, the photo is as bright as it was.

The square root lifts weak values: the low end of viridis is nearly black, and a patch with a
fiftieth of the most attention could not be told from a black photo otherwise.
"""


@cache
def lookup_table(name: str) -> np.ndarray:
    """Return the 256 colours of a map, (256, 3) uint8, from low to high.

    Raises:
        ValueError: if ``name`` is not one of ``COLOR_MAPS``.
    """
    if name not in COLOR_MAPS:
        raise ValueError(f"There is no colour map {name!r}; choose from {', '.join(COLOR_MAPS)}.")
    steps = np.linspace(BEGINS.get(name, 0.0), 1.0, 256)
    table = matplotlib.colormaps[name](steps, bytes=True)[:, :3]
    table.setflags(write=False)
    return table


def cyclic_table() -> np.ndarray:
    """Return 256 colours for angles, (256, 3) uint8: the last one joins the first."""
    return matplotlib.colormaps["twilight"](np.arange(256), bytes=True)[:, :3]


def subdue(photo: np.ndarray) -> np.ndarray:
    """Mute a photo's colours (..., 3) uint8, so that a map's stand out; its light stays."""
    photo = photo.astype(np.float32)
    luma = photo @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    muted = SATURATION * photo + (1 - SATURATION) * luma[..., None]
    return muted.round().astype(np.uint8)
