"""Find the records that attend within the picture, and the grid of tokens of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from model.errors import NothingToShow
from model.recording.record import AttentionRecord, row_by_row
from model.recording.rollout import explain_mixed_images
from model.tokens import TokenLayout
from model.unrolled import roll_back


class Layer(NamedTuple):
    """Heads and tokens of a layer; in hierarchical models, layers differ in both."""

    heads: int
    tokens: TokenLayout
    keys: TokenLayout | None = None
    """The grid of the keys where it is another one than the queries'."""


class ImageLayer(NamedTuple):
    """A layer with its record, and its number among all records."""

    place: int
    record: AttentionRecord
    layer: Layer


def image_layers(
    records: Sequence[AttentionRecord], tokens: TokenLayout, pictures: int = 1
) -> list[ImageLayer]:
    """Select the records that attend from the picture's tokens to the picture's tokens.

    The stages of a hierarchical model have grids of their own, each as wide for its height as the
    first. Where the keys of a layer lie on another grid than its queries (PVT, MViT, LeViT), the
    map is laid out over the grid of the queries: a coarser key shares its attention evenly among
    the patches that it stands for, and finer keys are summed.

    Args:
        records: what a recorder kept of one pass.
        tokens: the layout of the model's first layer.
        pictures: how many pictures the model was given.

    Raises:
        NothingToShow: where no layer attends so, or one attends among several pictures.
    """
    found: list[ImageLayer] = []
    reasons: list[str] = []
    for place, made in enumerate(records):
        record = _as_drawn(made, tokens, pictures)
        if record.windows:
            layer = Layer(record.shape[1], _stage(record.windows.grid, (), tokens))
            found.append(ImageLayer(place, record, layer))
        elif layouts := _layouts(record, tokens):
            reasons += filter(None, [explain_mixed_images(record)])
            if not explain_mixed_images(record) and record.shape[0] == pictures:
                found.append(ImageLayer(place, *_over_the_grid(record, *layouts)))
    if found:
        return found
    seen = ", ".join(f"{r.name} ({r.shape[2]} to {r.shape[3]})" for r in records[:4])
    raise NothingToShow(
        reasons[0]
        if reasons
        else f"This model attends, but no layer does so among the {tokens.tokens} tokens of the "
        f"image: {seen}. Choose another model."
    )


def name_others(records: Sequence[AttentionRecord], shown: Sequence[ImageLayer]) -> str | None:
    """Count and name the records that are no image layers; None where all are."""
    places = {each.place for each in shown}
    others = [record.name for place, record in enumerate(records) if place not in places]
    if not others:
        return None
    names = list(dict.fromkeys(others))
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    are = "layer attends" if len(others) == 1 else "layers attend"
    return (
        f"{len(others)} {are} otherwise than from the patches of the whole picture to its patches: "
        f"{', '.join(names[:4])}{more}. Not shown here."
    )


def name_skipped(records: Sequence[AttentionRecord], shown: Sequence[ImageLayer]) -> str | None:
    """Name the first record that is no image layer and ran before the last one; None without."""
    places = {each.place for each in shown}
    skipped = (place for place in range(max(places)) if place not in places)
    return next((records[place].name for place in skipped), None)


def without_single_window(record: AttentionRecord) -> AttentionRecord:
    """A record without its windows where there is one alone: it attends over the whole picture."""
    windows = record.windows
    if windows and (windows.size, windows.shift, windows.order) == (windows.grid, (0, 0), None):
        return replace(record, windows=None)
    return record


def _as_drawn(record: AttentionRecord, tokens: TokenLayout, pictures: int) -> AttentionRecord:
    """A record whose tokens follow the picture row by row, in windows only where these are many."""
    if record.windows is None and tokens.units is not None and record.kind == "self":
        record = roll_back(record, tokens.units, pictures)
    record = without_single_window(row_by_row(record))
    windows = record.windows
    if windows is None:
        return record
    if windows.area < record.shape[3] and (grid := find_grid(record.shape[3], windows.size)):
        inside = lay_keys_out(record, TokenLayout(windows.size), TokenLayout(grid))
        return replace(inside, windows=windows)
    return record


def _layouts(
    record: AttentionRecord, tokens: TokenLayout
) -> tuple[TokenLayout, TokenLayout] | None:
    """The layouts of a record's queries and keys; None where they do not lie on the picture."""
    if record.kind != "self" or not record.ordered:
        return None
    asking, answering = (fit_layout(count, tokens) for count in record.shape[2:])
    if asking is None or answering is None or asking.prefix != answering.prefix:
        return None
    if asking.patches < answering.patches and not _is_pooled(answering.grid, asking.grid):
        return None  # keys beyond the picture, as around the blocks of HaloNet
    return asking, answering


def _is_pooled(fine: tuple[int, int], coarse: tuple[int, int]) -> bool:
    """Whether whole patches of the fine grid make one of the coarse, up to the last ones."""
    steps = range(1, max(fine) + 1)
    return any(
        all(many // step <= few <= -(-many // step) for many, few in zip(fine, coarse, strict=True))
        for step in steps
    )


def _over_the_grid(
    record: AttentionRecord, asking: TokenLayout, answering: TokenLayout
) -> tuple[AttentionRecord, Layer]:
    heads = record.shape[1]
    if asking == answering:
        return record, Layer(heads, asking)
    return lay_keys_out(record, asking, answering), Layer(heads, asking, answering)


def fit_layout(count: int, tokens: TokenLayout) -> TokenLayout | None:
    """Find the layout of a stage with so many tokens; None where no grid fits.

        >>> tokens = TokenLayout((27, 27), ("cls",), (8, 8))
        >>> fit_layout(197, tokens)
        TokenLayout(grid=(14, 14), prefix=('cls',), patch=(15, 15), units=None)
        >>> fit_layout(49, tokens).prefix
        ()

    A stage may also be the first with a class token.

    Args:
        count: tokens of the stage.
        tokens: the layout of the first stage.
    """
    for prefix in dict.fromkeys((tokens.prefix, (), ("cls",))):
        grid = find_grid(count - len(prefix), tokens.grid)
        if grid is not None:
            return _stage(grid, prefix, tokens)
    return None


def find_grid(patches: int, like: tuple[int, int]) -> tuple[int, int] | None:
    """Arrange so many patches in rows and columns with the proportions of a grid.

    >>> find_grid(49, like=(56, 56)), find_grid(24, like=(16, 24)), find_grid(50, like=(56, 56))
    ((7, 7), (4, 6), None)
    """
    rows, columns = like
    if not patches > 0:
        return None
    best = round(math.sqrt(patches * rows / columns))
    for down in (best, best - 1, best + 1):
        if down < 1 or patches % down:
            continue
        across = patches // down
        if _divided_alike(like, (down, across)):
            return down, across
    return None


def _divided_alike(like: tuple[int, int], grid: tuple[int, int]) -> bool:
    """Whether one number divides both sides, both rounded down or both rounded up."""
    pairs = list(zip(like, grid, strict=True))
    least_down = max(before / (after + 1) for before, after in pairs)
    most_down = min(before / after for before, after in pairs)
    least_up = max(before / after for before, after in pairs)
    most_up = min(before / (after - 1) if after > 1 else math.inf for before, after in pairs)
    return least_down < most_down or least_up < most_up


def _stage(grid: tuple[int, int], prefix: tuple[str, ...], tokens: TokenLayout) -> TokenLayout:
    if (grid, prefix, None) == (tokens.grid, tokens.prefix, tokens.units):
        return tokens
    height, width = tokens.image_size
    return TokenLayout(grid, prefix, (max(1, height // grid[0]), max(1, width // grid[1])))


def lay_keys_out(
    record: AttentionRecord, queries: TokenLayout, keys: TokenLayout
) -> AttentionRecord:
    """Lay a map (B, H, Q, K) out over the queries' grid, (B, H, Q, Q); rows sum to one.

    Args:
        record: a record whose queries and keys lie on grids of the same picture.
        queries: the layout of its queries.
        keys: the layout of its keys, with the same prefix.
    """
    shape = (*record.shape[:3], record.shape[2])
    record = replace(record, value=None, anchor=None, windows=None)
    if queries.patches < keys.patches or record.map is not None:
        map = _resample(record.weights(), queries, keys)
        made_of = replace(record, query=None, grouped_key=None, mask=None, softmax_map=None)
        return replace(made_of, shape=shape, map=map, causal=False, versions={})
    index = _places(queries, keys)
    assert record.grouped_key is not None, "a record without a map has keys"
    return replace(
        record,
        shape=shape,
        grouped_key=record.grouped_key[:, :, index],
        mask=_shared_mask(record.mask, index),
        versions={},
    )


def _places(of: TokenLayout, among: TokenLayout) -> Tensor:
    """Find for each token of one layout the token of another at its place."""
    down = torch.arange(of.grid[0]) * among.grid[0] // of.grid[0]
    across = torch.arange(of.grid[1]) * among.grid[1] // of.grid[1]
    patches = (down[:, None] * among.grid[1] + across).flatten() + len(among.prefix)
    return torch.cat([torch.arange(len(of.prefix)), patches])


def _shared_mask(mask: Tensor | None, index: Tensor) -> Tensor | None:
    """Add to the scores what makes the patches of one key share its attention."""
    area = torch.bincount(index)[index]
    if mask is not None:
        mask = mask[..., index] if mask.shape[-1] > 1 else mask
        if mask.dtype == torch.bool:
            mask = torch.zeros(mask.shape).masked_fill(~mask, -torch.inf)
    if bool((area == area[0]).all()):
        return mask
    shared = -area.float().log()
    return shared[None, None, None] if mask is None else mask + shared


def _resample(weights: Tensor, queries: TokenLayout, keys: TokenLayout) -> Tensor:
    """(B, H, Q, K) -> (B, H, Q, Q), each row with the same sum."""
    if queries.patches < keys.patches:
        index = _places(keys, queries)
        return weights.new_zeros(*weights.shape[:3], queries.tokens).index_add(-1, index, weights)
    index = _places(queries, keys)
    return weights[..., index] / torch.bincount(index)[index]
