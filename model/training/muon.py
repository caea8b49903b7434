"""Muon: steps of equal size in every direction of a weight matrix.

Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks".
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.775, 2.0315)
STEPS = 5


class Muon(torch.optim.AdamW):
    """Muon for parameter groups with `orthogonal=True`, AdamW for the others.

    One learning rate serves both: a matrix's step is scaled to the typical size of AdamW's
    (Liu et al. 2025, "Muon is Scalable for LLM Training"). Filters count as matrices, a row each.

    torch.optim.Muon does the same in bfloat16, which a CPU without bfloat16 only imitates, some
    twenty times slower; this one keeps the gradient's own precision.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step for all groups; `closure` as in every optimiser of torch."""
        for group in self.param_groups:
            if group.get("orthogonal"):
                self._step_matrices(group)
        return super().step(closure)

    def _step_matrices(self, group: dict[str, Any]) -> None:
        """Step matrices of one shape together, since a GPU is slow to start and then fast."""
        alike: dict[torch.Size, list[Tensor]] = defaultdict(list)
        for weight in group["params"]:
            if weight.grad is not None:
                alike[weight.shape].append(weight)
        for weights in alike.values():
            ahead = torch.stack(self._ahead(weights)).flatten(2)
            directions = orthogonalise(ahead).reshape(len(weights), *weights[0].shape)
            step = group["lr"] * 0.2 * max(ahead.shape[1:]) ** 0.5
            torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(weights, directions.unbind(), alpha=-step)
            for weight in weights:
                weight.grad = None  # so that AdamW skips it

    def _ahead(self, weights: list[Tensor]) -> list[Tensor]:
        """Compute the gradients with Nesterov momentum."""
        for weight in weights:
            if not self.state[weight]:  # AdamW looks for "step" in whatever state it loads
                self.state[weight] = {
                    "step": torch.tensor(0.0),
                    "momentum": torch.zeros_like(weight),
                }
            self.state[weight]["step"] += 1
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        momenta = [self.state[weight]["momentum"] for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        return list(torch._foreach_lerp(gradients, momenta, MOMENTUM))


def orthogonalise(matrices: Tensor) -> Tensor:
    """Approximate U Vᵀ for each matrix U S Vᵀ of (B, M, N): singular values from 0.7 to 1.2.

    Five steps of a Newton-Schulz iteration, X <- (a + b G + c G²) X with G = X Xᵀ.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    wide = x.shape[-1] >= 2 * x.shape[-2]
    x = _by_gram(x @ x.mT) @ x if wide else _by_steps(x)
    return x.mT if tall else x


def _by_steps(x: Tensor) -> Tensor:
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, _rest(gram), x, beta=COEFFICIENTS[0])
    return x


def _by_gram(gram: Tensor) -> Tensor:
    """Compute the matrix that all steps multiply x by, from x xᵀ alone: cheaper for wide x."""
    step = factor = _whole(gram)
    for _ in range(STEPS - 1):
        gram = step @ gram @ step
        step = _whole(gram)
        factor = step @ factor
    return factor


def _rest(gram: Tensor) -> Tensor:
    """b G + c G²"""
    _, b, c = COEFFICIENTS
    return torch.baddbmm(gram, gram, gram, beta=b, alpha=c)


def _whole(gram: Tensor) -> Tensor:
    """a + b G + c G²"""
    step = _rest(gram)
    step.diagonal(dim1=1, dim2=2).add_(COEFFICIENTS[0])
    return step
