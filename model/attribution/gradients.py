"""Attribution by gradients alone, for a class and for a word alike, and what its readers share."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.attribution.baselines import baseline
from model.attribution.trace import Trace

TOKENS = 1300  # on the way back at a time: 1 GiB for a ViT-B


# -- gradients without attention ------------------------------------------------------------------


def token_gradcam(trace: Trace) -> Tensor:
    """relu(Σ_d w_d F_d), with w = mean over the patches of ∂y/∂F.

    Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization", where F is what goes into the last attention layer, channel by channel.
    """
    features, gradient = (
        _feature_maps(trace, trace.tokens),
        _feature_maps(trace, trace.token_gradient),
    )
    importance = gradient.mean((2, 3), keepdim=True)
    relevance = (importance * features).sum(1).relu()
    return F.interpolate(relevance[:, None], trace.layout.grid, mode="nearest-exact")[:, 0]


def input_gradient(trace: Trace) -> Tensor:
    """|∂y/∂x|, the largest over a pixel's channels, mean over a patch's pixels.

    Simonyan, Vedaldi & Zisserman 2014, "Deep Inside Convolutional Networks".
    """
    return _pixels(trace, trace.image_gradient.abs().amax(1))


def integrated_gradients(trace: Trace, baseline: str = "zeroed", steps: int = 10) -> Tensor:
    """relu of a patch's sum of (x − x0) ∫ ∂y/∂x, along the straight line from x0 to x.

    Sundararajan, Taly & Yan 2017, "Axiomatic Attribution for Deep Networks". x0 is one of
    `model.attribution.baselines`. Patches that lower the score show as zero.
    """
    return _pixels(trace, integrated_pixels(trace, baseline, steps).sum(1)).relu()


def integrated_pixels(trace: Trace, start: str = "zeroed", steps: int = 10) -> Tensor:
    """Integrated gradients (B, C, H, W), signed: they sum to y(x) − y(x0), but for the steps.

    The integral is a Gauss-Legendre sum of `steps` points, so few of them go far.
    """
    end = trace.images
    origin = baseline(end, start, trace.layout)
    nodes, shares = (torch.from_numpy(v).to(end) for v in np.polynomial.legendre.leggauss(steps))
    places = (nodes + 1) / 2
    total = torch.zeros_like(end)
    together = max(1, TOKENS // (len(end) * trace.layout.tokens))
    for place, share in zip(places.split(together), (shares / 2).split(together), strict=True):
        weight = share[:, None, None, None, None]
        points = origin + place[:, None, None, None, None] * (end - origin)  # (points, B, C, H, W)
        points.requires_grad_()
        with torch.enable_grad():
            answers = trace.net(points.flatten(0, 1)).chunk(len(points))
            y = sum(trace.score(answer).sum() for answer in answers)
        total += (weight * torch.autograd.grad(y, points)[0]).sum(0)
    return total * (end - origin)


# -- for comparison -------------------------------------------------------------------------------


def random_map(trace: Trace, seed: int = 0) -> Tensor:
    """Numbers that know nothing, the same for every image: what a method has to be better than."""
    values = torch.rand(trace.layout.grid, generator=torch.Generator().manual_seed(seed))
    return values.expand(len(trace.images), -1, -1).to(trace.images.device)


# -- from tokens to patches -----------------------------------------------------------------------


def mean_over_readers(trace: Trace, rows: Tensor) -> Tensor:
    """Rows of the tokens that are read, (B, ..., q, N) -> their mean, (B, ..., N)."""
    return torch.einsum("bq,b...qn->b...n", trace.readout_weights[:, trace.readout_tokens], rows)


def row_times(row: Tensor, matrix: Tensor) -> Tensor:
    """(B, N) times (B, N, N) -> (B, N)"""
    return (row[:, None] @ matrix)[:, 0]


def patch_map(trace: Trace, values: Tensor) -> Tensor:
    """(B, N) -> (B, rows, columns), without the prefix tokens."""
    return values[:, trace.layout.patch_slice].unflatten(1, trace.layout.grid)


def _pixels(trace: Trace, values: Tensor) -> Tensor:
    """(B, H, W) -> (B, rows, columns), the mean of each patch."""
    return F.adaptive_avg_pool2d(trace.layout.covered(values), trace.layout.grid)


def _feature_maps(trace: Trace, tokens: Tensor) -> Tensor:
    """What goes into the last attention layer as feature maps, (B, D, rows, columns).

    Windowed layers are given (B, rows, columns, D), or their windows one by one.
    """
    windows = trace.records[-1].windows
    if tokens.ndim == 4:
        return tokens.permute(0, 3, 1, 2)
    if windows is not None and len(tokens) == len(trace.images) * windows.count:
        return windows.join(tokens.unflatten(0, (-1, windows.count)).permute(0, 3, 1, 2))
    patches = tokens[:, trace.layout.patch_slice]
    return patches.mT.unflatten(2, trace.layout.grid)
