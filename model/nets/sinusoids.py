"""Compute sinusoidal position codes with any base, along a sequence or a grid."""

from __future__ import annotations

import torch
from torch import Tensor

BASE = 10000.0
MAX_LENGTH, MAX_WIDTH, MAX_BASE = 4096, 4096, 1e9


# -- waves --------------------------------------------------------------------------------------


def frequencies(width: int, base: float = BASE) -> Tensor:
    """Compute the frequency of each pair of dimensions: float64 (width / 2,).

    Pair j turns by base^(-2j / width) radians at each position. Its wavelength is 2π / frequency
    positions.
    Raises ValueError for a width that is odd, below 2 or above MAX_WIDTH, and a base outside
    1 to MAX_BASE.
    """
    if width < 2 or width % 2:
        raise ValueError(
            f"Each pair of dimensions is a sine and a cosine, so the width is even and at least "
            f"2: {width} is not, {max(width + width % 2, 2)} would be."
        )
    if width > MAX_WIDTH:
        raise ValueError(f"A width of {width} is too large to draw: at most {MAX_WIDTH}.")
    if not 1 <= base <= MAX_BASE:  # also where it is not a number
        raise ValueError(
            f"The base is what the slowest wave is stretched by, from 1 to {MAX_BASE:.0e}: "
            f"{base:g} is not."
        )
    return float(base) ** -(torch.arange(0, width, 2, dtype=torch.float64) / width)


def angles(length: int, width: int, base: float = BASE) -> Tensor:
    """Compute the angle of each position in each pair, in radians: float64 (length, width / 2).

    The sinusoidal code takes its sine and cosine; a rotary code turns the pair by it.
    Raises ValueError as `frequencies`, and for a length outside 1 to MAX_LENGTH.
    """
    if not 1 <= length <= MAX_LENGTH:
        raise ValueError(f"The length is from 1 to {MAX_LENGTH} positions: {length} is not.")
    return torch.arange(length, dtype=torch.float64)[:, None] * frequencies(width, base)


def wave_code(length: int, width: int, base: float = BASE) -> Tensor:
    """Compute the codes of Vaswani et al. 2017 with any base: float64 (length, width).

    Even dimensions hold sines, odd ones cosines, of `angles`. Raises ValueError as `angles`.
    """
    angle = angles(length, width, base)
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(1)


def wave_code_2d(grid: tuple[int, int], width: int, base: float = BASE) -> Tensor:
    """Compute codes for a grid: half of the width for the row, half for the column.

    float64 (rows · columns, width), row by row. Chen et al. 2021, "An Empirical Study of
    Training Self-Supervised Vision Transformers". Raises ValueError as `wave_code`, and for a
    width that four does not divide.
    """
    if width % 4:
        raise ValueError(
            f"Rows and columns take half of the width each, in pairs, so four divides it: "
            f"{width} is not such a width, {max(width + -width % 4, 4)} would be."
        )
    rows, columns = grid
    by_row = wave_code(rows, width // 2, base).repeat_interleave(columns, dim=0)
    by_column = wave_code(columns, width // 2, base).repeat(rows, 1)
    return torch.cat((by_row, by_column), dim=1)
