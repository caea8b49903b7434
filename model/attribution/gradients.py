"""Attribution methods that need no attention: gradients, for a class and for a word alike."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.attribution.baselines import make_baseline
from model.attribution.trace import Trace
from model.errors import MethodUnsuitable
from model.image_layers import fit_layout

TOKENS = 1300  # in one backward pass: 1 GiB for a ViT-B


def token_gradcam(trace: Trace) -> Tensor:
    """Compute relu(Σ_d w_d F_d), where w is the mean of ∂y/∂F over the patches.

    Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
    Localization", where F is the input of the last attention layer, channel by channel.
    """
    features = _feature_maps(trace, trace.tokens)
    gradient = _feature_maps(trace, trace.token_gradient)
    importance = gradient.mean((2, 3), keepdim=True)
    relevance = (importance * features).sum(1).relu()
    return F.interpolate(relevance[:, None], trace.layout.grid, mode="nearest-exact")[:, 0]


def input_gradient(trace: Trace) -> Tensor:
    """Compute |∂y/∂x|: the largest of a pixel's channels, averaged over a patch's pixels.

    Simonyan, Vedaldi & Zisserman 2014, "Deep Inside Convolutional Networks".
    """
    return _mean_of_pixels(trace, trace.image_gradient.abs().amax(1))


def integrated_gradients(trace: Trace, baseline: str = "zeroed", steps: int = 10) -> Tensor:
    """Compute relu((x − x0) ∫ ∂y/∂x) of each patch, along the straight line from x0 to x.

    Sundararajan, Taly & Yan 2017, "Axiomatic Attribution for Deep Networks". x0 is one of
    `model.attribution.baselines`. Patches that lower the score show as zero.
    """
    return _mean_of_pixels(trace, integrated_pixels(trace, baseline, steps).sum(1)).relu()


def integrated_pixels(trace: Trace, start: str = "zeroed", steps: int = 10) -> Tensor:
    """Integrate gradients from x0 to x: signed (B, C, H, W), whose sum approaches y(x) − y(x0).

    The integral is a Gauss-Legendre sum, which is accurate with a few `steps`.
    """
    end = trace.images
    origin = make_baseline(end, start, trace.layout)
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
            y = torch.stack([trace.score(answer).sum() for answer in answers]).sum()
        total += (weight * torch.autograd.grad(y, points)[0]).sum(0)
    return total * (end - origin)


def random_map(trace: Trace, seed: int = 0) -> Tensor:
    """Draw random values, the same for every image: a method has to do better than these."""
    values = torch.rand(trace.layout.grid, generator=torch.Generator().manual_seed(seed))
    return values.expand(len(trace.images), -1, -1).to(trace.images.device)


def _mean_of_pixels(trace: Trace, values: Tensor) -> Tensor:
    """Average the pixels of each patch: (B, H, W) -> (B, rows, columns)."""
    return F.adaptive_avg_pool2d(trace.layout.covered(values), trace.layout.grid)


def _feature_maps(trace: Trace, tokens: Tensor) -> Tensor:
    """Arrange the input of the last attention layer as feature maps, (B, D, rows, columns).

    The input of a windowed layer is (B, rows, columns, D), or its windows one by one.
    """
    windows = trace.records[-1].windows
    if tokens.ndim == 4:
        return tokens.permute(0, 3, 1, 2)
    if windows is not None and len(tokens) == len(trace.images) * windows.count:
        return windows.join(tokens.unflatten(0, (-1, windows.count)).permute(0, 3, 1, 2))
    own = fit_layout(tokens.shape[1], trace.layout)
    if own is None:
        raise MethodUnsuitable(
            f"The last layer that attends is given {tokens.shape[1]} tokens, which are no grid of "
            "the picture: the method needs its patches."
        )
    return tokens[:, own.patch_slice].mT.unflatten(2, own.grid)
