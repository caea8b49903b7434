"""Baselines: pictures that replace the patches that are taken away."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from model.tokens import TokenLayout

BASELINES = ("blurred", "zeroed")


def make_baseline(images: Tensor, kind: str, layout: TokenLayout) -> Tensor:
    """Make pictures (B, C, H, W) that show the net little or nothing of `images`.

    "zeroed": zero after normalisation, the mean colour of the training pictures. "blurred": the
    picture itself, blurred by a Gaussian whose standard deviation is the width of a patch, so that
    colours stay and details go. Neither is neutral: a net may recognise a grey square, too.
    Raises ValueError for another kind.
    """
    if kind == "zeroed":
        return torch.zeros_like(images)
    if kind == "blurred":
        return blur(images, max(layout.patch))
    raise ValueError(f"There is no baseline {kind!r}: choose {' or '.join(BASELINES)}.")


def blur(images: Tensor, sigma: float) -> Tensor:
    """Blur by a Gaussian of `sigma` pixels, cut off at 3 sigma; border pixels repeat outside."""
    reach = math.ceil(3 * sigma)
    steps = torch.arange(-reach, reach + 1, dtype=images.dtype, device=images.device)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel = kernel / kernel.sum()
    channels = images.shape[1]
    for shape, padding in (((-1, 1), (0, 0, reach, reach)), ((1, -1), (reach, reach, 0, 0))):
        weight = kernel.reshape(1, 1, *shape).expand(channels, -1, -1, -1)
        padded = F.pad(images, padding, mode="replicate")
        images = F.conv2d(padded, weight, groups=channels)
    return images
