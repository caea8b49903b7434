"""Does order matter? A model with its patches shuffled, or its position code taken away.

The model itself stays as it is: each question gets a twin that shares every weight, in which one
part is replaced.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from model.analysis.position_codes import PositionCode
from model.nets.vit import VisionTransformer
from model.tokens import TokenLayout, patchify, unpatchify


def with_part(net: nn.Module, path: str, part: nn.Module | Tensor) -> nn.Module:
    """`net` with the module, parameter or buffer at `path` replaced; all else is shared.

    Only the modules on the way are copied, and `net` is not touched, so others may run it
    meanwhile. Raises AttributeError where nothing has this path.
    """
    name, _, rest = path.partition(".")
    copied = copy.copy(net)
    for kind in ("_modules", "_parameters", "_buffers"):
        held = getattr(net, kind)
        if name in held:
            new = with_part(held[name], rest, part) if rest else part
            if kind == "_parameters" and not isinstance(new, nn.Parameter):
                new = nn.Parameter(new, requires_grad=False)
            copied.__dict__[kind] = {**held, name: new}
            return copied
    raise AttributeError(f"{type(net).__name__} has no part {name!r}.")


class Shuffled(nn.Module):
    """Patch tokens (B, N, D) of another module, in another order."""

    def __init__(self, embed: nn.Module, order: Tensor) -> None:
        super().__init__()
        self.embed = embed
        self.register_buffer("order", order)

    def forward(self, images: Tensor) -> Tensor:
        return self.embed(images)[:, self.order]


def random_order(patches: int, seed: int) -> Tensor:
    """A shuffle of the patches: place i gets patch order[i]. The same for the same seed."""
    return torch.randperm(patches, generator=torch.Generator().manual_seed(seed))


def shifted_order(grid: tuple[int, int], down: int, across: int) -> Tensor:
    """The grid rolled down and to the right; what leaves on one side enters on the other."""
    index = torch.arange(grid[0] * grid[1]).reshape(grid)
    return index.roll((down, across), dims=(0, 1)).flatten()


def shuffle_pixels(images: Tensor, layout: TokenLayout, order: Tensor) -> Tensor:
    """(B, C, H, W) with its patches in another order."""
    patches = patchify(layout.covered(images), layout.patch)[:, order]
    moved = images.clone()
    layout.covered(moved).copy_(unpatchify(patches, layout.patch, layout.grid))
    return moved


def shuffled(
    net: nn.Module, images: Tensor, layout: TokenLayout, order: Tensor
) -> tuple[nn.Module, Tensor]:
    """What to run to see the patches in another order: a net, and its images.

    In our own models the tokens change places, exactly; in others the pixels do, which is the
    same where patches are read one by one.
    """
    if isinstance(net, VisionTransformer):
        return with_part(net, "embed", Shuffled(net.embed, order)), images
    return net, shuffle_pixels(images, layout, order)


def without_code(net: nn.Module, code: PositionCode) -> nn.Module:
    """A twin whose added position code is zero. ValueError where none is added."""
    return _with_table(net, code, torch.zeros_like)


def with_shifted_code(
    net: nn.Module, code: PositionCode, grid: tuple[int, int], down: int, across: int
) -> nn.Module:
    """A twin in which each patch has the code of the patch `down` above and `across` left of it.

    ValueError where no code is added.
    """
    order = shifted_order(grid, down, across)

    def shift(table: Tensor) -> Tensor:
        rows = table.reshape(-1, table.shape[-1])
        extra = len(rows) - len(order)
        return torch.cat((rows[:extra], rows[extra:][order])).reshape(table.shape)

    return _with_table(net, code, shift)


def largest_difference(outputs: Sequence[Tensor], reference: Tensor) -> float:
    """The largest difference of any number in any output from the reference's."""
    return max((output - reference).abs().max().item() for output in outputs)


def _with_table(net: nn.Module, code: PositionCode, change) -> nn.Module:
    if code.patches is None:
        raise ValueError(
            "This model adds no position code to its tokens, so there is none to take away."
        )
    table = {**dict(net.named_parameters()), **dict(net.named_buffers())}[code.name]
    return with_part(net, code.name, change(table.detach()))
