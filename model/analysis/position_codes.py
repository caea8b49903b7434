"""Find the position code of any model, and compare the codes of positions.

`model.nets.position_embedding` has the codes that our own models run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from model.tokens import TokenLayout


@dataclass(frozen=True)
class PositionCode:
    """How one model tells its tokens their positions."""

    kind: str
    """"learned", "sinusoidal" (any table that is not trained), "rotary", "relative" or "none"."""
    name: str = ""
    """The name of the tensor or module in the net; empty if there is none."""
    patches: Tensor | None = None
    """(rows · columns, D), the vector added to each patch; None for kinds that add none."""
    prefix: dict[str, Tensor] = field(default_factory=dict)
    """(D,), the vector added to each prefix token, by the token's name."""
    angles: Tensor | None = None
    """(rows · columns, pairs), the angles of a rotary code."""
    other_kinds: tuple[str, ...] = ()
    """Further kinds of code in the same model."""
    table_grid: tuple[int, int] | None = None
    """Rows and columns of the stored table, where the model stretches it to another grid."""


def find_position_code(net: nn.Module, layout: TokenLayout) -> PositionCode:
    """Find the position code of a model in its weights.

    It is found by shape and name. A table with "pos" in its name and a row for each patch (and
    for prefix tokens before them) is added to the tokens. A table for another grid counts where
    the model has a method that stretches it. A module called "rope" or "rotary" is a rotary
    code, and a table of relative positions is a bias. If a model has several codes, the first of
    these is returned, and the rest are named in `other_kinds`.

    Args:
        net: any vision transformer.
        layout: its tokens.

    Returns:
        The code; its kind is "none" if nothing was found.

    >>> from model.vit import build
    >>> net = build("vit", img_size=32, patch_size=8, dim=12, depth=1, heads=3, num_classes=5)
    >>> code = find_position_code(net, net.tokens)
    >>> code.kind, code.name, code.patches.shape, list(code.prefix)
    ('learned', 'positions.code', torch.Size([16, 12]), ['cls'])
    """
    found = [find(net, layout) for find in (_find_added, _find_rotary, _find_relative)]
    codes = [code for code in found if code is not None]
    if not codes:
        return PositionCode("none")
    first, *rest = codes
    return replace(first, other_kinds=tuple(code.kind for code in rest))


def random_code(positions: int, width: int, std: float = 0.02, seed: int = 0) -> Tensor:
    """Draw a learned code as it is before training: (positions, width) from N(0, std²)."""
    generator = torch.Generator().manual_seed(seed)
    return std * torch.randn(positions, width, generator=generator)


def code_similarity(code: Tensor, others: Tensor | None = None, cosine: bool = True) -> Tensor:
    """Compare each position's code with each other's: cosines, or dot products.

    (N, D) and (M, D), by default the same -> (N, M). The cosine with a code of zeros is 0.
    """
    others = code if others is None else others
    if cosine:
        code, others = (nn.functional.normalize(c, dim=-1) for c in (code, others))
    return code @ others.mT


def _find_added(net: nn.Module, layout: TokenLayout) -> PositionCode | None:
    for name, (kind, rows) in _tables(net).items():
        # First, since a table for fewer patches can have as many rows as patches and prefix here.
        if (code := _added_stretched(net, kind, name, rows, layout)) is not None:
            return code
        if 0 <= len(rows) - layout.patches <= len(layout.prefix):
            return _code_of(kind, name, rows, layout)
    return None


def _added_stretched(
    net: nn.Module, kind: str, name: str, rows: Tensor, layout: TokenLayout
) -> PositionCode | None:
    """Read a table that is stored for a square grid with another number of patches."""
    if (stretch := _stretch_of(net, name)) is None:
        return None
    for extra in range(min(len(layout.prefix) + 1, len(rows))):
        side = math.isqrt(len(rows) - extra)
        if side**2 + extra != len(rows) or side**2 == layout.patches:
            continue
        if (table := _stretched(stretch, rows, extra, layout)) is not None:
            return replace(_code_of(kind, name, table, layout), table_grid=(side, side))
    return None


def _tables(net: nn.Module) -> dict[str, tuple[str, Tensor]]:
    """List the tables that may be added to tokens, by name: kind, and rows (positions, D)."""
    parameters, found = dict(net.named_parameters()), {}
    for name, tensor in {**parameters, **dict(net.named_buffers())}.items():
        if not re.search(r"pos", name, re.IGNORECASE) or "rope" in name or "bias" in name:
            continue
        if not tensor.is_floating_point() or tensor.ndim < 2 or tensor.shape[:-2].numel() != 1:
            continue
        kind = "learned" if name in parameters and tensor.requires_grad else "sinusoidal"
        found[name] = kind, tensor.detach().reshape(tensor.shape[-2:]).float()
    return found


def _code_of(kind: str, name: str, rows: Tensor, layout: TokenLayout) -> PositionCode:
    extra = len(rows) - layout.patches
    prefix = dict(zip(layout.prefix, rows[:extra], strict=False))
    return PositionCode(kind, name, rows[extra:], prefix)


def _stretch_of(net: nn.Module, name: str) -> Callable[..., Tensor] | None:
    """Find the method by which a model of transformers stretches the table `name`."""
    while name:
        name = name.rpartition(".")[0]
        stretch = getattr(net.get_submodule(name), "interpolate_pos_encoding", None)
        if callable(stretch):
            return stretch
    return None


@torch.no_grad()
def _stretched(
    stretch: Callable[..., Tensor], rows: Tensor, extra: int, layout: TokenLayout
) -> Tensor | None:
    """Stretch a table to the grid of `layout`, with `extra` rows before it: (extra + patches, D).

    The model's own method does it, since some smooth the table (antialias) and some do not.
    None where it returns another number of rows.
    """
    tokens = rows.new_empty(1, extra + layout.patches, rows.shape[1])  # only their shape counts
    try:
        table = stretch(tokens, *layout.image_size).detach().float()
    except Exception:  # another library's module may want anything
        return None
    return table[0] if table.shape == tokens.shape else None


def _find_rotary(net: nn.Module, layout: TokenLayout) -> PositionCode | None:
    for name, module in net.named_modules():
        kind = type(module).__name__.lower()
        if "rope" not in name.lower() and "rotary" not in kind and "rope" not in kind:
            continue
        angle = _angles_of(module, layout)
        return PositionCode("rotary", name, angles=angle)
    return None


def _angles_of(module: nn.Module, layout: TokenLayout) -> Tensor | None:
    """Read the angles of a rotary module of timm or transformers: (rows · columns, pairs)."""
    try:
        table = _sines_and_cosines(module, layout).detach().float()
    except Exception:  # another library's module may want anything; its kind is known all the same
        return None
    if table.ndim == 3 and len(table) == 1:
        table = table[0]
    if table.ndim != 2 or len(table) != layout.patches or table.shape[1] % 4:
        return None
    sin, cos = table.chunk(2, dim=-1)
    half = sin.shape[1] // 2
    # A pair's two dimensions share its angle: they lie side by side, or half the width apart.
    pairs = slice(None, None, 2) if torch.equal(sin[:, 0::2], sin[:, 1::2]) else slice(half)
    return torch.atan2(sin[:, pairs], cos[:, pairs]) % (2 * math.pi)


def _sines_and_cosines(module: nn.Module, layout: TokenLayout) -> Tensor:
    """Compute the sines and the cosines of all dimensions of a head: (rows · columns, 2 · d)."""
    make = getattr(module, "get_embed", None)
    if make is not None:  # timm
        return make(shape=list(layout.grid))
    cos, sin = module(torch.empty(1, 1, *layout.image_size))  # transformers' DINOv3
    return torch.cat((sin, cos), dim=-1)


def _find_relative(net: nn.Module, layout: TokenLayout) -> PositionCode | None:
    for name, parameter in net.named_parameters():
        if re.search(r"relative_position|rel_pos", name) and parameter.ndim >= 2:
            return PositionCode("relative", name)
    for name, _ in net.named_modules():
        if "cpb_mlp" in name:  # Swin V2 computes its bias
            return PositionCode("relative", name)
    return None
