"""Compare two maps: of two methods, or of a trained and an untrained model.

Adebayo et al. 2018, "Sanity Checks for Saliency Maps": a method whose map barely changes when
the weights are random shows the picture, not the model.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rank_values(maps: Tensor) -> Tensor:
    """Rank (..., N) values along the last axis from 0, float64; equal values share a rank."""
    ordered = maps.double().sort(dim=-1).values.contiguous()
    values = maps.double().contiguous()
    below = torch.searchsorted(ordered, values)
    up_to = torch.searchsorted(ordered, values, right=True)
    return (below + up_to - 1).double() / 2


def rank_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Compute Spearman's rank correlation of maps.

    Args:
        one, other: (..., rows, columns); their leading dimensions broadcast.

    Returns:
        float64 (...), from −1 to 1. 1: the same order of patches; 0: unrelated. NaN where a map
        has the same value everywhere, and so no order.

    >>> one = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    >>> rank_correlation(one, one**2).item(), rank_correlation(one, -one).item()
    (1.0, -1.0)
    """
    one, other = (_standardise(rank_values(maps.flatten(-2))) for maps in (one, other))
    return (one * other).sum(-1)


def agreement(maps: Tensor) -> Tensor:
    """Compute the rank correlation of each pair of M maps.

    Args:
        maps: (M, rows, columns).

    Returns:
        float64 (M, M), symmetric, ones on the diagonal.

    >>> maps = torch.tensor([[[1.0, 2.0, 3.0]], [[3.0, 2.0, 1.0]]])
    >>> agreement(maps).round().tolist()
    [[1.0, -1.0], [-1.0, 1.0]]
    """
    return rank_correlation(maps[:, None], maps[None])


def _standardise(values: Tensor) -> Tensor:
    values = values - values.mean(-1, keepdim=True)
    return values / values.norm(dim=-1, keepdim=True)
