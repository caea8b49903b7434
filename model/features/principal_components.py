"""Principal components: the directions in which vectors vary most."""

from __future__ import annotations

import torch
from torch import Tensor


def principal_components(vectors: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the principal components of vectors about their mean.

    Pearson 1901, "On Lines and Planes of Closest Fit to Systems of Points in Space".

    Args:
        vectors: (n, d).
        count: how many components to return at most.

    Returns:
        Directions (k, d) of length one, the vectors' coordinates (n, k), and each direction's share
        of the variance (k,), the largest first; all float32, with k = min(count, n, d). A
        direction's sign is arbitrary: its largest entry is made positive.

    Raises:
        ValueError: the vectors are not (n, d), or count is below 1.

    >>> vectors = torch.tensor([[0.0, 0.0], [2.0, 1.0], [4.0, 2.0]])  # on a line
    >>> directions, coordinates, shares = principal_components(vectors, 2)
    >>> directions.shape, coordinates.shape, shares.round().tolist()
    (torch.Size([2, 2]), torch.Size([3, 2]), [1.0, 0.0])
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
