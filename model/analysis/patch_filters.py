"""Find the filters with which a model embeds its patches."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from model.nets.patch_embedding import LinearPatches
from model.tokens import TokenLayout


@dataclass(frozen=True)
class PatchFilters:
    """One filter for each dimension of the patch embedding."""

    weight: Tensor
    """(D, C, height, width)"""
    name: str
    """The name of the layer in the net."""
    whole: bool
    """Whether a filter spans a whole patch. Otherwise (a stem of small convolutions) it is the
    first of several steps."""


def find_patch_filters(net: nn.Module, layout: TokenLayout) -> PatchFilters | None:
    """Find the filters of the first layer that reads pixels; None where none is recognised.

    The layer is `LinearPatches`, or the first convolution. In both cases a filter looks like the
    patch to which it responds most.
    """
    for name, module in net.named_modules():
        if isinstance(module, LinearPatches):
            weight = _apply_norm(module.proj.weight, module.norm_pixels).detach()
            return PatchFilters(
                weight.unflatten(1, (-1, module.patch, module.patch)), f"{name}.proj", True
            )
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach().float()
            whole = module.kernel_size == layout.patch == module.stride
            return PatchFilters(weight, name, whole)
    return None


def _apply_norm(weight: Tensor, norm: nn.Module) -> Tensor:
    """Combine the filters (D, n) with the LayerNorm of the pixels before them.

    The norm subtracts the patch's mean and multiplies each pixel by its own factor; the filter
    takes both in. It also divides by the patch's deviation, which no filter can show.
    """
    if not isinstance(norm, nn.LayerNorm):
        return weight
    scaled = weight * norm.weight
    return scaled - scaled.mean(dim=1, keepdim=True)
