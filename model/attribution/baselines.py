"""What stands in for a part of a picture that is taken away."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from model.tokens import TokenLayout

BASELINES = ("blurred", "zeroed")


def baseline(images: Tensor, kind: str, layout: TokenLayout) -> Tensor:
    """Pictures (B, C, H, W) that tell the net nothing, or little, about `images`.

    "zeroed": zero after normalisation, the mean colour of the training pictures. "blurred": the
    picture itself, blurred by a Gaussian as wide as a patch (its standard deviation), so that
    colours stay and details go. Neither is neutral: a grey square is also something to see.
    Raises ValueError for another kind.
    """
    if kind == "zeroed":
        return torch.zeros_like(images)
    if kind == "blurred":
        return blur(images, max(layout.patch))
    raise ValueError(f"There is no baseline {kind!r}: choose {' or '.join(BASELINES)}.")


def blur(images: Tensor, sigma: float) -> Tensor:
    """A Gaussian of `sigma` pixels, cut at three; the border's pixels go on outside."""
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
