"""Find the object of a photo without labels: a cut of the graph of alike patches.

Wang et al. 2022, "Self-Supervised Transformers for Unsupervised Object Discovery using Normalized
Cut" (TokenCut).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy import linalg, ndimage
from torch import Tensor
from torch.nn import functional as F

from model.features.components import find_components

ALIKE = 0.2
"""The cosine above which TokenCut joins two patches."""
APART = 1e-5
"""The weight of all other pairs, so that the graph stays in one piece."""


def second_eigenvector(keys: Tensor, alike: float = ALIKE) -> Tensor:
    """Compute TokenCut's eigenvector of each image: float64 (B, N).

    W has 1 for pairs of patches whose cosine is above `alike`, `APART` for the others, and D the
    sums of its rows. The result is the second smallest generalised eigenvector of
    (D - W) y = λ D y, with yᵀ D y = 1 and its largest entry positive. Its cost grows with N³.

    Args:
        keys: (B, N, D), the patches' keys of the last layer, all heads side by side, as
            `patch_features(net, images, part="keys")` returns them.
    """
    unit = F.normalize(keys.double(), dim=-1)
    weights = (unit @ unit.mT > alike).double().clamp_min(APART)
    vectors = torch.from_numpy(np.stack([_second_of(w.numpy(force=True)) for w in weights]))
    peak = vectors.abs().argmax(1, keepdim=True)
    return vectors * vectors.gather(1, peak).sign()


def token_cut_mask(keys: Tensor, grid: tuple[int, int], alike: float = ALIKE) -> Tensor:
    """Mask the object of each image: bool (B, rows, columns).

    The eigenvector is cut at its mean. The object is the side that holds its largest absolute
    entry, and of this side the connected part around that entry.

    >>> keys = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]])
    >>> token_cut_mask(keys, grid=(2, 2)).int().tolist()
    [[[1, 0], [0, 0]]]
    """
    return _connected_peak(second_eigenvector(keys, alike), grid)


def first_component_mask(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mask the side of each image's first principal component that looks like an object.

    As in DINOv2's notebooks the first component is cut at its mean, image by image. Its sign is
    arbitrary, so the object is taken to be the side that holds the smaller share of the border.

    Args:
        tokens: (B, N, D), patch tokens.
        grid: their rows and columns.

    Returns:
        bool (B, rows, columns).
    """
    first = [find_components(image, 1).coordinates(image)[:, 0] for image in tokens]
    sides = torch.stack(first).unflatten(1, grid) > 0
    border = torch.ones(grid, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    mostly = sides[:, border].double().mean(1) > 0.5
    return sides ^ mostly[:, None, None]


def _second_of(weights: np.ndarray) -> np.ndarray:
    degrees = np.diag(weights.sum(1))
    return linalg.eigh(degrees - weights, degrees, subset_by_index=(1, 1))[1][:, 0]


def _connected_peak(values: Tensor, grid: tuple[int, int]) -> Tensor:
    """Mask the patches above an image's mean that are connected with its highest one."""
    masks = []
    for image in values:
        parts, _ = ndimage.label((image > image.mean()).view(grid).numpy())
        masks.append(torch.from_numpy(parts == parts.flat[int(image.argmax())]))
    return torch.stack(masks)
