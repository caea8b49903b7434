"""Pack similarity tiles: for each patch, a small picture of its similarity to all others.

The arrangement of Dosovitskiy et al. 2021, fig. 7, middle, drawn in the browser; several codes
stand side by side, and the mouse over a tile enlarges that tile in each of them.
"""

from collections.abc import Mapping

import numpy as np

from viz.components.draw_style import DrawStyle
from viz.components.payload import pack

MAX_TILES = 256
"""More tiles than this are thinned out: each would be too small to see anyway."""


def shown_tiles(grid: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int]]:
    """Choose the patches that get a tile (all, or every second, third...); with the tiles' grid."""
    rows, columns = grid
    step = 1
    while -(-rows // step) * -(-columns // step) > MAX_TILES:
        step += 1
    row, column = np.arange(0, rows, step), np.arange(0, columns, step)
    return (row[:, None] * columns + column).ravel(), (len(row), len(column))


def tiles_payload(
    codes: Mapping[str, np.ndarray],
    grid: tuple[int, int],
    unit: str,
    span: tuple[float, float] | None = None,
    color_map: str = "viridis",
) -> bytes:
    """Pack the similarities (tiles, patches) of each named code.

    Args:
        unit: what a value is, such as "cosine".
        span: the values at the ends of one colour scale for all; each code has its own if None.
    """
    chosen, tile_grid = shown_tiles(grid)
    header = {
        "titles": list(codes),
        "grid": grid,
        "tiles": tile_grid,
        "patches": chosen.tolist(),
        "unit": unit,
        "style": DrawStyle(colors=color_map).as_header(),
        "spans": [span or (float(v.min()), float(v.max())) for v in codes.values()],
    }
    arrays = {f"values{i}": v.astype(np.float16) for i, v in enumerate(codes.values())}
    return pack(header, **arrays)
