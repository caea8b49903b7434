"""Test whether a map lies on the object, given a box or a mask that somebody drew.

Compare every figure with chance: a random map points into a box as often as the box's share of
the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from model.attribution.metrics.faithfulness import patch_ranks


def mass_mask(maps: Tensor, mass: float = 0.6) -> Tensor:
    """Mask the fewest patches that together hold at least `mass` of the map: bool like `maps`.

    Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers" (DINO), with
    0.6, for the attention of the class token. `maps` is (B, rows, columns). A map of zeros has an
    empty mask. Raises ValueError unless mass is a share.
    """
    if not 0 < mass <= 1:
        raise ValueError(f"mass={mass} is not a share above 0 and at most 1.")
    flat = maps.flatten(1).double()
    values, order = flat.sort(dim=1, descending=True)
    before = values.cumsum(1) - values
    # Rounding must not ask for one patch more.
    wanted = mass * flat.sum(1, keepdim=True) * (1 - 1e-6)
    chosen = (before < wanted) & (values > 0)
    return torch.zeros_like(chosen).scatter_(1, order, chosen).view(maps.shape)


def box_mask(
    boxes: Tensor, size: Sequence[float], grid: Sequence[int], least: float = 0.5
) -> Tensor:
    """Mask the patches whose area a box covers by `least` or more: bool (B, rows, columns).

    Arguments as for `box_cover`.
    """
    return box_cover(boxes, size, grid) >= least


def box_cover(boxes: Tensor, size: Sequence[float], grid: Sequence[int]) -> Tensor:
    """Compute the share of each patch that a box covers: float64 (B, rows, columns).

    `boxes` (B, 4): left, top, right, bottom in pixels of a picture of `size` (height, width),
    the right and the bottom edge outside the box.
    """
    covered = torch.ones(len(boxes), *grid, dtype=torch.float64)
    for axis, (low, high) in enumerate(((1, 3), (0, 2))):
        step = size[axis] / grid[axis]
        start = torch.arange(grid[axis], dtype=torch.float64) * step
        first, last = boxes[:, low, None].double(), boxes[:, high, None].double()
        share = (last.minimum(start + step) - first.maximum(start)).clamp_min(0) / step
        covered *= share[:, :, None] if axis == 0 else share[:, None, :]
    return covered


def peak_inside(maps: Tensor, boxes: Tensor, size: Sequence[float]) -> Tensor:
    """Play the pointing game: does the middle of the highest patch lie in the box? bool (B,).

    Zhang et al. 2016, "Top-down Neural Attention by Excitation Backprop". Of several equally high
    patches the first counts; an empty map, zero everywhere, points nowhere.

    `boxes` (B, 4) as in `box_mask`, in a picture of `size` (height, width).
    """
    rows, columns = maps.shape[1:]
    peak = maps.flatten(1).argmax(1).cpu()
    x = (peak % columns + 0.5) * size[1] / columns
    y = (peak // columns + 0.5) * size[0] / rows
    return points_inside(torch.stack((x, y), 1), boxes) & maps.flatten(1).any(1).cpu()


def points_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Test whether each point (B, 2), x and y, lies in its box (B, 4): bool (B,)."""
    return ((boxes[:, :2] <= points) & (points < boxes[:, 2:])).all(1)


def iou_at_share(maps: Tensor, masks: Tensor) -> Tensor:
    """Compare each mask with as many of the map's highest patches as it has: IoU, float64 (B,).

    So no threshold has to be chosen. `chance_iou` is the mean for random maps.
    """
    return iou(patch_ranks(maps) < masks.flatten(1).sum(1, keepdim=True), masks)


def chance_iou(chosen: int, patches: int) -> float:
    """Compute the mean IoU of two sets of `chosen` out of `patches`, one of them random."""
    if chosen == 0:
        return 0.0
    ways = math.comb(patches, chosen)
    return sum(
        math.comb(chosen, both) * math.comb(patches - chosen, chosen - both) / ways
        * both / (2 * chosen - both)
        for both in range(1, chosen + 1)
    )  # fmt: skip


def iou(ours: Tensor, theirs: Tensor) -> Tensor:
    """Divide intersection by union of masks (B, rows, columns): float64 (B,), 0 if both empty."""
    ours, theirs = ours.flatten(1), theirs.flatten(1)
    union = (ours | theirs).sum(1).double()
    return (ours & theirs).sum(1) / union.clamp_min(1)
