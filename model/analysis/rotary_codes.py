"""Rotary position codes: turn queries and keys by angles, and see what position alone does."""

from __future__ import annotations

import torch
from torch import Tensor

from model.nets.sinusoids import angles


def rotate(vectors: Tensor, angle: Tensor) -> Tensor:
    """Turn each pair of dimensions of vectors (..., N, d) by its angle, (N, d / 2).

    Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding".
    """
    first, second = vectors[..., 0::2], vectors[..., 1::2]
    cos, sin = angle.cos(), angle.sin()
    turned = (first * cos - second * sin, first * sin + second * cos)
    return torch.stack(turned, dim=-1).flatten(-2)


def rotary_score(angle: Tensor, query: int) -> Tensor:
    """Compute the part of the attention score that position alone decides: (N, d / 2) -> (N,).

    It is q·k / d between `query` and every position, where both vectors are all ones before they
    are turned: the mean of cos(angle difference) over the pairs, and 1 at the query itself.
    """
    return (angle - angle[query]).cos().mean(-1)


def grid_angles(grid: tuple[int, int], width: int, base: float = 100.0) -> Tensor:
    """Compute rotary angles on a grid: half of the pairs turn with the row, half with the column.

    float64 (rows · columns, width / 2). Raises ValueError for a width that four does not divide,
    and wherever `model.nets.sinusoids.angles` does.
    """
    if width % 4:
        raise ValueError(
            f"Rows and columns take half of the pairs each, so four divides the width: {width} "
            f"is not such a width, {max(width + -width % 4, 4)} would be."
        )
    rows, columns = grid
    by_row = angles(rows, width // 2, base).repeat_interleave(columns, dim=0)
    return torch.cat((by_row, angles(columns, width // 2, base).repeat(rows, 1)), dim=1)
