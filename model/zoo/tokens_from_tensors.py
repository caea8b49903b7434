"""Tokens and positions, and the size of the pictures, read off a model's tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from model.nets.position_embedding import sinusoidal_code
from model.nets.vit import ViTConfig
from model.tokens import MAX_TOKENS, TokenLayout, check_affordable, grid_of, pair
from model.zoo.checkpoint_format import CheckpointFormat, Tensors

_IN_PYTHON = "in Python img_size=(height, width)"


def read_tokens(
    tensors: Tensors,
    source: CheckpointFormat,
    base: ViTConfig,
    patch: int,
    settings: dict[str, Any],
) -> dict[str, Any]:
    """Read class token, registers and positions, and off the positions the size of the image.

    Returns fields of ViTConfig. Raises ValueError where the file does not tell one of them.
    """
    dim = len(tensors["embed.proj.weight"])
    if "dist_token" in tensors:
        tensors["registers"] = tensors.pop("dist_token")
    for name in ("cls_token", "registers"):
        if name in tensors:
            tensors[name] = tensors[name].reshape(1, -1, dim)
    cls = int("cls_token" in tensors)
    registers = tensors["registers"].shape[1] if "registers" in tensors else 0
    if registers > MAX_TOKENS:
        raise ValueError(f"It has {registers:,} registers, which no model has.")
    read = {"cls_token": bool(cls), "registers": registers}
    size = settings.get("img_size")
    grid = None if size is None else _grid_of_size(size, patch)
    if source.computed and "positions.code" not in tensors:
        tensors["positions.code"] = _compute(source.computed, grid, dim)
    if "positions.code" in tensors:
        return read | _learned(tensors, dim, patch, cls, registers, grid)
    read["img_size"] = size or _default_image(base, patch)
    if "positions.fixed" in tensors:
        return read | _fixed(tensors, dim, cls + math.prod(grid_of(read["img_size"], patch)))
    if "positions" not in settings and base.positions == "learned":
        raise ValueError(
            'It holds no positions: in Python, say positions="sinusoidal" or positions="none".'
        )
    return read | {"positions": settings.get("positions", base.positions)}


def _grid_of_size(size: int | Sequence[int], patch: int) -> tuple[int, int]:
    """Count rows and columns of patches in pictures of a given size."""
    height, width = pair(size)
    if height % patch or width % patch:
        raise ValueError(
            f"Its patches are {patch} x {patch} pixels, so the sides of its pictures are multiples "
            f"of {patch}, which {height} x {width} are not."
        )
    grid = height // patch, width // patch
    check_affordable(TokenLayout(grid, patch=(patch, patch)))  # before a table is computed for it
    return grid


def _compute(
    table: Callable[[int, int, int], Tensor], grid: tuple[int, int] | None, dim: int
) -> Tensor:
    """Compute positions that the file leaves out, since the size of the pictures fixes them."""
    if grid is None:
        raise ValueError(
            "Its positions are computed from the size of its pictures, which its file does not "
            f"hold: say their height and width in pixels ({_IN_PYTHON})."
        )
    return table(*grid, dim)


def _learned(
    tensors: Tensors,
    dim: int,
    patch: int,
    cls: int,
    registers: int,
    given: tuple[int, int] | None,
) -> dict[str, Any]:
    """Keep positions for the class token and the patches; other models have more, or fewer.

    A class token without a position is believed only where the `given` grid shows it: sixteen
    positions, for instance, fit 4 x 4 patches, but also a class token and 3 x 5 patches.
    """
    code = tensors["positions.code"].reshape(-1, dim)
    for others in (cls + registers, cls, 0 if given else cls):
        grid = _grid(len(code) - others, given)
        if grid is not None:
            break
    else:
        raise ValueError(_no_grid(len(code), cls, patch, given))
    if others < cls:
        code = torch.cat((code.new_zeros(1, dim), code))
    elif others > cls:
        tensors["registers"] = tensors["registers"] + code[cls:others]
        code = torch.cat((code[:cls], code[others:]))
    tensors["positions.code"] = code
    height, width = grid[0] * patch, grid[1] * patch
    return {
        "positions": "learned",
        "img_size": height if height == width else (height, width),
    }


def _grid(patches: int, given: tuple[int, int] | None) -> tuple[int, int] | None:
    """Return rows and columns of so many patches: a square, or the given grid; None for neither."""
    side = math.isqrt(max(patches, 0))
    grid = given or (side, side)
    return grid if patches > 0 and math.prod(grid) == patches else None


def _no_grid(positions: int, cls: int, patch: int, given: tuple[int, int] | None) -> str:
    """Say why so many positions fit no picture, and what to give instead."""
    if given is not None:
        height, width = given[0] * patch, given[1] * patch
        side = math.isqrt(max(positions - cls, 0))
        square = side > 0 and side**2 == positions - cls
        such = f", such as {side * patch} x {side * patch}" if square else ""
        return (
            f"Pictures of {height} x {width} pixels have {math.prod(given)} patches of {patch} x "
            f"{patch}, and its {positions} positions are those of other pictures. Say another "
            f"height and width{such}, or none."
        )
    patches = positions - cls
    if patches < 1:
        return f"It has {positions} positions, and so none for a patch."
    rows = next(n for n in range(math.isqrt(patches), 0, -1) if patches % n == 0)
    such = f"such as {rows * patch} x {patches // rows * patch}"
    if cls and math.isqrt(positions) ** 2 == positions:
        side = math.isqrt(positions) * patch
        such += f", or {side} x {side} if its class token has no position"
    return (
        f"Its {positions} positions do not tell the shape of its pictures. Say their height and "
        f"width in pixels ({_IN_PYTHON}), {such}."
    )


def _fixed(tensors: Tensors, dim: int, length: int) -> dict[str, Any]:
    """Read a computed table of any length: the sinusoidal one, or one of their own."""
    table = tensors.pop("positions.fixed").reshape(-1, dim)[:length]
    if len(table) < length:
        raise ValueError(
            f"It has {len(table)} positions for {length} patches: say the height and width of its "
            f"pictures ({_IN_PYTHON})."
        )
    if torch.allclose(table, sinusoidal_code(length, dim).float(), atol=1e-4):
        return {"positions": "sinusoidal"}
    tensors["positions.code"] = table
    return {"positions": "learned"}


def _default_image(base: ViTConfig, patch: int) -> int:
    """Return the preset's side of a picture, or four patches where that is no multiple."""
    size = max(pair(base.img_size))
    return size if size % patch == 0 else 4 * patch
