"""Muon: steps of equal size in every direction of a weight matrix.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
"""

from __future__ import annotations

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.775, 2.0315)
STEPS = 5


class Muon(torch.optim.AdamW):
    """Muon for parameter groups with `orthogonal=True`, AdamW for the others.

    One learning rate serves both: a matrix's step is scaled to the size of a usual step of AdamW
    (Liu et al. 2025, "Muon is Scalable for LLM Training"). Filters count as matrices, a row each.

    torch.optim.Muon does the same in bfloat16, which a CPU without bfloat16 only imitates, some
    twenty times slower; this one keeps the gradient's own precision.
    """

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            if group.get("orthogonal"):
                self._step_matrices(group)
        return super().step(closure)

    def _step_matrices(self, group: dict) -> None:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:  # AdamW looks for "step" in whatever state it loads
                state.update(step=torch.tensor(0.0), momentum=torch.zeros_like(weight))
            state["step"] += 1
            momentum = state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
            ahead = weight.grad.lerp(momentum, MOMENTUM).flatten(1)
            size = 0.2 * max(ahead.shape) ** 0.5
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.sub_(group["lr"] * size * orthogonal(ahead).view_as(weight))
            weight.grad = None  # AdamW passes by what has no gradient


def orthogonal(matrix: Tensor) -> Tensor:
    """Roughly U Vᵀ for a matrix U S Vᵀ: its singular values all near 1 (0.7 to 1.2).

    Five steps of a Newton-Schulz iteration, X <- (a + b G + c G²) X with G = X Xᵀ.
    """
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / x.norm().clamp(min=1e-7)
    wide = x.shape[1] >= 2 * x.shape[0]
    x = _by_gram(x @ x.T) @ x if wide else _by_steps(x)
    return x.T if tall else x


def _by_steps(x: Tensor) -> Tensor:
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _by_gram(gram: Tensor) -> Tensor:
    """What the steps multiply x by, from x xᵀ alone: cheaper where x is wide."""
    a, b, c = COEFFICIENTS
    identity = torch.eye(len(gram), device=gram.device, dtype=gram.dtype)
    factor = identity
    for _ in range(STEPS):
        step = torch.addmm(gram, gram, gram, beta=b, alpha=c).add_(identity, alpha=a)
        factor = step @ factor
        gram = step @ gram @ step
    return factor
