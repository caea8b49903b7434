"""Groups of alike vectors, by k-means."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from torch import Tensor
from torch.nn import functional as F

STARTS = 8
"""How often k-means starts anew from other points. The best run counts."""
ROUNDS = 50


def group_tokens(tokens: Tensor, count: int, seed: int = 0) -> Tensor:
    """Group tokens by k-means on their directions, all images of the batch together.

    Vectors are brought to length one first, so alike means what it means for `similarity`. Of
    several runs, each begun as in Arthur and Vassilvitskii 2007 ("k-means++: The Advantages of
    Careful Seeding"), the one with the smallest distances counts.

    Args:
        tokens: (B, N, D).
        count: how many groups.
        seed: of the starting points; the same seed finds the same groups.

    Returns:
        int64 (B, N), the number of each token's group; group 0 is the largest.

    Raises:
        ValueError: count is below 1, or there are fewer tokens.

    >>> tokens = torch.tensor([[[1.0, 0.0], [2.0, 0.1], [0.0, 1.0], [3.0, 0.0]]])
    >>> group_tokens(tokens, count=2)
    tensor([[0, 0, 1, 0]])
    """
    vectors = F.normalize(tokens.flatten(0, 1).double(), dim=1).numpy(force=True)
    if not 1 <= count <= len(vectors):
        raise ValueError(f"{len(vectors)} tokens cannot make {count} groups.")
    random = np.random.default_rng(seed)
    runs = [_run(vectors, count, random) for _ in range(STARTS)]
    _, labels = min(runs, key=lambda run: run[0])
    by_size = np.argsort(-np.bincount(labels, minlength=count), kind="stable")
    rank = np.empty(count, dtype=np.int64)
    rank[by_size] = np.arange(count)
    return torch.from_numpy(rank[labels]).view(tokens.shape[:2])


def _run(vectors: np.ndarray, count: int, random: np.random.Generator) -> tuple[float, np.ndarray]:
    """Return the sum of squared distances to the groups' means, and each vector's group."""
    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", UserWarning)  # groups are empty where vectors are equal
        means, labels = kmeans2(vectors, count, iter=ROUNDS, minit="++", rng=random)
    return float(((vectors - means[labels]) ** 2).sum()), labels
