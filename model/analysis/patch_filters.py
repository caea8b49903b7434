"""The filters with which a model reads its patches."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from model.nets.patch_embedding import LinearPatches
from model.tokens import TokenLayout


@dataclass(frozen=True)
class PatchFilters:
    """One filter for each dimension that a patch becomes.

    `whole`: a filter spans the whole patch. Where it does not (a stem of small convolutions),
    it is the first of several steps.
    """

    weight: Tensor  # (D, C, height, width)
    name: str
    whole: bool


def patch_filters(net: nn.Module, layout: TokenLayout) -> PatchFilters | None:
    """The filters of the first layer that reads pixels, or None where none is recognised.

    That layer is `LinearPatches`, or the first convolution; in either shape a filter is drawn
    as the patch it answers to most.
    """
    for name, module in net.named_modules():
        if isinstance(module, LinearPatches):
            weight = _through_norm(module.proj.weight, module.norm_pixels).detach()
            return PatchFilters(
                weight.unflatten(1, (-1, module.patch, module.patch)), f"{name}.proj", True
            )
        if isinstance(module, nn.Conv2d):
            weight = module.weight.detach().float()
            whole = module.kernel_size == layout.patch == module.stride
            return PatchFilters(weight, name, whole)
    return None


def _through_norm(weight: Tensor, norm: nn.Module) -> Tensor:
    """The filters (D, n) as the pixels before their LayerNorm meet them.

    The norm takes the patch's mean away, multiplies each pixel by its own factor, and all of them
    by one number that depends on the patch, which no filter's picture shows.
    """
    if not isinstance(norm, nn.LayerNorm):
        return weight
    scaled = weight * norm.weight
    return scaled - scaled.mean(dim=1, keepdim=True)
