"""Sharpness-aware minimisation: learn what holds for the weights around, too.

Foret et al. 2021, "Sharpness-Aware Minimization for Efficiently Improving Generalization".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def uphill(net: nn.Module, radius: float) -> Iterator[None]:
    """`net` where the loss is highest within `radius` (L2, all weights together), to first order.

    Goes up along the gradients that the weights hold, and forgets these; a gradient taken inside
    is the one to step by. The weights come back as they were.
    """
    weights = [weight for weight in net.parameters() if weight.grad is not None]
    gradients = [weight.grad for weight in weights]
    before = [weight.detach().clone() for weight in weights]
    with torch.no_grad():
        length = nn.utils.get_total_norm(gradients).clamp(min=1e-12)
        torch._foreach_add_(weights, torch._foreach_mul(gradients, radius / length))
    net.zero_grad()
    try:
        yield
    finally:
        with torch.no_grad():
            torch._foreach_copy_(weights, before)
