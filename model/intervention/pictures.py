"""Hide and exchange patches in prepared images (B, C, H, W)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from model.errors import InterventionRefused
from model.preprocessing import blur
from model.tokens import TokenLayout, patchify, unpatchify

FILLS = ("mean", "blur")


def check_patches(patches: Sequence[int], layout: TokenLayout) -> None:
    """Raise InterventionRefused for a patch outside the grid."""
    if outside := [patch for patch in patches if not 0 <= patch < layout.patches]:
        rows, columns = layout.grid
        raise InterventionRefused(
            f"There is no patch {outside[0]}: the picture has {rows} x {columns} patches, counted "
            f"row by row from 0 to {layout.patches - 1}."
        )


def fill_of(images: Tensor, hide: str | Tensor, layout: TokenLayout) -> Tensor:
    """Make the images (B, C, H, W) from which hidden patches take their pixels.

    "mean" is the mean colour of each image, channel by channel. "blur" is the image behind frosted
    glass: a Gaussian with a standard deviation of one patch. Images take the patch of a second
    photo.
    """
    if isinstance(hide, Tensor):
        if hide.shape[-3:] != images.shape[-3:]:
            raise InterventionRefused(
                f"The second photo is {tuple(hide.shape[-3:])}, and the first "
                f"{tuple(images.shape[-3:])}: prepare both with the same model."
            )
        return hide.to(images).expand_as(images)
    if hide == "mean":
        return images.mean((-2, -1), keepdim=True).expand_as(images)
    if hide == "blur":
        return blur(images, max(layout.patch))
    raise InterventionRefused(
        f"Patches cannot be hidden by {hide!r}: choose {', '.join(FILLS)}, 'remove', or prepared "
        "images."
    )


def hide_patches(
    images: Tensor, patches: Sequence[int], layout: TokenLayout, hide: str | Tensor = "mean"
) -> Tensor:
    """Hide patches of images (B, C, H, W): put the pixels that `fill_of` chooses in their place.

    Zeiler & Fergus 2014, "Visualizing and Understanding Convolutional Networks" (occlusion).

        >>> layout = TokenLayout(grid=(1, 2), patch=(1, 1))
        >>> hide_patches(torch.tensor([[[[2.0, 4.0]]]]), [0], layout)
        tensor([[[[3., 4.]]]])
    """
    check_patches(patches, layout)
    hidden = torch.zeros(layout.patches, dtype=torch.bool)
    hidden[list(patches)] = True
    pixels = layout.as_pixels(hidden.reshape(layout.grid).int(), *images.shape[-2:]).bool()
    return torch.where(pixels.to(images.device), fill_of(images, hide, layout), images)


def exchange_patches(
    images: Tensor, pairs: Sequence[tuple[int, int]], layout: TokenLayout
) -> Tensor:
    """Exchange the pixels of two patches, pair after pair, in images (B, C, H, W).

    >>> layout = TokenLayout(grid=(1, 2), patch=(1, 1))
    >>> exchange_patches(torch.tensor([[[[2.0, 4.0]]]]), [(0, 1)], layout)
    tensor([[[[4., 2.]]]])
    """
    check_patches([patch for pair in pairs for patch in pair], layout)
    order = list(range(layout.patches))
    for first, second in pairs:
        order[first], order[second] = order[second], order[first]
    moved = images.clone()
    patches = patchify(layout.covered(images), layout.patch)[:, order]
    layout.covered(moved).copy_(unpatchify(patches, layout.patch, layout.grid))
    return moved
