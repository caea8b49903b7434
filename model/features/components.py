"""Principal components: the directions in which vectors vary most.

Pearson 1901, "On Lines and Planes of Closest Fit to Systems of Points in Space".
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Components:
    """Principal components, found in some vectors and ready to be applied to others.

    A direction's sign is arbitrary: its largest entry is made positive, so that the same vectors
    have the same components each time.
    """

    mean: Tensor
    """The vectors' mean, (d,)."""
    directions: Tensor
    """(k, d), each of length one, the one with the largest variance first."""
    shares: Tensor
    """(k,), the share of the variance along each direction."""

    def coordinates(self, vectors: Tensor) -> Tensor:
        """Compute the coordinates of vectors along the directions: (..., d) -> (..., k)."""
        return ((vectors.double() - self.mean) @ self.directions.T).float()


def find_components(vectors: Tensor, count: int) -> Components:
    """Find the principal components of vectors about their mean.

    Args:
        vectors: (n, d).
        count: how many components to find at most.

    Returns:
        k = min(count, n, d) components in float64.

    Raises:
        ValueError: the vectors are not (n, d), or count is below 1.

    >>> vectors = torch.tensor([[0.0, 0.0], [2.0, 1.0], [4.0, 2.0]])  # on a line
    >>> found = find_components(vectors, 2)
    >>> found.directions.shape, found.shares.round().tolist()
    (torch.Size([2, 2]), [1.0, 0.0])
    """
    if vectors.ndim != 2 or 0 in vectors.shape or count < 1:
        raise ValueError(
            f"Principal components are of n vectors of d numbers each, and at least one: not "
            f"{count} of shape {tuple(vectors.shape)}."
        )
    vectors = vectors.detach().double()
    mean = vectors.mean(0)
    _, sizes, directions = torch.linalg.svd(vectors - mean, full_matrices=False)
    directions = directions[:count]
    largest = directions.abs().argmax(dim=1, keepdim=True)
    sign = directions.gather(1, largest).sign()
    sign[sign == 0] = 1
    shares = sizes.square() / sizes.square().sum().clamp_min(1e-300)
    return Components(mean, directions * sign, shares[:count])


def principal_components(tokens: Tensor, count: int = 3) -> Tensor:
    """Compute the coordinates of tokens along the principal components of all of them together.

    One fit serves all images of the batch, so equal colours mean the same in each of them.

    Args:
        tokens: (B, N, D).
        count: how many components.

    Returns:
        float32 (B, N, count); zeros for components beyond D or B·N. Signs as in `Components`.

    Raises:
        ValueError: the tokens are not (B, N, D), or count is below 1.

    >>> principal_components(torch.rand(2, 9, 5)).shape
    torch.Size([2, 9, 3])
    """
    if tokens.ndim != 3:
        raise ValueError(f"Tokens are of shape (B, N, D), not {tuple(tokens.shape)}.")
    found = find_components(tokens.flatten(0, 1), count).coordinates(tokens)
    return torch.nn.functional.pad(found, (0, count - found.shape[-1]))
