"""How far apart two maps over an image are."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from model.attribution.metrics.agreement import rank_correlation


class MapDistance(NamedTuple):
    """How two maps differ."""

    difference: Tensor
    """The first map minus the second, each divided by its sum: float64 (B, rows, columns)."""
    divergence: Tensor
    """The Jensen-Shannon divergence, float64 (B,): 0 for equal maps, ln 2 for maps that share no
    patch."""
    correlation: Tensor
    """The rank correlation, float64 (B,), from -1 to 1; NaN where a map is the same everywhere."""


def compare_maps(a: Tensor, b: Tensor) -> MapDistance:
    """Compare two maps over the same image patch by patch.

    Each map is divided by its sum, so what is compared is where it lies and not how strong it is.
    Where the grids differ, both maps are brought to the finer one, each patch repeated.

    Args:
        a, b: (B, rows, columns), nowhere negative; the grids may differ.

    Raises:
        ValueError: a map has another shape, negative values, or nothing but zeros.

    >>> far = compare_maps(torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]]]))
    >>> far.difference.tolist(), round(far.divergence.item(), 4)
    ([[[1.0, -1.0]]], 0.6931)
    """
    if a.ndim != 3 or b.ndim != 3 or len(a) != len(b):
        raise ValueError(
            "Two maps of the same images are compared, each of shape (B, rows, columns), not "
            f"{tuple(a.shape)} and {tuple(b.shape)}."
        )
    grid = [max(sides) for sides in zip(a.shape[1:], b.shape[1:], strict=True)]
    a, b = (_normalised(maps, grid) for maps in (a, b))
    return MapDistance(a - b, jensen_shannon(a.flatten(1), b.flatten(1)), rank_correlation(a, b))


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Compute the Jensen-Shannon divergence of distributions along the last axis, in nats.

    (KL(p ‖ m) + KL(q ‖ m)) / 2 with m = (p + q) / 2: symmetric, from 0 to ln 2. Lin 1991,
    "Divergence Measures Based on the Shannon Entropy".

    >>> jensen_shannon(torch.tensor([0.5, 0.5]), torch.tensor([0.5, 0.5])).item()
    0.0
    """
    middle = (p + q) / 2
    both = torch.xlogy(p, p) + torch.xlogy(q, q) - 2 * torch.xlogy(middle, middle)
    return (both.sum(-1) / 2).clamp(0, math.log(2))


def _normalised(maps: Tensor, grid: list[int]) -> Tensor:
    maps = F.interpolate(maps[:, None].double(), grid, mode="nearest-exact")[:, 0]
    total = maps.sum((1, 2), keepdim=True)
    if not (maps >= 0).all() or not (total > 0).all():
        raise ValueError(
            "Maps are compared as shares of what they hold in all, so none has negative values, "
            "and none is zero everywhere."
        )
    return maps / total
