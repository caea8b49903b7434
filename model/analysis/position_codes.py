"""Position codes to look at: waves, rotations, and what a model has learned.

`model.nets.position_embedding` is what a model runs; here is what the codes of any model are made
of.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from model.nets.sinusoids import angles
from model.tokens import TokenLayout

# -- rotation -----------------------------------------------------------------------------------


def rotate(vectors: Tensor, angle: Tensor) -> Tensor:
    """Turn each pair of dimensions: (..., N, d) by (N, d / 2) -> (..., N, d).

    Su et al. 2021, "RoFormer: Enhanced Transformer with Rotary Position Embedding".
    """
    first, second = vectors[..., 0::2], vectors[..., 1::2]
    cos, sin = angle.cos(), angle.sin()
    turned = (first * cos - second * sin, first * sin + second * cos)
    return torch.stack(turned, dim=-1).flatten(-2)


def rotary_score(angle: Tensor, query: int) -> Tensor:
    """q·k between `query` and every position, both all ones before they are turned, over d.

    The mean of cos(angle difference) over the pairs: 1 at the query itself, and what position
    alone makes of a score elsewhere. (N, d / 2) -> (N,)
    """
    return (angle - angle[query]).cos().mean(-1)


def grid_angles(grid: tuple[int, int], width: int, base: float = 100.0) -> Tensor:
    """Rotary angles on a grid: half of the pairs turn with the row, half with the column.

    float64 (rows · columns, width / 2). Raises ValueError as `angles`, and for a width that
    four does not divide.
    """
    if width % 4:
        raise ValueError(
            f"Rows and columns take half of the pairs each, so four divides the width: {width} "
            f"is not such a width, {max(width + -width % 4, 4)} would be."
        )
    rows, columns = grid
    by_row = angles(rows, width // 2, base).repeat_interleave(columns, dim=0)
    return torch.cat((by_row, angles(columns, width // 2, base).repeat(rows, 1)), dim=1)


# -- what a model has ---------------------------------------------------------------------------


@dataclass(frozen=True)
class PositionCode:
    """What one model adds to its tokens for their places.

    `kind` is "learned", "sinusoidal" (any table that is not trained), "rotary", "relative" or
    "none". `name` is that of the tensor or module in the net, "" where there is none.
    """

    kind: str
    name: str = ""
    patches: Tensor | None = None  # (rows · columns, D) of the kinds that add a vector, as added
    prefix: dict[str, Tensor] = field(default_factory=dict)  # (D,) of tokens before them
    angles: Tensor | None = None  # (rows · columns, pairs) of the rotary kind
    also: tuple[str, ...] = ()  # other kinds that this model has besides
    kept_for: tuple[int, int] | None = None  # the table's own grid, where it is another


def position_code(net: nn.Module, layout: TokenLayout) -> PositionCode:
    """The position code of a model, read off its weights.

    Found by shape and name: a table with "pos" in its name and a row for each patch (and for
    prefix tokens before them) is added; a module called rope turns; a relative position bias is
    a bias. A table of another grid is added too where the model knows how to stretch it. Where a
    model has several, the added table is told of, and the rest in `also`.
    """
    found = [find(net, layout) for find in (_added, _rotary, _relative)]
    codes = [code for code in found if code is not None]
    if not codes:
        return PositionCode("none")
    first, *rest = codes
    return replace(first, also=tuple(code.kind for code in rest))


def random_code(positions: int, width: int, std: float = 0.02, seed: int = 0) -> Tensor:
    """What a learned code is before training: (positions, width) from N(0, std²)."""
    generator = torch.Generator().manual_seed(seed)
    return std * torch.randn(positions, width, generator=generator)


def similarity(code: Tensor, others: Tensor | None = None, cosine: bool = True) -> Tensor:
    """Cosine (or dot product) of each position's code with each other's.

    (N, D) and (M, D), by default the same -> (N, M). The cosine with a code of zeros is 0.
    """
    others = code if others is None else others
    if cosine:
        code, others = (nn.functional.normalize(c, dim=-1) for c in (code, others))
    return code @ others.mT


def _added(net: nn.Module, layout: TokenLayout) -> PositionCode | None:
    for name, (kind, rows) in _tables(net).items():
        # First, as a table for fewer patches can have as many rows as these and their prefix.
        if (code := _added_stretched(net, kind, name, rows, layout)) is not None:
            return code
        if 0 <= len(rows) - layout.patches <= len(layout.prefix):
            return _code_of(kind, name, rows, layout)
    return None


def _added_stretched(
    net: nn.Module, kind: str, name: str, rows: Tensor, layout: TokenLayout
) -> PositionCode | None:
    """The code of a table that is kept for a square grid with another number of patches."""
    if (stretch := _stretch_of(net, name)) is None:
        return None
    for extra in range(min(len(layout.prefix) + 1, len(rows))):
        side = math.isqrt(len(rows) - extra)
        if side**2 + extra != len(rows) or side**2 == layout.patches:
            continue
        if (table := _stretched(stretch, rows, extra, layout)) is not None:
            return replace(_code_of(kind, name, table, layout), kept_for=(side, side))
    return None


def _tables(net: nn.Module) -> dict[str, tuple[str, Tensor]]:
    """What may be an added code, by name: its kind and its rows, (positions, D)."""
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
    """How transformers' models stretch the table `name`: a method of a module that holds it."""
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
    """The table for the grid of `layout` with `extra` rows before it: (extra + patches, D).

    The model is asked, since some smooth their table (antialias) as they stretch it and some do
    not. None where it makes another number of rows.
    """
    tokens = rows.new_empty(1, extra + layout.patches, rows.shape[1])  # only their shape counts
    try:
        table = stretch(tokens, *layout.image_size).detach().float()
    except Exception:  # another library's module may want anything
        return None
    return table[0] if table.shape == tokens.shape else None


def _rotary(net: nn.Module, layout: TokenLayout) -> PositionCode | None:
    for name, module in net.named_modules():
        kind = type(module).__name__.lower()
        if "rope" not in name.lower() and "rotary" not in kind and "rope" not in kind:
            continue
        angle = _angles_of(module, layout)
        return PositionCode("rotary", name, angles=angle)
    return None


def _angles_of(module: nn.Module, layout: TokenLayout) -> Tensor | None:
    """The angles of a rotary module of timm or transformers: (rows · columns, pairs)."""
    try:
        table = _sines_and_cosines(module, layout).detach().float()
    except Exception:  # another library's module may want anything; its kind is still told
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
    """For each dimension of a head, side by side: (rows · columns, 2 · d)."""
    make = getattr(module, "get_embed", None)
    if make is not None:  # timm
        return make(shape=list(layout.grid))
    cos, sin = module(torch.empty(1, 1, *layout.image_size))  # transformers' DINOv3
    return torch.cat((sin, cos), dim=-1)


def _relative(net: nn.Module, layout: TokenLayout) -> PositionCode | None:
    for name, parameter in net.named_parameters():
        if re.search(r"relative_position|rel_pos", name) and parameter.ndim >= 2:
            return PositionCode("relative", name)
    for name, _ in net.named_modules():
        if "cpb_mlp" in name:  # Swin V2 computes its bias
            return PositionCode("relative", name)
    return None
