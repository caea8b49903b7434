"""Colours of patches: components, lengths, groups and masks, as RGBA pixels, one a patch."""

import numpy as np

from viz.pictures.colors import lookup_table

GROUP_COLORS = np.array(
    [
        (0, 114, 178),
        (230, 159, 0),
        (0, 158, 115),
        (204, 121, 167),
        (86, 180, 233),
        (213, 94, 0),
        (240, 228, 66),
        (120, 120, 120),
    ],
    dtype=np.uint8,
)
"""Colours that stay apart for colour-blind eyes: Okabe and Ito 2008, "Color Universal Design"."""

OPACITY = 170
VEIL = (0, 0, 0, 170)


def paint_components(coordinates: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Colour patches by three coordinates (..., 3) as red, green and blue: uint8 (..., 4).

    Each coordinate is stretched from its lowest to its highest value over the patches in `shown`
    (bool (...)); the others stay clear.
    """
    chosen = coordinates[shown]
    painted = np.zeros((*coordinates.shape[:-1], 4), np.uint8)
    if len(chosen):
        low, high = chosen.min(axis=0), chosen.max(axis=0)
        scaled = (coordinates - low) / np.where(high > low, high - low, 1)
        painted[..., :3] = np.rint(255 * scaled.clip(0, 1))
        painted[..., 3] = np.where(shown, 235, 0)
    return painted


def paint_values(values: np.ndarray, low: float, high: float, colors: str) -> np.ndarray:
    """Colour patches by one value each (...), from `low` to `high`: uint8 (..., 4)."""
    scaled = (values - low) / (high - low if high > low else 1)
    table = lookup_table(colors)[np.rint(255 * scaled.clip(0, 1)).astype(int)]
    return _with_opacity(table, np.full(values.shape, OPACITY, np.uint8))


def paint_groups(groups: np.ndarray) -> np.ndarray:
    """Colour patches by the number of their group (...): uint8 (..., 4)."""
    opacity = np.full(groups.shape, OPACITY, np.uint8)
    return _with_opacity(GROUP_COLORS[groups % len(GROUP_COLORS)], opacity)


def paint_mask(mask: np.ndarray) -> np.ndarray:
    """Darken the patches outside a mask (...): uint8 (..., 4)."""
    return np.where(mask[..., None], 0, np.array(VEIL, np.uint8)).astype(np.uint8)


def _with_opacity(colors: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    return np.concatenate((colors, opacity[..., None]), axis=-1)
