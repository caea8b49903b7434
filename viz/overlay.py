"""One attention map over one photo, as a picture to keep."""

import numpy as np
from PIL import Image

from viz.colors import GAMMA, lookup_table, subdue


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
