"""Baselines: pictures that replace the patches that are taken away."""

from __future__ import annotations

import torch
from torch import Tensor

from model.preprocessing import blur
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
