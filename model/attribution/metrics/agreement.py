"""Do two maps say the same? And does a map notice that the model has learned something?

Adebayo et al. 2018, "Sanity Checks for Saliency Maps": a method whose map barely changes when
the weights are random shows the picture, not the model.
"""

from __future__ import annotations

import torch
from torch import Tensor


def ranks(maps: Tensor) -> Tensor:
    """Ranks from 0 of (..., N) values along the last axis, float64; equal values share theirs."""
    ordered = maps.double().sort(dim=-1).values.contiguous()
    values = maps.double().contiguous()
    below = torch.searchsorted(ordered, values)
    up_to = torch.searchsorted(ordered, values, right=True)
    return (below + up_to - 1).double() / 2


def rank_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Spearman's correlation of maps (..., rows, columns) -> float64 (...), from −1 to 1.

    1: the same order of patches; 0: nothing in common. NaN where a map is the same everywhere,
    since it has no order.
    """
    one, other = (_standard(ranks(maps.flatten(-2))) for maps in (one, other))
    return (one * other).sum(-1)


def agreement(maps: Tensor) -> Tensor:
    """Rank correlation of each pair of (M, rows, columns) maps: float64 (M, M)."""
    return rank_correlation(maps[:, None], maps[None])


def _standard(values: Tensor) -> Tensor:
    values = values - values.mean(-1, keepdim=True)
    return values / values.norm(dim=-1, keepdim=True)
