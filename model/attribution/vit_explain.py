"""Reproduce the figures of the tool vit-explain, faults included, for comparison with old figures.

Most published rollout pictures come from vit-explain (Gildenblat 2020, "Exploring Explainability
for Vision Transformers"). Four of its faults shape its pictures, and are reproduced here:

1. Weak attention is discarded over the *whole* N x N matrix, int(N² · discard) values, and only
   the very first entry is safe: a row can lose everything but its skip connection.
2. Rows are to be normalised, but the row sums lie along the wrong axis: every *column* j is
   divided by the sum of row j, and rows no longer sum to one.
3. Gradients are collected on the way back, from the last layer to the first, and paired with
   attention in forward order: layer l meets the gradient of layer L + 1 − l.
4. In eval mode its hook delivers the gradient of the scores before the softmax, not of A.

A fifth is not: its lists are never emptied, so a second picture is mixed with the first.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.recording.rollout import fuse

TOOLS = ("vit-explain",)


def vit_explain_rollout(
    weights: Sequence[Tensor], fusion: str = "mean", discard: float = 0.9
) -> Tensor:
    """Roll out maps (B, H, N, N), first layer first -> (B, N − 1), the largest value one.

    The result goes from the first token to all others, prefix tokens among them.
    """
    return _mask([fuse(layer, fusion) for layer in weights], discard)


def vit_explain_gradient_rollout(
    weights: Sequence[Tensor], gradients: Sequence[Tensor], discard: float = 0.9
) -> Tensor:
    """Roll out A and ∂y/∂A, (B, H, N, N) each -> (B, N − 1), the largest value one."""
    backward = reversed([_before_softmax(a, g) for a, g in zip(weights, gradients, strict=True)])
    return _mask([(a * g).mean(1).relu() for a, g in zip(weights, backward, strict=True)], discard)


def _before_softmax(weights: Tensor, gradient: Tensor) -> Tensor:
    """∂y/∂scores from A = softmax(scores) and ∂y/∂A."""
    return weights * (gradient - (weights * gradient).sum(-1, keepdim=True))


def _mask(fused: Sequence[Tensor], discard: float) -> Tensor:
    tokens = fused[0].shape[-1]
    result = torch.eye(tokens, device=fused[0].device)
    for layer in fused:
        mixed = (_discard(layer, discard) + torch.eye(tokens, device=layer.device)) / 2
        mixed = mixed / mixed.sum(-1)[:, None, :]  # the row sums, along the columns
        result = mixed @ result
    mask = result[:, 0, 1:]
    return mask / mask.amax(-1, keepdim=True).clamp_min(1e-30)  # it may have lost everything


def _discard(fused: Tensor, share: float) -> Tensor:
    """(B, N, N) with its int(N² · share) smallest values zero, but never the first one."""
    flat = fused.flatten(1).clone()
    smallest = flat.topk(int(flat.shape[1] * share), largest=False).indices
    first = flat[:, :1].clone()
    flat.scatter_(1, smallest, 0.0)
    flat[:, :1] = first
    return flat.view_as(fused)
