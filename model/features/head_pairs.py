"""The heads of two models that look most alike over an image."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from model.recorded_image import RecordedImage
from model.tokens import TokenLayout

TINY = 1e-300
Head = tuple[int, int]
"""A layer among those that were recorded, and a head in it, both from zero."""


class HeadPair(NamedTuple):
    """A head of one recorded image and a head of another, and how far apart their maps are."""

    a: Head
    b: Head
    divergence: float
    """Jensen-Shannon divergence in nats, the mean over the queries that were compared."""


def closest_heads(a: RecordedImage, b: RecordedImage, queries: int = 32) -> HeadPair:
    """Find the two heads whose maps are most alike, of all heads of two recorded images.

    Maps from the same places are compared: patches, evenly spaced over the image. Attention to
    tokens that are no patch is left out, and each map is divided by its sum; where the grids
    differ, both maps are brought to the finer one, as in `compare_maps`. If `a` and `b` are one
    object, no head is compared with itself.

    Args:
        a, b: two models over one image, or one model over two images, as `record_image` makes them.
        queries: how many places to compare at most.

    Raises:
        ValueError: there is only one head.

    >>> from model import zoo
    >>> from model.datasets import samples
    >>> from model.recorded_image import record_image
    >>> plain = record_image(zoo.load("cifar10-plain"), samples.load("coffee"))
    >>> pair = closest_heads(plain, plain)
    >>> pair.a != pair.b, 0 <= pair.divergence < 0.7
    (True, True)
    """
    places = _even_places(a.layers[0].tokens, b.layers[0].tokens, queries)
    one, other = _maps_from(a, places), _maps_from(b, places)
    grid = tuple(max(sides) for sides in zip(_grid(one), _grid(other), strict=True))
    distances = head_divergences(_shares(one, grid), _shares(other, grid))
    if a is b:
        distances.fill_diagonal_(torch.inf)
    best = int(distances.argmin())
    if not torch.isfinite(distances.flatten()[best]):
        raise ValueError("This model has one head only, so there is no other to compare it with.")
    row, column = divmod(best, distances.shape[1])
    divergence = float(distances[row, column])
    return HeadPair(_heads(a)[row], _heads(b)[column], divergence)


def head_divergences(a: Tensor, b: Tensor) -> Tensor:
    """Compute how far apart the maps of each pair of heads are.

    Args:
        a, b: (heads, queries, patches), from the same queries; each map sums to one.

    Returns:
        float64 (heads of a, heads of b): Jensen-Shannon divergences, means over the queries.

    >>> left, right = torch.tensor([[[1.0, 0.0]]]), torch.tensor([[[0.0, 1.0]], [[1.0, 0.0]]])
    >>> head_divergences(left, right).round(decimals=4).tolist()
    [[0.6931, 0.0]]
    """
    a, b = a.double(), b.double()
    own, other = _entropies(a).mean(1), _entropies(b).mean(1)
    # Jensen-Shannon is the entropy of the middle, less the mean of both: only the middle is of
    # pairs, and it is computed for one head of a at a time.
    middle = torch.stack([_entropies((head + b) / 2).mean(1) for head in a])
    return (middle - (own[:, None] + other) / 2).clamp(0, math.log(2))


def _entropies(shares: Tensor) -> Tensor:
    """Entropy along the last axis, in nats; 0 log 0 is 0."""
    return -(shares * shares.clamp_min(TINY).log()).sum(-1)


def _heads(shown: RecordedImage) -> list[Head]:
    return [(layer, head) for layer, n in enumerate(shown.head_counts) for head in range(n)]


def _even_places(a: TokenLayout, b: TokenLayout, most: int) -> list[tuple[float, float]]:
    """Choose places, as shares of the image's height and width: patches of the coarser grid."""
    rows, columns = min(a.grid, b.grid, key=lambda grid: grid[0] * grid[1])
    count = rows * columns
    chosen = np.linspace(0, count - 1, min(most, count)).round().astype(int)
    return [((i // columns + 0.5) / rows, (i % columns + 0.5) / columns) for i in chosen.tolist()]


def _maps_from(shown: RecordedImage, places: list[tuple[float, float]]) -> list[Tensor]:
    """Compute the maps of each layer from some places: (heads, queries, rows, columns) each."""
    found = []
    for number, layer in enumerate(shown.layers):
        rows, columns = layer.tokens.grid
        tokens = [layer.tokens.index_of(int(y * rows), int(x * columns)) for y, x in places]
        maps = [shown.layer_maps(number, token) for token in tokens]
        found.append(torch.from_numpy(np.stack(maps, axis=1)))
    return found


def _grid(layers: list[Tensor]) -> tuple[int, int]:
    rows, columns = zip(*(maps.shape[2:] for maps in layers), strict=True)
    return max(rows), max(columns)


def _shares(layers: list[Tensor], grid: tuple[int, ...]) -> Tensor:
    """Bring all heads to one grid: (heads, queries, patches), each map summing to one."""
    fine = [F.interpolate(maps.double(), grid, mode="nearest-exact") for maps in layers]
    maps = torch.cat(fine).flatten(2)
    total = maps.sum(-1, keepdim=True)
    # A head that looks at no patch from some place looks nowhere in particular.
    return torch.where(total > 0, maps / total, 1 / maps.shape[-1])
