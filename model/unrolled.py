"""Put the tokens of Hiera back where their patches lie (Ryali et al. 2023, "Hiera").

Hiera unrolls its grid: it moves every second row and column apart, again and again, until the
patches of one mask unit stand at equal distances in the sequence. Between its first layer and its
last, its tokens therefore do not follow the picture row by row.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from model.recording.record import AttentionRecord
from model.recording.windows import Windows
from model.tokens import TokenLayout, pair


def find_unrolled(net: nn.Module, size: tuple[int, int]) -> TokenLayout | None:
    """Find the layout of a net that unrolls its tokens; None for any other net.

    Args:
        net: a net of timm or transformers.
        size: height and width of the pictures.
    """
    for module in net.modules():
        source = getattr(module, "unroll", None)
        schedule = getattr(source, "schedule", getattr(module, "unroll_schedule", None))
        stride = getattr(module, "patch_stride", None)
        stride = stride or getattr(getattr(module, "config", None), "patch_stride", None)
        if schedule is None or stride is None or {tuple(step) for step in schedule} != {(2, 2)}:
            continue
        tall, wide = pair(tuple(stride))
        grid = size[0] // tall, size[1] // wide
        parts = 2 ** len(schedule)
        return TokenLayout(grid, (), (tall, wide), (grid[0] // parts, grid[1] // parts))
    return None


def find_places(grid: tuple[int, int], units: tuple[int, int]) -> Tensor | None:
    """Find for each patch, row by row, its place in an unrolled sequence; None for no such grid.

    >>> find_places((2, 4), units=(1, 2))  # the sequence is 0 2, 1 3, 4 6, 5 7
    tensor([0, 2, 1, 3, 4, 6, 5, 7])
    >>> find_places((7, 7), units=(7, 7)).equal(torch.arange(49))
    True

    Args:
        grid: rows and columns of patches.
        units: rows and columns of mask units, to which halving the grid leads.
    """
    if 0 in grid:
        return None
    patches = torch.arange(math.prod(grid)).unflatten(0, grid)[None]
    while patches.shape[1] > units[0]:
        if patches.shape[1] % 2 or patches.shape[2] % 2:
            return None
        halves = patches.unflatten(2, (-1, 2)).unflatten(1, (-1, 2))  # (n, rows, 2, columns, 2)
        patches = halves.permute(0, 2, 4, 1, 3).flatten(0, 2)
    return patches.flatten().argsort() if tuple(patches.shape[1:]) == units else None


def roll_back(record: AttentionRecord, units: tuple[int, int], pictures: int) -> AttentionRecord:
    """Put queries and keys of a layer back in the order of rows; mask units become windows.

    A layer attends over the whole picture, or each of its mask units is an image of its own. A
    record that fits neither is returned as it is. The result keeps no values: it is for looking.

    Args:
        record: a record of a net that unrolls its tokens.
        units: rows and columns of mask units.
        pictures: how many pictures the net was given.
    """
    count = math.prod(units)
    inside = count > 1 and record.shape[0] == pictures * count
    grids = [_grid_of(tokens, (1, 1) if inside else units) for tokens in record.shape[2:]]
    queries, keys = (find_places(grid, (1, 1) if inside else units) for grid in grids)
    if queries is None or keys is None:
        return record
    made = _reordered(record, queries, keys)
    if not inside:
        return made
    size = grids[0]
    return replace(made, windows=Windows((size[0] * units[0], size[1] * units[1]), size))


def _grid_of(tokens: int, units: tuple[int, int]) -> tuple[int, int]:
    """The grid of so many tokens, as often as high and wide as a grid of units."""
    times = math.isqrt(tokens // math.prod(units))
    return times * units[0], times * units[1]


def _reordered(record: AttentionRecord, queries: Tensor, keys: Tensor) -> AttentionRecord:
    """A record of which query and key i are what stood at `queries[i]` and at `keys[i]`."""
    made = replace(record, value=None, anchor=None, ordered=True, versions={})
    if record.map is not None:
        return replace(made, map=record.map[:, :, queries][..., keys], softmax_map=None)
    assert record.query is not None and record.grouped_key is not None, "it has a map, or both"
    mask = record.mask
    if mask is not None:
        mask = mask if mask.shape[-2] == 1 else mask[..., queries, :]
        mask = mask if mask.shape[-1] == 1 else mask[..., keys]
    query, key = record.query[:, :, queries], record.grouped_key[:, :, keys]
    return replace(made, query=query, grouped_key=key, mask=mask)
