"""Shuffle a model's patches, or remove its position code, to see whether order matters.

The model itself stays as it is: each experiment gets a copy that shares every weight, with one
part replaced.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from model.analysis.position_codes import PositionCode
from model.nets.vit import VisionTransformer
from model.tokens import TokenLayout, patchify, unpatchify


def replace_part(net: nn.Module, path: str, part: nn.Module | Tensor) -> nn.Module:
    """Copy a net with the module, parameter or buffer at `path` replaced; the rest is shared.

    Only the modules along the path are copied, and `net` is not touched, so others may run it
    meanwhile. Raises AttributeError where nothing has this path.
    """
    name, _, rest = path.partition(".")
    copied = copy.copy(net)
    for kind in ("_modules", "_parameters", "_buffers"):
        held = getattr(net, kind)
        if name in held:
            new = replace_part(held[name], rest, part) if rest else part
            if kind == "_parameters" and type(new) is Tensor:
                new = nn.Parameter(new, requires_grad=False)
            copied.__dict__[kind] = {**held, name: new}
            return copied
    raise AttributeError(f"{type(net).__name__} has no part {name!r}.")


class ShuffledPatches(nn.Module):
    """Reorder the patch tokens (B, N, D) that another module makes."""

    order: Tensor

    def __init__(self, embed: nn.Module, order: Tensor) -> None:
        super().__init__()
        self.embed = embed
        self.register_buffer("order", order)

    def forward(self, images: Tensor) -> Tensor:
        return self.embed(images)[:, self.order]


def random_order(patches: int, seed: int) -> Tensor:
    """Shuffle the patches: position i gets patch order[i]. The same seed gives the same order."""
    return torch.randperm(patches, generator=torch.Generator().manual_seed(seed))


def shifted_order(grid: tuple[int, int], down: int, across: int) -> Tensor:
    """Roll the grid down and to the right; patches that leave on one side enter on the other."""
    index = torch.arange(grid[0] * grid[1]).reshape(grid)
    return index.roll((down, across), dims=(0, 1)).flatten()


def shuffle_pixels(images: Tensor, layout: TokenLayout, order: Tensor) -> Tensor:
    """Put the patches of images (B, C, H, W) into another order."""
    patches = patchify(layout.covered(images), layout.patch)[:, order]
    moved = images.clone()
    layout.covered(moved).copy_(unpatchify(patches, layout.patch, layout.grid))
    return moved


def with_shuffled_patches(
    net: nn.Module, images: Tensor, layout: TokenLayout, order: Tensor
) -> tuple[nn.Module, Tensor]:
    """Return a net and images that show the net its patches in another order.

    In our own models the tokens are reordered, exactly. In others the pixels are, which is the same
    where patches are embedded one by one.
    """
    if isinstance(net, VisionTransformer):
        return replace_part(net, "embed", ShuffledPatches(net.embed, order)), images
    return net, shuffle_pixels(images, layout, order)


def without_position_code(net: nn.Module, code: PositionCode) -> nn.Module:
    """Copy a net with its added position code set to zero. ValueError where none is added."""
    return _with_table(net, code, torch.zeros_like)


def with_shifted_position_code(
    net: nn.Module, code: PositionCode, grid: tuple[int, int], down: int, across: int
) -> nn.Module:
    """Copy a net with its position code moved `down` rows and `across` columns.

    Each patch gets the code of the patch that lies so far above and left of it. ValueError where
    no code is added.
    """
    order = shifted_order(grid, down, across)

    def shift(table: Tensor) -> Tensor:
        rows = table.reshape(-1, table.shape[-1])
        extra = len(rows) - len(order)
        return torch.cat((rows[:extra], rows[extra:][order])).reshape(table.shape)

    return _with_table(net, code, shift)


def largest_difference(outputs: Sequence[Tensor], reference: Tensor) -> float:
    """Compute the largest absolute difference between any output and the reference."""
    return max((output - reference).abs().max().item() for output in outputs)


def _with_table(
    net: nn.Module, code: PositionCode, change: Callable[[Tensor], Tensor]
) -> nn.Module:
    if code.patches is None:
        raise ValueError(
            "This model adds no position code to its tokens, so there is none to take away."
        )
    table = {**dict(net.named_parameters()), **dict(net.named_buffers())}[code.name]
    return replace_part(net, code.name, change(table.detach()))
