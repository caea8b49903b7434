"""Principal components: the directions in which vectors differ most."""

from __future__ import annotations

import torch
from torch import Tensor


def principal_components(vectors: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Directions, coordinates and shares of the variance of (n, d) vectors about their mean.

    Returns float32 (k, d) directions of length one, (n, k) coordinates, and (k,) shares, the
    largest first, with k = min(count, n, d). A direction's sign is arbitrary; here its largest
    entry is positive. Raises ValueError for vectors that are not (n, d).
    """
    if vectors.ndim != 2 or 0 in vectors.shape or count < 1:
        raise ValueError(
            f"Principal components are of n vectors of d numbers each, and at least one: not "
            f"{count} of shape {tuple(vectors.shape)}."
        )
    centred = vectors.detach().double()
    centred = centred - centred.mean(0)
    left, sizes, right = torch.linalg.svd(centred, full_matrices=False)
    left, right = left[:, :count], right[:count]
    largest = right.abs().argmax(dim=1, keepdim=True)
    sign = right.gather(1, largest).sign()
    sign[sign == 0] = 1
    shares = sizes.square() / sizes.square().sum().clamp_min(1e-300)
    coordinates = left * sizes[:count] * sign.T
    return (right * sign).float(), coordinates.float(), shares[:count].float()
